r"""Energies of rubber that cannot be unphysical: sums of convex curves that do not fall.

.. math:: W(F) = \sum_i \varphi(l_i) + \sum_{i<j} \psi(l_i l_j) + h(J), \qquad
          h(J) = -s \ln J + \tfrac{\kappa}{2} (J - 1)^2,

with principal stretches l_i, J = det F, and s such that there is no stress at rest. Where phi and psi are convex and do
not fall, the first sum is convex in F and the second in cof F, so W is polyconvex; it is isotropic and
frame-indifferent as it depends on stretches only. The alternative with invariants,

.. math:: W(F) = f(|F|^2) + g(|\mathrm{cof} F|^2) + h(J),

is so for the same reason. Both curves are edges of a network of splines. The slope of a spline has coefficients of its
own; it is positive and rises if these do, and they do if they are sums of numbers that are not negative. Stresses are
linear in these numbers, so the best ones are those of one convex problem, least squares with bounds.

References:
    Ball, Convexity conditions and existence theorems in nonlinear elasticity, Arch. Rational Mech. Anal. 63 (1977) 337.
    Lawson, Hanson, Solving least squares problems, SIAM 1995, chapter 23 (with bounds).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import nnls
from torch import Tensor

from kansci.config import Edge
from kansci.errors import ConfigError, DataError
from kansci.nn.arguments import check_finite
from kansci.nn.edges import SplineEdges
from kansci.nn.multkan import MultKAN
from kansci.physics.hyperelastic import nominal_stress, piola_stress, principal_stretches, second_derivative
from kansci.surgery.symbolize import drop_splines

KINDS = ("stretches", "invariants")
DEGREE = 3
MARGIN = 1.001  # of the splines' domain
RIDGE = 1e-3  # of the unknowns, in units of their columns
SMOOTH = (1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)  # of the differences of neighbors
NEAR = 1.3  # factor by which scores of smoothness may differ from the least one
DRAWS = 200
ROUNDING = 1e-12  # relative to the largest stress
QUANTILES = 0.025, 0.975


class Arguments(NamedTuple):
    """What a curve is taken of, m numbers that depend on the stretches.

    Attributes:
        value: (n, m).
        slope: (n, m, 3).
        second: (n, m, 3, 3).
    """

    value: Float[Tensor, "n m"]
    slope: Float[Tensor, "n m 3"]
    second: Float[Tensor, "n m 3 3"]


def _of_stretches(stretches: Float[Tensor, "n 3"]) -> tuple[Arguments, Arguments]:
    """The stretches, and their products by twos."""
    n, unit = len(stretches), torch.eye(3, dtype=stretches.dtype)
    alone = Arguments(stretches, unit.expand(n, 3, 3), stretches.new_zeros(n, 3, 3, 3))
    pairs = torch.stack([unit[i].outer(unit[j]) + unit[j].outer(unit[i]) for i, j in ((1, 2), (2, 0), (0, 1))])
    slope = torch.einsum("mij,nj->nmi", pairs, stretches)
    value = torch.einsum("nmi,ni->nm", slope, stretches) / 2
    return alone, Arguments(value, slope, pairs.expand(n, 3, 3, 3))


def _of_invariants(stretches: Float[Tensor, "n 3"]) -> tuple[Arguments, Arguments]:
    """|F|^2 and |cof F|^2."""
    squares, unit = stretches.square(), torch.eye(3, dtype=stretches.dtype)
    first = squares.sum(1, keepdim=True)
    others = first - squares
    second = (squares * others).sum(1, keepdim=True) / 2
    mixed = 4 * stretches[:, :, None] * stretches[:, None, :] * (1 - unit) + 2 * torch.diag_embed(others)
    return (
        Arguments(first, 2 * stretches[:, None], (2 * unit).expand(len(stretches), 1, 3, 3)),
        Arguments(second, 2 * (stretches * others)[:, None], mixed[:, None]),
    )


ARGUMENTS: dict[str, Callable[[Tensor], tuple[Arguments, Arguments]]] = {
    "stretches": _of_stretches,
    "invariants": _of_invariants,
}


@dataclass(frozen=True)
class PolyconvexEnergy:
    """An energy of convex curves that do not fall.

    Attributes:
        curves: a network of two inputs and two outputs, the curves its only edges.
        kind: "stretches" or "invariants".
        bulk: kappa [stress].
    """

    curves: MultKAN = field(repr=False)
    kind: str = "stretches"
    bulk: float = 1.0

    def curve(self, number: int, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Value, slope and curvature of a curve."""
        points = values.new_zeros(values.numel(), 2)
        points[:, number] = values.flatten()
        with torch.no_grad():
            jet = self.curves.jet(points, "diagonal")
        parts = jet.value[:, number], jet.gradient[:, number, number], jet.diagonal[:, number, number]
        return parts[0].view_as(values), parts[1].view_as(values), parts[2].view_as(values)

    @property
    def slope_at_rest(self) -> float:
        """s, which the volume has to make up for."""
        return float(self._curves_at(torch.ones(1, 3, dtype=torch.float64))[1][0, 0])

    def _curves_at(self, stretches: Float[Tensor, "n 3"]) -> tuple[Tensor, Tensor, Tensor]:
        """Energy, slopes and second derivatives of the curves."""
        total = stretches.new_zeros(len(stretches))
        slopes = stretches.new_zeros(len(stretches), 3)
        hessians = stretches.new_zeros(len(stretches), 3, 3)
        for number, own in enumerate(ARGUMENTS[self.kind](stretches)):
            value, slope, curvature = self.curve(number, own.value)
            total = total + value.sum(1)
            slopes = slopes + torch.einsum("nm,nmi->ni", slope, own.slope)
            hessians = hessians + torch.einsum("nm,nmi,nmj->nij", curvature, own.slope, own.slope)
            hessians = hessians + torch.einsum("nm,nmij->nij", slope, own.second)
        return total, slopes, hessians

    def derivatives(self, stretches: Float[Tensor, "n 3"]) -> tuple[Tensor, Tensor, Tensor]:
        """W (n,), W_i (n, 3) and W_ij (n, 3, 3) of a body that may change its volume [stress]."""
        total, slopes, hessians = self._curves_at(stretches)
        rest = float(self._curves_at(torch.ones(1, 3, dtype=torch.float64))[0])
        volume, s = stretches.prod(1), self.slope_at_rest
        change = -s + self.bulk * (volume - 1) * volume  # h' J
        second = s + self.bulk * volume.square()  # h'' J^2
        inverse = 1 / stretches
        products = inverse[:, :, None] * inverse[:, None, :]
        hessians = hessians + (second + change)[:, None, None] * products
        hessians = hessians - torch.diag_embed(change[:, None] * inverse.square())
        total = total - rest - s * volume.log() + self.bulk / 2 * (volume - 1).square()
        return total, slopes + change[:, None] * inverse, hessians

    def stress(self, gradient: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 3 3"]:
        """The first Piola stress at deformation gradients [stress]."""
        return piola_stress(lambda stretches: self.derivatives(stretches)[1], gradient)

    def nominal(self, stretches: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        """The nominal stress of an incompressible body along the first axis, the third face free [stress]."""
        return nominal_stress(self._curves_at(stretches)[1], stretches)


@dataclass(frozen=True)
class PolyconvexFit:
    """What `fit_polyconvex` returns.

    Attributes:
        energy: that suits the data best.
        numbers: what the slopes of the curves are sums of, none negative [stress].
        draws: the same for data drawn anew from what is left of them (draws, p).
        noise: standard deviation of what is left of each mode [stress].
    """

    energy: PolyconvexEnergy
    numbers: Float[Tensor, "p"] = field(repr=False)
    draws: Float[Tensor, "draws p"] = field(repr=False)
    noise: dict[str, float]

    def band(self, mode: str, stretch: Any, *, measured: bool = False) -> tuple[Tensor, Tensor]:
        """Where the stress lies with 95 % probability, as far as that is a matter of noise [stress].

        What bounds and smoothness keep from the curves is not in it.

        Args:
            mode: of a test.
            stretch: (n,).
            measured: whether a measurement is meant, with its noise, or the mean of many.

        Returns:
            Lower and upper end (n,).
        """
        rows = _rows(self.energy, principal_stretches(mode, stretch))
        values = self.draws @ rows.T
        low, high = (values.quantile(share, 0) for share in QUANTILES)
        if not measured:
            return low, high
        noise = self.noise.get(mode, max(self.noise.values()))
        middle, half = (low + high) / 2, (high - low) / 2
        half = (half.square() + (1.96 * noise) ** 2).sqrt()
        return middle - half, middle + half


def fit_polyconvex(
    tests: Mapping[str, tuple[Any, Any]],
    *,
    kind: str = "stretches",
    grid: int = 16,
    bulk: float | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> PolyconvexFit:
    """The polyconvex energy that suits tests of an incompressible body best.

    Each mode counts alike, its squares in units of the variance of its stress.

    Args:
        tests: stretches and nominal stresses, both (n,), by mode: "uniaxial", "equibiaxial", "pure_shear".
        kind: "stretches" or "invariants".
        grid: intervals of each curve.
        bulk: kappa, by default the largest stress in the tests.
        draws: data sets drawn for bands; 0 for none.
        seed: of these.

    Raises:
        ConfigError: another kind or mode.
        DataError: no tests, or numbers that are not finite.

    Example:
        >>> stretch = np.linspace(1, 3, 15)
        >>> found = fit_polyconvex({"uniaxial": (stretch, stretch - stretch**-2)}, draws=0)
        >>> stress = found.energy.nominal(principal_stretches("uniaxial", [2.5]))
        >>> bool((stress - (2.5 - 2.5**-2)).abs() < 0.01)
        True
    """
    if kind not in KINDS:
        raise ConfigError(f"expected kind to be one of {', '.join(KINDS)}, got {kind!r}")
    data = {mode: _read(mode, *pair) for mode, pair in tests.items()}
    if not data:
        raise DataError("expected at least one test, got none")
    stretches = {mode: principal_stretches(mode, own[0]) for mode, own in data.items()}
    everything = torch.cat(list(stretches.values()))
    largest = float(torch.cat([own[1] for own in data.values()]).abs().max())
    empty = PolyconvexEnergy(_empty_curves(kind, everything, grid), kind, largest if bulk is None else bulk)
    system = _System.of(empty, data, stretches)
    system = system.smoothest()
    numbers = system.solved(system.target)
    noise, drawn = system.redrawn(numbers, draws, seed)
    energy = PolyconvexEnergy(_with_numbers(empty.curves, numbers), kind, empty.bulk)
    return PolyconvexFit(energy, numbers, drawn, noise)


def _read(mode: str, stretch: Any, stress: Any) -> tuple[Tensor, Tensor]:
    pair = [torch.as_tensor(own, dtype=torch.float64).flatten() for own in (stretch, stress)]
    for own, label in zip(pair, ("stretches", "stresses"), strict=True):
        check_finite(own, f"{mode} {label}")
    if len(pair[0]) != len(pair[1]):
        raise DataError(f"{mode}: expected a stress for each stretch, got {len(pair[1])} for {len(pair[0])}")
    return pair[0], pair[1]


def _empty_curves(kind: str, stretches: Float[Tensor, "n 3"], grid: int) -> MultKAN:
    """Two curves that are zero, on domains that hold what they are taken of; those of invariants start at rest."""
    low = 3.0 if kind == "invariants" else 0.0
    ends = [[low, low + MARGIN * max(float(own.value.max()) - low, 0.1)] for own in ARGUMENTS[kind](stretches)]
    model = MultKAN([2, 2], grid=grid, k=DEGREE, domain=ends, base="zero")
    return _with_numbers(drop_splines(model, [Edge(0, 0, 1), Edge(0, 1, 0)]), torch.zeros(2 * (grid + DEGREE - 1)))


def _slope_matrix(model: MultKAN, number: int) -> Float[Tensor, "c p"]:
    """Coefficients of a spline from the steps of those of its slope, the first coefficient being 0."""
    knots = _splines(model).knots[number]
    p = len(knots) - DEGREE - 2
    steps = torch.tril(torch.ones(p, p, dtype=torch.float64))
    widths = (knots[DEGREE + 1 : -1] - knots[1 : -DEGREE - 1]) / DEGREE
    return torch.cat([steps.new_zeros(1, p), (widths[:, None] * steps).cumsum(0)])


@torch.no_grad()
def _with_numbers(model: MultKAN, numbers: Float[Tensor, "p"]) -> MultKAN:
    changed = MultKAN.from_config(model.config)
    changed.load_state_dict(model.state_dict())
    for number, own in enumerate(numbers.to(torch.float64).chunk(2)):
        _splines(changed).coef[number, number] = _slope_matrix(model, number) @ own
    return changed


def _rows(energy: PolyconvexEnergy, stretches: Float[Tensor, "n 3"]) -> Float[Tensor, "n p"]:
    """The nominal stress as a linear function of the numbers."""
    columns = []
    for number, own in enumerate(ARGUMENTS[energy.kind](stretches)):
        basis = _basis_slopes(energy.curves, number, own.value)
        slopes = torch.einsum("nmp,nmi->nip", basis, own.slope)
        columns.append(slopes[:, 0] - (stretches[:, 2] / stretches[:, 0])[:, None] * slopes[:, 2])
    return torch.cat(columns, 1)


def _basis_slopes(curves: MultKAN, number: int, values: Float[Tensor, "n m"]) -> Float[Tensor, "n m p"]:
    """Slopes of a curve for each of its numbers being 1 and the others 0."""
    matrix, splines = _slope_matrix(curves, number), _splines(curves)
    bank = MultKAN([1, matrix.shape[1]], grid=splines.config.grid, k=DEGREE, base="zero")
    own = _splines(bank)
    with torch.no_grad():
        own.knots.copy_(splines.knots[number : number + 1])
        own.coef.copy_(matrix.T[:, None])
        slopes = bank.jet(values.reshape(-1, 1), "gradient").gradient[..., 0]
    return slopes.view(*values.shape, -1)


def _splines(model: MultKAN) -> SplineEdges:
    return cast(SplineEdges, model.layers[0].splines)


class _System(NamedTuple):
    """Least squares of the stresses, each mode in units of its deviation."""

    matrix: Float[Tensor, "n p"]
    target: Float[Tensor, "n"]
    modes: list[str]
    units: dict[str, float]
    smooth: float = SMOOTH[0]

    @classmethod
    def of(
        cls, energy: PolyconvexEnergy, data: Mapping[str, tuple[Tensor, Tensor]], stretches: Mapping[str, Tensor]
    ) -> "_System":
        units = {mode: _unit(own[1]) for mode, own in data.items()}
        matrix = torch.cat([_rows(energy, stretches[mode]) / units[mode] for mode in data])
        target = torch.cat([own[1] / units[mode] for mode, own in data.items()])
        return cls(matrix, target, [mode for mode, own in data.items() for _ in own[1]], units)

    def smoothest(self) -> "_System":
        """The system with the most smoothness whose generalized cross-validation is about as good as any."""
        systems = [self._replace(smooth=own) for own in SMOOTH]
        scores = [own.score() for own in systems]
        return [own for own, score in zip(systems, scores, strict=True) if score <= NEAR * min(scores)][-1]

    def score(self) -> float:
        """Mean square that is left, by the square of the share of freedom that is left (Craven, Wahba 1979)."""
        numbers = self.solved(self.target)
        rest = (self.target - self.matrix @ numbers).square().mean()
        return float(rest / (1 - self._leverages(numbers > 0).mean()).square())

    def solved(self, target: Float[Tensor, "n"]) -> Float[Tensor, "p"]:
        """The best numbers that are not negative."""
        stacked, sizes = self._regularized()
        right = torch.cat([target, target.new_zeros(len(stacked) - len(target))])
        return torch.from_numpy(nnls(stacked.numpy(), right.numpy(), maxiter=100 * len(sizes))[0]) / sizes

    def _regularized(self) -> tuple[Float[Tensor, "rows p"], Float[Tensor, "p"]]:
        """The matrix with columns of length one and what keeps the numbers small and smooth, and the lengths."""
        sizes = self.matrix.norm(dim=0)
        sizes = torch.where(sizes > 0, sizes, 1.0)
        unit = torch.eye(len(sizes), dtype=torch.float64)
        differences = unit.diff(dim=0)
        differences[len(sizes) // 2 - 1] = 0  # between the curves
        return torch.cat([self.matrix / sizes, RIDGE * unit, self.smooth * differences]), sizes

    def redrawn(
        self, numbers: Float[Tensor, "p"], draws: int, seed: int
    ) -> tuple[dict[str, float], Float[Tensor, "draws p"]]:
        """The noise of each mode, and numbers for data with other noise of the same kind."""
        explained = self.matrix @ numbers
        shares = self._leverages(numbers > 0)
        sizes, noise = torch.zeros_like(self.target), {}
        for mode, unit in self.units.items():
            own = torch.tensor([name == mode for name in self.modes])
            freedom = (1 - shares[own]).sum().clamp(min=1)
            sizes[own] = ((self.target - explained)[own].square().sum() / freedom).sqrt()
            noise[mode] = float(sizes[own][0]) * unit
        random = torch.from_numpy(np.random.default_rng(seed).standard_normal((draws, len(sizes))))
        return noise, torch.stack([numbers, *(self.solved(explained + sizes * own) for own in random)])

    def _leverages(self, active: Tensor) -> Float[Tensor, "n"]:
        """How much of each stress goes into the fit, the bounds that hold being kept."""
        stacked = self._regularized()[0][:, active]
        q = torch.linalg.qr(stacked).Q[: len(self.target)]
        return q.square().sum(1)


def _unit(stress: Tensor) -> float:
    """The root of the sum of squares of a mode about its mean."""
    size = float((stress - stress.mean()).norm())
    return size if size > 0 else 1.0


@dataclass(frozen=True)
class Certificate:
    """That an energy is polyconvex, frame-indifferent and free of stress at rest.

    Attributes:
        least_step: the least of the numbers that the slopes of the curves are sums of; not negative means polyconvex.
        frame_error: largest |P(Q F) - Q P(F)| on random F and rotations Q [stress].
        rest_stress: largest |P(1)| [stress].
        rank_one: least D^2 W[a b^T, a b^T] on random F and unit vectors a, b [stress].
        size: largest |P(F)| [stress], by which rounding is judged.
        samples: how many there were.
    """

    least_step: float
    frame_error: float
    rest_stress: float
    rank_one: float
    size: float
    samples: int

    @property
    def holds(self) -> bool:
        """Whether all is as it should be, to rounding."""
        errors = max(self.frame_error, self.rest_stress)
        return self.least_step >= 0 and errors <= ROUNDING * self.size and self.rank_one >= -ROUNDING * self.size

    def __repr__(self) -> str:
        """The verdict and its numbers."""
        verdict = "holds" if self.holds else "does not hold"
        return (
            f"Certificate({verdict}: least step {self.least_step:.1e}, frame error {self.frame_error:.1e}, "
            f"stress at rest {self.rest_stress:.1e}, rank-one {self.rank_one:.1e} on {self.samples} samples)"
        )


def certify(found: PolyconvexFit, *, samples: int = 100_000, reach: float = 2.0, seed: int = 0) -> Certificate:
    """Check an energy on random deformations.

    Args:
        found: from `fit_polyconvex`.
        samples: how many (F, a, b).
        reach: stretches are between 1 / reach and reach, evenly in their logarithms.
        seed: of the random numbers.

    Example:
        >>> stretch = np.linspace(1, 3, 15)
        >>> found = fit_polyconvex({"uniaxial": (stretch, stretch - stretch**-2)}, draws=0)
        >>> certify(found, samples=1000).holds
        True
    """
    energy = found.energy
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    left, right, turn = (_rotations(normal(samples, 3, 3)) for _ in range(3))
    stretches = reach ** (2 * torch.rand(samples, 3, dtype=torch.float64, generator=generator) - 1)
    gradient = left @ (stretches[..., None] * right)
    a, b = (torch.nn.functional.normalize(normal(samples, 3), dim=1) for _ in range(2))
    _, slopes, hessians = energy.derivatives(stretches)
    second = second_derivative(slopes, hessians, (left, stretches, right), a[:, :, None] * b[:, None, :])
    stress = energy.stress(gradient)
    frame = (energy.stress(turn @ gradient) - turn @ stress).abs().max()
    rest = energy.stress(torch.eye(3, dtype=torch.float64)[None]).abs().max()
    least, size = float(found.numbers.min()), float(stress.abs().max())
    return Certificate(least, float(frame), float(rest), float(second.min()), size, samples)


def _rotations(matrices: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 3 3"]:
    """Orthogonal matrices of determinant 1."""
    q = torch.linalg.qr(matrices).Q
    return q * torch.linalg.det(q)[:, None, None]
