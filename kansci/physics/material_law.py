r"""Laws of matrices and other variables, found from data: first the invariants that matter, then the functions of them.

A component of a stress is often a sum of functions of components of the deformation gradient and of its invariants,

.. math:: y = c + \sum_i g_i(x_i) + \sum_j h_j(f_j(x)),

once the right features f_j are known. These come from `candidate_features`; the functions are the edges of a network of
one layer, which is linear in its coefficients, so that a fit has one minimum. Edges that the data do not need go, the
others become functions of LIBRARY, and constants become simple numbers where the data allow it. Smaller sets of
variables and features are tried before larger ones, those of a prior first.

References:
    Liu et al., KAN 2.0, arXiv:2408.10205, sections 3.1 and 6.3.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import sympy
import torch
from jaxtyping import Float
from torch import Tensor

from kansci.config import Edge
from kansci.errors import ConfigError, DataError, FormulaError
from kansci.nn.arguments import check_finite
from kansci.nn.multkan import MultKAN
from kansci.solvers.fit import fit
from kansci.surgery.fold import fold_affine
from kansci.surgery.symbolize import drop_splines
from kansci.symbolic.candidates import candidate_features
from kansci.symbolic.correct import refute
from kansci.symbolic.eliminate import eliminate
from kansci.symbolic.formula import formula
from kansci.symbolic.hypotheses import Comparison
from kansci.symbolic.kanpiler import auxiliary_features, kanpile
from kansci.symbolic.legibility import read_network
from kansci.symbolic.parse import parse_formula, symbols_of
from kansci.symbolic.rounding import round_constants
from kansci.symbolic.snap import snap
from kansci.symbolic.sums import unfold_sums

EXACT = 1e-9  # error on held-out data, relative to the deviation of y, of a formula that is exact
VALIDATION = 0.2
PROMISING = 1e-2  # error of splines that may be those of an exact formula
SIMILAR = 1.1  # factor by which errors of splines differ that are as good as each other
WORSE = 1.5  # factor by which the error of a formula may be larger than that of its splines
GRID, ROWS = 3, 10  # intervals, where there are so many samples for each edge; else one
UNKNOWNS = 4  # of an edge on one interval
STEPS = 30
BEAM = 2


@dataclass(frozen=True)
class MaterialLaw:
    """What `find_material_law` returns.

    Attributes:
        model: the law, a network of symbolic edges where a formula was found, else of splines.
        formula: the law in the names of the variables, or None where it cannot be read.
        features: the formulas beside the variables that it was found with.
        error: root mean square on data that were held out, relative to the standard deviation of y.
        prior: the test of the prior, or None.
    """

    model: MultKAN = field(repr=False)
    formula: sympy.Expr | None
    features: tuple[sympy.Expr, ...]
    error: float
    prior: Comparison | None = None

    @property
    def is_exact(self) -> bool:
        """Whether a formula describes even data that it has not seen to nine digits."""
        return self.formula is not None and self.error <= EXACT


def find_material_law(
    x: Any,
    y: Any,
    names: Sequence[str],
    *,
    prior: str | sympy.Expr | None = None,
    matrix: Sequence[Sequence[str]] | None = None,
    most: int = 3,
    seed: int = 0,
) -> MaterialLaw:
    """A formula for one component of a material's response.

    Args:
        x: variables (n, d), e.g. the entries of deformation gradients.
        y: the response (n,) or (n, 1).
        names: of the columns of x; entries of a matrix are named F11, F12, ... by preference, see
            `candidate_features`.
        prior: a formula that is believed. Its variables, and those of its terms that have several variables, are
            tried before all others; the data say whether they are enough.
        matrix: rows of names that form a matrix, where the names do not tell.
        most: features that are put together, at most.
        seed: of the choice of held-out data.

    Returns:
        The simplest law that is exact, else the best one.

    Raises:
        ShapeError: x is not (n, d), or y does not have one value for each of its rows.
        DataError: data that are not finite, or too few of them.
        FormulaError: a prior that cannot be read.

    Example:
        >>> x = torch.linspace(1, 2, 60, dtype=torch.float64)[:, None]
        >>> find_material_law(x, 3 * x.square(), ["F"]).formula
        3*F**2

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 6.3.
    """
    data = _Samples.read(x, y, names, matrix, seed)
    believed = None if prior is None else _read_prior(prior, data.names)
    tested = None if believed is None else refute(kanpile(believed, data.names), (data.x, data.y))
    law = _best_law(data, _plans(data, believed, most))
    return replace(law, prior=tested)


def _best_law(data: "_Samples", plans: Iterator["_Plan"]) -> MaterialLaw:
    """The first law that is exact; if there is none, that of the plan with the best splines."""
    fitted: list[MaterialLaw] = []
    for plan in plans:
        spline = _fitted_splines(data, plan)
        fitted.append(MaterialLaw(spline, None, plan.features, data.relative(spline)))
        if fitted[-1].error <= PROMISING:
            law = _read(data, fitted[-1], _quick_readings)
            if law.is_exact:
                return law
    if not fitted:
        raise DataError(f"expected more samples for the {len(data.names)} variables, got {len(data.x)}")
    least = min(own.error for own in fitted)
    best = next(own for own in fitted if own.error <= SIMILAR * least)
    return _read(data, best, _all_readings)


class _Plan(NamedTuple):
    """Variables with functions of their own, and features."""

    alone: list[str]
    features: tuple[sympy.Expr, ...]


class _Samples(NamedTuple):
    """What laws are fitted to, and what they are judged by."""

    names: list[str]
    matrix: Sequence[Sequence[str]] | None
    x: Float[Tensor, "n d"]
    y: Float[Tensor, "n 1"]
    known: Tensor
    test: Tensor

    @classmethod
    def read(
        cls, x: Any, y: Any, names: Sequence[str], matrix: Sequence[Sequence[str]] | None, seed: int
    ) -> "_Samples":
        points, values = (torch.as_tensor(own, dtype=torch.float64).detach().cpu() for own in (x, y))
        check_finite(points, "x")
        check_finite(values, "y")
        if points.ndim != 2 or len(names) != points.shape[1] or values.numel() != len(points):
            raise ConfigError(
                f"expected x of shape (n, {len(names)}) for {list(names)} and y of shape (n,), got "
                f"{tuple(points.shape)} and {tuple(values.shape)}"
            )
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(points)))
        held = math.ceil(VALIDATION * len(points))
        return cls(list(names), matrix, points, values.reshape(-1, 1), order[held:], order[:held])

    def relative(self, model: MultKAN) -> float:
        """The error on held-out data."""
        with torch.no_grad():
            rest = model(self.x[self.test]) - self.y[self.test]
        error = float(rest.square().mean().sqrt() / self.y.std())
        return error if math.isfinite(error) else math.inf


def _read_prior(prior: str | sympy.Expr, names: Sequence[str]) -> sympy.Expr:
    found = parse_formula(prior, names) if isinstance(prior, str) else prior
    if not found.free_symbols:
        raise FormulaError(f"expected a prior with some of the variables {', '.join(names)}, got {found}")
    return found


def _plans(data: _Samples, prior: sympy.Expr | None, most: int) -> Iterator[_Plan]:
    """From few variables and features to many, those of the prior first."""
    given: tuple[sympy.Expr, ...] = ()
    if prior is not None:
        symbols = symbols_of(data.names)
        terms = [term.as_independent(*symbols.values())[1] for term in sympy.Add.make_args(sympy.expand(prior))]
        given = tuple(term for term in terms if len(term.free_symbols) > 1)
        alone = [name for name, symbol in symbols.items() if symbol in prior.free_symbols]
        yield from _with_features(data, _Plan(alone, given), most)
    yield from _with_features(data, _Plan([], given), most)
    yield from _with_features(data, _Plan(data.names, given), most)


def _with_features(data: _Samples, plan: _Plan, most: int) -> Iterator[_Plan]:
    """A plan, then the same with more and more of the features that help."""
    if len(data.known) <= UNKNOWNS * (len(plan.alone) + len(plan.features)):
        return
    if plan.alone or plan.features:
        yield plan
    pair = data.x[data.known], data.y[data.known]
    try:
        found = candidate_features(*pair, data.names, matrix=data.matrix, alone=plan.alone, limit=most)
    except DataError:  # too few samples
        return
    for count in range(1, len(found) + 1):
        yield plan._replace(features=(*plan.features, *(own.formula for own in found[:count])))


def _read(data: _Samples, splines: MaterialLaw, readings: Callable[..., Iterator[MultKAN]]) -> MaterialLaw:
    """The best formula of splines, or these if there is none that is as good."""
    pair = data.x[data.known], data.y[data.known]
    best = splines
    for model in readings(splines.model, pair):
        error = data.relative(model)
        if error < best.error or (best is splines and error < WORSE * best.error):
            rounded = round_constants(model, pair)
            best = replace(best, model=rounded, formula=formula(rounded, data.names)[0], error=data.relative(rounded))
        if best.is_exact:
            break
    return best


def _fitted_splines(data: _Samples, plan: _Plan) -> MultKAN:
    """A layer of splines of what is needed of the variables and features."""
    pair = data.x[data.known], data.y[data.known]
    extended = auxiliary_features(plan.features, data.names) if plan.features else None
    domain = torch.stack([data.x.amin(0), data.x.amax(0)], 1).tolist()
    edges = len(plan.alone) + len(plan.features)
    model = MultKAN(
        [len(data.names) + len(plan.features), 1],
        grid=GRID if len(data.known) >= ROWS * edges else 1,
        domain=domain,
        base="zero",
        features=extended,
    )
    model = drop_splines(model, [Edge(0, 0, k) for k, name in enumerate(data.names) if name not in plan.alone])
    return eliminate(fit(model, pair, steps=STEPS, progress=False).model, pair).model


def _quick_readings(splines: MultKAN, pair: tuple[Tensor, Tensor]) -> Iterator[MultKAN]:
    """Networks of the functions, then of the sums of functions, of LIBRARY that suit each edge best."""
    for own in (splines, unfold_sums(splines, pair[0])):
        yield fold_affine(fit(read_network(own, pair[0]).formula, pair, steps=STEPS, progress=False).model)


def _all_readings(splines: MultKAN, pair: tuple[Tensor, Tensor]) -> Iterator[MultKAN]:
    """The same, and functions that suit the whole best."""
    yield from _quick_readings(splines, pair)
    yield snap(splines, pair, beam=BEAM).model
