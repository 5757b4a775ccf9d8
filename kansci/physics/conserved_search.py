r"""How many quantities a field conserves, and which.

First exact formulas from a library of the field's own functions; then networks for what the library does not contain,
each deflated by the gradients of those before; always one more than counted, so that the gap is measured. A network
starts as the polynomial P that changes least, that with the smallest quotient

.. math:: \frac{\sum_i (\hat f_i \cdot \nabla P_i)^2}{\sum_i |(1 - Q_i Q_i^T) \nabla P_i|^2}.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy
import torch
from jaxtyping import Float
from scipy.linalg import eigh
from torch import Tensor

from kansci.nn.multkan import MultKAN
from kansci.physics.conserved import SHARE, conservation, gradient_of, measure, span
from kansci.physics.field import VectorField
from kansci.physics.library import Library
from kansci.physics.nullspace import exact_formula, null_vectors
from kansci.solvers.fit import fit
from kansci.solvers.solve import solve
from kansci.symbolic.evaluate import torch_function

CONSERVED = 1e-4  # residual of what counts
NUMERIC = 1e-13  # residual of a formula whose constants are not exact
MOST_FEATURES, MOST_DEGREE = 800, 8
MOST_TERMS = 40
FRESH = 4096
FLOOR = 1e-16
CANCELLED = 1e-8
DEGREE = 6
ALONG = 1e-3  # what keeps the polynomial from being one of known functions nearly
POINTS, STEPS, SPLINE = 1024, 40, 5
WIDEST = 9
GRIDS, MOST_FINE = (4, 8), 4  # intervals of the stages; the second for so many coordinates


@dataclass(frozen=True)
class Quantity:
    """A conserved quantity.

    Attributes:
        function: what computes it, a function of points or a network.
        formula: what it is, or None where only a network is known.
        exact: whether high precision has proven that the formula is conserved.
    """

    function: Any = field(repr=False)
    formula: sympy.Expr | None = None
    exact: bool = False

    @property
    def terms(self) -> Sequence[sympy.Expr]:
        """Those that the formula is a sum of."""
        return () if self.formula is None else sympy.Add.make_args(self.formula)


@dataclass(frozen=True)
class Conserved:
    """What a field conserves.

    Attributes:
        quantities: functionally independent ones.
        residuals: of each, and of the best further function at last; on fresh points.
        shares: mean shares of their gradients that are outside the span of the earlier ones.
        further: that further function, the best that a network found, or None where there can be none.
    """

    quantities: tuple[Quantity, ...]
    residuals: tuple[float, ...]
    shares: tuple[float, ...]
    further: MultKAN | None = field(repr=False)

    @property
    def count(self) -> int:
        """How many quantities are conserved."""
        return len(self.quantities)

    @property
    def gap(self) -> float | None:
        """Residual of the first function that is not conserved over that of the last that is; None if nothing is."""
        return self.residuals[self.count] / max(self.residuals[self.count - 1], FLOOR) if self.count else None

    @property
    def max_residual(self) -> float | None:
        """Mean square residual of the last conserved quantity."""
        return max(self.residuals[: self.count]) ** 2 if self.count else None

    @property
    def smallest_value(self) -> float:
        """Residual of the first function, conserved or not."""
        return self.residuals[0]

    @property
    def formulas(self) -> list[sympy.Expr]:
        """The formulas that are known."""
        return [own.formula for own in self.quantities if own.formula is not None]


def find_conserved(flow: VectorField, *, seed: int = 0, library: bool = True) -> Conserved:
    """Find all conserved quantities of a field.

    Args:
        flow: the field.
        seed: of points and networks.
        library: whether to look for formulas before networks.

    Returns:
        The quantities with what measures them.

    Example:
        >>> found = find_conserved(VectorField.read("p, -x", ["x", "p"]))
        >>> found.count, found.formulas, found.gap > 1e4
        (1, [p**2 + x**2], True)
    """
    quantities = _formulas(flow, seed) if library else []
    fresh = flow.points(FRESH, seed=10_000 + seed)
    while True:
        known = [own.function for own in quantities]
        if len(quantities) == len(flow.names) - 1:
            measured = measure(known, fresh, flow(fresh))
            return Conserved(tuple(quantities), (*measured.residual, 1.0), (*measured.share, 1.0), None)
        network = _network(flow, known, seed)
        measured = measure([*known, network], fresh, flow(fresh))
        if measured.residual[-1] > CONSERVED or measured.share[-1] < SHARE:
            return Conserved(tuple(quantities), tuple(measured.residual), tuple(measured.share), network)
        quantities.append(Quantity(network))


def _formulas(flow: VectorField, seed: int) -> list[Quantity]:
    """Independent formulas of libraries of growing degree, the simplest first."""
    points = flow.points(2 * MOST_FEATURES + 200, seed=seed)
    probe = points[:256]
    library = Library.of_field(flow.formulas, flow.names, points.numpy())
    found: list[Quantity] = []
    for degree in range(1, MOST_DEGREE + 1):
        if library.size(degree) > MOST_FEATURES:
            break
        candidates = list(_of_degree(flow, library, degree, points))
        while candidates and len(found) < len(flow.names) - 1:
            candidates = [own for own in candidates if _is_new(own, found, probe, flow)]
            if candidates:
                found.append(min(candidates, key=_length))
        if len(found) == len(flow.names) - 1:
            break
    return found


def _length(quantity: Quantity) -> int:
    """Number of operations of a formula."""
    return int(sympy.count_ops(quantity.formula))


def _of_degree(flow: VectorField, library: Library, degree: int, points: Float[Tensor, "n d"]) -> Iterator[Quantity]:
    """The conserved combinations of a library's features up to a degree."""
    features = library.features(degree)
    x = points[: 2 * len(features) + 200]
    rates = flow(x)
    rates = (rates / rates.norm(dim=1, keepdim=True)).numpy()
    changes = library.columns(features, library.values(x.numpy(), rates))[1]
    lengths = np.linalg.norm(changes, axis=1, keepdims=True)
    for last, coefficients in null_vectors(changes / np.where(lengths > 0, lengths, 1.0)):
        places = np.flatnonzero(coefficients)
        if len(places) > MOST_TERMS or features[last].cost < degree:
            continue
        terms = [library.expression(features[place]) for place in places]
        formula, is_exact = exact_formula(coefficients[places], terms, flow.formulas, x[:2].numpy(), flow.names)
        if formula.free_symbols:
            yield Quantity(torch_function(formula, flow.names), formula, is_exact)


def _is_new(quantity: Quantity, found: Sequence[Quantity], x: Float[Tensor, "n d"], flow: VectorField) -> bool:
    """Whether a formula is conserved on other points and does not depend on those found before."""
    measured = measure([*(own.function for own in found), quantity.function], x, flow(x))
    is_conserved = measured.residual[-1] <= (CONSERVED if quantity.exact else NUMERIC)
    return measured.share[-1] >= SHARE and is_conserved and not _is_constant(quantity, x, flow)


def _is_constant(quantity: Quantity, x: Float[Tensor, "n d"], flow: VectorField) -> bool:
    """Whether the terms of a formula cancel each other everywhere."""
    terms = [torch_function(own, flow.names) for own in quantity.terms]
    largest = torch.stack([gradient_of(own, x).norm(dim=1) for own in terms]).amax(0)
    return bool((gradient_of(quantity.function, x).norm(dim=1) <= CANCELLED * largest).all())


def _network(flow: VectorField, known: Sequence[Any], seed: int) -> MultKAN:
    """The network that changes least among those that do not depend on known quantities."""
    x = flow.points(POINTS, seed=20_000 + seed)
    basis = span([gradient_of(own, x) for own in known]) if known else x.new_zeros(*x.shape, 0)
    d = len(flow.names)
    model = MultKAN([d, min(2 * d + 1, WIDEST), 1], grid=GRIDS[0], k=SPLINE, domain=flow.domain, base="zero", seed=seed)
    start = _slowest_polynomial(flow, x, basis)
    model = fit(model, (x, start(x)[:, None]), steps=STEPS, progress=False).model
    grids = GRIDS if d <= MOST_FINE else GRIDS[:1]
    return solve(model, conservation(x, flow, basis), grids=grids, steps=STEPS, progress=False).model


def _slowest_polynomial(flow: VectorField, x: Float[Tensor, "n d"], basis: Float[Tensor, "n d q"]) -> Any:
    """The polynomial whose gradient, outside a basis, is most perpendicular to the field."""
    low, high = flow.bounds
    d = len(low)
    degree = max(own for own in range(1, DEGREE + 1) if math.comb(own + d, d) <= POINTS // 4 or own == 1)
    powers = torch.tensor([own for own in itertools.product(range(degree + 1), repeat=d) if 0 < sum(own) <= degree])

    def scaled(x: Tensor) -> Tensor:
        return 2 * (x - low) / (high - low) - 1

    values, slopes = _legendre(scaled(x), degree)
    factors = torch.stack([values[:, i, powers[:, i]] for i in range(d)], 2)
    gradients = torch.stack(
        [
            slopes[:, i, powers[:, i]] * 2 / (high - low)[i] * factors[:, :, [j for j in range(d) if j != i]].prod(2)
            for i in range(d)
        ],
        1,
    )
    rates = flow(x)
    unit = rates / rates.norm(dim=1, keepdim=True)
    change = torch.einsum("nd,ndk->nk", unit, gradients)
    outside = gradients - torch.einsum("ndq,neq,nek->ndk", basis, basis, gradients)
    above = (change.T @ change + ALONG * torch.einsum("ndk,ndl->kl", gradients, gradients)).numpy()
    below = torch.einsum("ndk,ndl->kl", outside, outside).numpy()
    below += 1e-10 * np.trace(below) / len(below) * np.eye(len(below))
    weights = torch.from_numpy(eigh(above, below, subset_by_index=[0, 0])[1][:, 0].copy())

    def polynomial(x: Tensor) -> Tensor:
        values = _legendre(scaled(x), degree)[0]
        return torch.stack([values[:, i, powers[:, i]] for i in range(d)], 2).prod(2) @ weights

    return polynomial


def _legendre(x: Float[Tensor, "n d"], degree: int) -> tuple[Float[Tensor, "n d k"], Float[Tensor, "n d k"]]:
    """Legendre polynomials up to a degree, with their derivatives."""
    values, slopes = [torch.ones_like(x), x], [torch.zeros_like(x), torch.ones_like(x)]
    for n in range(1, degree):
        values.append(((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1))
        slopes.append((2 * n + 1) * values[n] + slopes[n - 1])
    return torch.stack(values[: degree + 1], 2), torch.stack(slopes[: degree + 1], 2)


def drift(quantity: Any, paths: Sequence[Float[Tensor, "_t d"]]) -> float:
    """Largest change along a trajectory relative to the standard deviation among trajectories.

    Example:
        >>> t = torch.linspace(0, 6, 9, dtype=torch.float64)
        >>> circles = [r * torch.stack([t.cos(), t.sin()], 1) for r in (1.0, 2.0)]
        >>> drift(lambda x: x.square().sum(1), circles) < 1e-14
        True
    """
    with torch.no_grad():
        values = [quantity(own).reshape(len(own)) for own in paths]
    means = torch.stack([own.mean() for own in values])
    return float(max((own - own[0]).abs().max() for own in values) / means.std())
