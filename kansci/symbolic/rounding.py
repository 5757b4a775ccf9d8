"""Constants that become simple numbers where the data allow it."""

import copy
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import torch
from scipy import stats
from torch import Tensor

from kansci.config import Edge
from kansci.nn.edges import SymbolicEdges
from kansci.nn.multkan import MultKAN
from kansci.solvers.residual import Residual
from kansci.solvers.solve import solve
from kansci.symbolic.estimates import Constant, constant_estimates
from kansci.symbolic.hypotheses import as_terms, problem_loss

WITHIN = 2.0  # standard errors
EXACT = 1e-9  # relative error of constants that are fitted to data without noise
MAX_DENOMINATOR = 12
LEVEL = 0.05
ROUNDING = 1e-26  # of squares
BASES = {1.0: 1, math.pi: 2, 1 / math.pi: 4, math.sqrt(2): 4, math.sqrt(3): 4, math.e: 4}  # with their complexity


def round_constants(model: MultKAN, problem: Any, *, noise: float | Tensor | None = None, steps: int = 30) -> MultKAN:
    """Replace constants by simple numbers within two standard errors, as long as the fit stays as good.

    Simple are ratios with denominators up to 12, such ratios times pi, 1/pi, sqrt(2), sqrt(3) and e. One constant after
    the other becomes the simplest number within its interval, the surest first (after those that nothing determines, of which 0 and 1
    are tried), and stays fixed; all others are fitted
    anew. A number is taken back where the loss rises more than that many numbers may raise it by chance (5 %).

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
    n = sum(term.size for term in terms)
    solution = solve(model, terms, steps=steps, progress=False)
    model, limit = solution.model, solution.loss + ROUNDING * _scale(model, terms)
    settled: list[tuple[Edge, str, bool]] = []
    taken = 0
    while True:
        free = constant_estimates(model, terms)
        known = [(own, _simplest(own)) for own in free if _key(own) not in settled]
        known = [(own, number) for own, number in known if number is not None]
        if not known:
            return model
        constant, number = min(known, key=lambda pair: _uncertainty(pair[0]))
        trial = _with_constant(model, constant, number)
        if len(free) > 1:
            trial = solve(trial, terms, steps=steps, progress=False).model
        allowed = stats.chi2.ppf(1 - LEVEL, taken + 1) / max(n - len(free), 1)
        if problem_loss(trial, terms) <= limit * (1 + allowed):
            model, taken = trial, taken + 1
        settled.append(_key(constant))


def _key(constant: Constant) -> tuple[Edge, str, bool]:
    return constant.edge, constant.letter, math.isfinite(constant.estimate.standard_error)


def _simplest(constant: Constant) -> float | None:
    """The simplest number within a constant's interval."""
    value, error = constant.estimate
    if not math.isfinite(error):  # others can make up for any change
        return math.copysign(1.0, value) if constant.letter in "ac" else 0.0
    reach = WITHIN * error + EXACT * abs(value) + ROUNDING**0.5
    if abs(value) <= reach:
        return 0.0
    found = min(_simple_numbers(abs(value), reach), default=None)
    return None if found is None else math.copysign(found[1], value)


def _simple_numbers(value: float, reach: float) -> Iterator[tuple[float, float]]:
    """Numbers near a positive one, each with its complexity."""
    for base, complexity in BASES.items():
        for denominator in range(1, MAX_DENOMINATOR + 1):
            ratio = Fraction(round(value / base * denominator), denominator)
            if ratio > 0 and abs(float(ratio) * base - value) <= reach:
                yield complexity * float(ratio.numerator * ratio.denominator), float(ratio) * base


def _uncertainty(constant: Constant) -> float:
    """What orders constants: those that nothing determines are free to choose, and come first."""
    value, error = constant.estimate
    return error / max(abs(value), 1e-300) if math.isfinite(error) else -1.0


@torch.no_grad()
def _with_constant(model: MultKAN, constant: Constant, value: float) -> MultKAN:
    """The same network where a constant has a value and is fixed."""
    changed = copy.deepcopy(model)
    layer, target, source = constant.edge
    symbols = cast(SymbolicEdges, changed.layers[layer].symbols)
    letter = "abcd".index(constant.letter)
    symbols.affine[target, source, letter] = value
    symbols.fixed[target, source, letter] = 1
    return changed


@torch.no_grad()
def _scale(model: MultKAN, terms: list[Residual]) -> float:
    """The mean square of the outputs."""
    points = torch.cat([points for term in terms for points in term.point_sets])
    return float(model(points.to(model.dtype)).square().mean())
