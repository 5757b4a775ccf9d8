"""Constants that become simple numbers where the data allow it."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import sympy
import torch
from scipy import stats
from torch import Tensor

from kansci.config import Edge
from kansci.nn.multkan import MultKAN
from kansci.nn.symbols import SymbolicEdges
from kansci.solvers.residual import Residual
from kansci.solvers.solve import solve
from kansci.solvers.statement import as_terms, output_size, problem_loss
from kansci.solvers.unknowns import Unknowns
from kansci.surgery.hold import with_held_as
from kansci.symbolic.constants import exact_number
from kansci.symbolic.estimates import Constant, constant_estimates, moved_constant

WITHIN = 2.0  # standard errors
EXACT = 1e-9  # relative error of constants that are fitted to data without noise
NOTHING = 1e-10  # what may be zero, as far as the fit allows it
MAX_DENOMINATOR, MOST_COMPLEX = 12, 100
LEVEL = 0.05
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the way to a number
ROUNDING = 1e-13
UNSEEN = 1e-11  # error relative to the outputs that fits may leave
BASES = {1.0: 1, math.pi: 2, 1 / math.pi: 4, math.sqrt(2): 4, math.sqrt(3): 4, math.e: 4}  # with their complexity


def round_constants(model: MultKAN, problem: Any, *, noise: float | Tensor | None = None, steps: int = 30) -> MultKAN:
    """Replace constants by simple numbers within two standard errors, as long as the fit stays as good.

    Constants that are exact already, such as those of a compiled formula, stay so if the fit allows it. Simple are
    small ratios, and small ratios times pi, 1/pi, sqrt(2), sqrt(3) and e. One constant after the other becomes the
    simplest number within its interval, the surest first (after those that nothing determines, of which 0 and 1 are
    tried), and stays fixed; all others are fitted anew. A number is taken back where the loss rises more than that many
    numbers may raise it by chance (5 %).

    Args:
        model: fitted to the problem.
        problem: a `Dataset`, (x, y), or residual terms as for `solve`.
        noise: standard deviation of data, where it is known; else it is estimated from the residuals.
        steps: of each fit.

    Returns:
        A new model, in which the constants that have become simple numbers are fixed.

    Example:
        >>> from kansci import formula, kanpile
        >>> x = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
        >>> noise = 0.01 * torch.randn(101, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> model = kanpile("1.99*sin(3.15*x + 0.01) - 0.002", ["x"])
        >>> formula(round_constants(model, (x, 2 * (torch.pi * x).sin() + noise)), ["x"])
        [2*sin(pi*x)]
    """
    terms = as_terms(problem, noise)
    limits = _Limits.of(model, terms, steps)
    simple = [own for own in constant_estimates(model, terms) if _is_written(own.estimate.value)]
    written = _with_constants(model, [(own, own.estimate.value) for own in simple])
    kept = limits.fitted(written, len(simple)) if simple else None
    if kept is not None:
        return _settled(kept, limits, _simplest, len(simple))
    return _settled(limits.model, limits, _simplest, 0)


def fix_gauge(model: MultKAN, problem: Any, *, noise: float | Tensor | None = None, steps: int = 30) -> MultKAN:
    """Fix the constants that nothing determines, as changes of others make up for any of theirs, at 0 or 1.

    The function stays the best one; what is left free has standard errors, see `constant_estimates`.

    Args:
        model: fitted to the problem.
        problem: a `Dataset`, (x, y), or residual terms as for `solve`.
        noise: standard deviation of data, where it is known.
        steps: of each fit.

    Returns:
        A new model, in which these constants are fixed.

    Example:
        >>> from kansci import constant_estimates, kanpile
        >>> x = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
        >>> noise = 0.01 * torch.randn(101, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> data = (x, (x**2 + 1).exp() + noise)
        >>> fixed = fix_gauge(kanpile("exp(x**2 + 1)", ["x"]), data)
        >>> all(math.isfinite(own.estimate.standard_error) for own in constant_estimates(fixed, data))
        True
    """
    limits = _Limits.of(model, as_terms(problem, noise), steps)
    return _settled(limits.model, limits, _gauge, 0)


@dataclass(frozen=True)
class _Limits:
    """How much the loss of a problem may rise with constants that become numbers."""

    model: MultKAN
    terms: list[Residual]
    loss: float
    steps: int

    @classmethod
    def of(cls, model: MultKAN, terms: list[Residual], steps: int) -> "_Limits":
        """Those of a model, fitted."""
        solution = solve(model, terms, steps=steps, progress=False)
        return cls(solution.model, terms, solution.loss + (UNSEEN * output_size(model, terms)) ** 2, steps)

    def fitted(self, changed: MultKAN, taken: int) -> MultKAN | None:
        """All else fitted anew, unless the loss becomes too large for so many numbers."""
        free, samples = len(Unknowns(changed)), sum(term.size for term in self.terms)
        changed = solve(changed, self.terms, steps=self.steps, progress=False).model if free else changed
        allowed = stats.chi2.ppf(1 - LEVEL, taken) / max(samples - free - taken, 1)
        return changed if problem_loss(changed, self.terms) <= self.loss * (1 + allowed) else None

    def moved(self, model: MultKAN, constant: Constant, number: float) -> MultKAN:
        """A constant becomes a number, where this is undefined as long as the others stay, with these following it."""
        whole, value = _with_constants(model, [(constant, number)]), constant.estimate.value
        if math.isfinite(problem_loss(whole, self.terms)):
            return whole
        for share in SHARES:
            part = value + share * (number - value)
            followed = moved_constant(model, self.terms, constant, part)
            if not math.isfinite(problem_loss(followed, self.terms)):
                break
            solution = solve(
                _with_constants(followed, [(constant, part)]), self.terms, steps=self.steps, progress=False
            )
            model = with_held_as(solution.model, model)
        return _with_constants(model, [(constant, number)])


def _settled(model: MultKAN, limits: _Limits, wanted: Callable[[Constant], float | None], taken: int) -> MultKAN:
    """One constant after the other becomes the number that is wanted, the surest first.

    What is refused is tried once more at the end: by then others are exact.
    """
    refused: list[tuple[Edge, str, bool]] = []
    before = -1
    while True:
        free = [own for own in constant_estimates(model, limits.terms) if _key(own) not in refused]
        known = [(own, number) for own in free for number in [wanted(own)] if number is not None]
        if not known and taken == before:
            return model
        if not known:
            refused, before = [], taken
            continue
        constant, number = min(known, key=lambda pair: _uncertainty(pair[0]))
        found = limits.fitted(limits.moved(model, constant, number), taken + 1)
        if found is None:
            refused.append(_key(constant))
        else:
            model, taken = found, taken + 1


def _key(constant: Constant) -> tuple[Edge, str, bool]:
    return constant.edge, constant.letter, math.isfinite(constant.estimate.standard_error)


def _simplest(constant: Constant) -> float | None:
    """The simplest number within a constant's interval."""
    value, error = constant.estimate
    if not math.isfinite(error):
        return _gauge(constant)
    return simplest_number(value, WITHIN * error + EXACT * abs(value) + ROUNDING)


def simplest_number(value: float, reach: float) -> float | None:
    """The simplest number within reach of a value, if there is a simple one.

    Example:
        >>> simplest_number(3.14, 0.01) == math.pi, simplest_number(0.249, 0.002)
        (True, 0.25)
    """
    if abs(value) <= reach + NOTHING:
        return 0.0
    found = min(_simple_numbers(abs(value), reach), default=None)
    return None if found is None else math.copysign(found[1], value)


def _gauge(constant: Constant) -> float | None:
    """1 or 0 for a constant whose changes others can make up for."""
    value, error = constant.estimate
    if math.isfinite(error):
        return None
    return math.copysign(1.0, value) if constant.letter in "ac" else 0.0


def _is_written(value: float) -> bool:
    """Whether a constant is what somebody has written, not what has been fitted."""
    return not isinstance(exact_number(value), sympy.Float)


def _simple_numbers(value: float, reach: float) -> Iterator[tuple[float, float]]:
    """Numbers near a positive one, each with its complexity."""
    for base, complexity in BASES.items():
        for denominator in range(1, MAX_DENOMINATOR + 1):
            ratio = Fraction(round(value / base * denominator), denominator)
            size = complexity * ratio.numerator * ratio.denominator
            if 0 < size <= MOST_COMPLEX and abs(float(ratio) * base - value) <= reach:
                yield float(size), float(ratio) * base


def _uncertainty(constant: Constant) -> float:
    """What orders constants: those that nothing determines are free to choose, and come first."""
    value, error = constant.estimate
    if math.isfinite(error):
        return error / max(abs(value), 1e-300)
    return -1.0 if constant.letter in "ac" else -2.0  # shifts first


@torch.no_grad()
def _with_constants(model: MultKAN, values: Sequence[tuple[Constant, float]]) -> MultKAN:
    """The same network where some constants have values and are fixed."""
    changed = copy.deepcopy(model)
    for constant, value in values:
        layer, target, source = constant.edge
        symbols = cast(SymbolicEdges, changed.layers[layer].symbols)
        place = target, source, "abcd".index(constant.letter)
        symbols.affine[place] = value
        symbols.fixed[place] = 1
    return changed
