r"""A Lagrangian fitted to measured motions as a whole, where accelerations are too noisy to be fitted by themselves.

Unknown are the constants of the model and where each motion starts. Motions are integrated, and what they miss of the
measurements, in units of the noise, is made least by damped Gauss-Newton steps:

.. math:: \chi^2 = \sum_{k,i} \frac{(q^{(k)}(t_i) - y_{ki})^2}{\sigma_k^2}

Noisy states as arguments of a fit would make its functions too flat (errors in variables); here they are no arguments.

References:
    Bock, Recent advances in parameter identification techniques for O.D.E., Birkhaeuser 1983 (multiple shooting).
    Fuller, Measurement Error Models, Wiley 1987.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.nn.multkan import MultKAN
from kansci.physics.lagrangian import accelerations
from kansci.physics.rollout import rollout
from kansci.solvers.residual import Residual
from kansci.solvers.unknowns import Unknowns
from kansci.symbolic.rounding import simplest_number

SEGMENT = 40  # samples that one start has to explain
STEP = 1e-6
TOLERANCE = 1e-8
FLAT = 1e-5
RANK, VISIBLE = 1e-6, 1e-3
SURE = 1e-4  # standard deviation of what equations miss
SMALLEST, LARGEST = 1e-10, 1e6  # damping


@dataclass(frozen=True)
class Motions:
    """Measured motions.

    Attributes:
        times: of the samples (n,).
        measured: by order of the derivative, 0, 1 or 2, what was measured (n, d).
        noise: the standard deviation of each of these (d,).
        trajectory: which motion a sample belongs to (n,).
    """

    times: Float[Tensor, "n"]
    measured: Mapping[int, Float[Tensor, "n d"]]
    noise: Mapping[int, Float[Tensor, "d"]]
    trajectory: Tensor

    def segments(self) -> list[Tensor]:
        """The samples of each motion, in pieces that are not too long."""
        whole = [(self.trajectory == own).nonzero()[:, 0] for own in self.trajectory.unique()]
        return [part for rows in whole for part in rows.tensor_split(-(-len(rows) // SEGMENT))]

    @property
    def size(self) -> int:
        """Number of measurements."""
        return sum(own.numel() for own in self.measured.values())


@dataclass(frozen=True)
class MotionFit:
    """A Lagrangian fitted to motions.

    Attributes:
        model: the model with the best constants.
        chi2: sum of squares of what it misses, in units of the noise.
        freedom: number of measurements less that of what they determine.
        states: of the motions at the samples (n, 2 d).
        constants: the free constants of the model.
        covariance: of these; infinite on the diagonal where nothing determines them.
    """

    model: MultKAN = field(repr=False)
    chi2: float
    freedom: int
    states: Float[Tensor, "n s"] = field(repr=False)
    constants: Float[Tensor, "p"] = field(repr=False)
    covariance: Float[Tensor, "p p"] = field(repr=False)


def fit_motions(
    model: MultKAN,
    motions: Motions,
    states: Float[Tensor, "n s"],
    *,
    equations: Sequence[Residual] = (),
    steps: int = 8,
) -> MotionFit:
    """Fit the constants of a Lagrangian to motions, together with where these start.

    Args:
        model: L, or L and R, near the best; left unchanged.
        motions: what was measured.
        states: (q, q') at the samples, roughly, of which those at the starts are used.
        equations: what holds besides, such as `inertia`.
        steps: of Gauss and Newton.

    Returns:
        The model and its motions.

    Example:
        >>> from kansci import Edge, hold_constants, kanpile
        >>> t = torch.linspace(0, 2, 5, dtype=torch.float64)
        >>> exact = torch.stack([t.cos(), -t.sin()], 1)
        >>> noise = {0: torch.tensor([0.01], dtype=torch.float64)}
        >>> motions = Motions(t, {0: exact[:, :1]}, noise, torch.zeros(5))
        >>> model = hold_constants(kanpile("v**2/2 - 0.55*q**2", ["q", "v"]), free=[Edge(0, 0, 0)])
        >>> fit_motions(model, motions, exact, steps=3).chi2 < 1e-3
        True
    """
    shooting = _Shooting(model, motions, equations)
    point = torch.cat([shooting.unknowns.read(), torch.cat([states[rows[0]] for rows in shooting.segments])])
    rows, reached = shooting.misses(point)
    damping = 1e-3
    for _ in range(steps):
        left, sizes, right, scale = _factors(shooting.jacobian(point, rows))
        before = float(rows.square().sum())
        while damping < LARGEST:
            change = -(right.T @ (sizes / (sizes.square() + damping) * (left.T @ rows))) / scale
            tried, states_tried = shooting.misses(point + change)
            if float(tried.square().sum()) < before:
                point, rows, reached = point + change, tried, states_tried
                damping = max(damping / 100, SMALLEST)
                break
            damping *= 10
        if float(rows.square().sum()) > (1 - FLAT) * before:
            break
    return shooting.result(point, rows, reached)


def _factors(jacobian: Float[Tensor, "r p"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The singular value decomposition of a matrix with columns of length 1, and what these were divided by."""
    scale = jacobian.norm(dim=0).clamp(min=1e-12 * float(jacobian.norm()))
    return *torch.linalg.svd(jacobian / scale, full_matrices=False), scale


def settle_motions(free: MotionFit, motions: Motions, *, equations: Sequence[Residual] = ()) -> MotionFit:
    """Make simple numbers of the constants of a formula where its motions allow it.

    A constant becomes a simple number where that raises chi^2 by less than the logarithm of the number of measurements,
    which is what a free constant costs (Schwarz).

    Args:
        free: a formula fitted to motions.
        motions: what was measured.
        equations: what holds besides, such as `inertia`.

    Returns:
        The formula with its simple constants held, fitted again.
    """
    price = math.log(motions.size)
    held, taken = _rounded(free, math.sqrt(price))
    if not taken:
        return free
    found = fit_motions(held, motions, free.states, equations=equations)
    return found if found.chi2 <= free.chi2 + price * taken else free


def _rounded(fit: MotionFit, reach: float) -> tuple[MultKAN, int]:
    """Constants that are simple numbers within their errors, one after the other, the others following each time."""
    values, covariance = fit.constants.clone(), fit.covariance.clone()
    left = [number for number in range(len(values)) if math.isfinite(float(covariance[number, number]))]
    chosen: dict[int, float] = {}
    while left:
        errors = covariance.diagonal().clamp(min=0).sqrt()
        left.sort(key=lambda own: float(errors[own] / values[own].abs().clamp(min=1e-300)))
        for number in left:
            simple = simplest_number(float(values[number]), reach * float(errors[number]))
            if simple is not None:
                break
        else:
            break
        left.remove(number)
        chosen[number] = simple
        column = covariance[:, number] / covariance[number, number].clamp(min=1e-300)
        values += column * (simple - values[number])
        covariance -= torch.outer(column, covariance[number])
    return _held(fit.model, values, chosen), len(chosen)


@torch.no_grad()
def _held(model: MultKAN, values: Tensor, chosen: Mapping[int, float]) -> MultKAN:
    """The model with other constants, some of which are held."""
    unknowns = Unknowns(model)
    for number, value in chosen.items():
        values[number] = value
    unknowns.write(values)
    marks = Unknowns(model)
    flags = torch.zeros(len(marks), dtype=torch.float64)
    flags[list(chosen)] = math.nan
    marks.write(flags)
    held = _with_values(model, unknowns)
    for own, marked in zip(held.layers, _with_values(model, marks).layers, strict=True):
        if own.symbols is not None and marked.symbols is not None:
            own.symbols.fixed[marked.symbols.affine.isnan()] = 1
    return held


def _with_values(model: MultKAN, unknowns: Unknowns) -> MultKAN:
    """The model with the unknowns as they have been written."""
    changed = copy.deepcopy(model)
    changed.load_state_dict(unknowns.model.state_dict())
    return changed


class _Shooting:
    """What motions miss of measurements, as a function of constants and starts."""

    def __init__(self, model: MultKAN, motions: Motions, equations: Sequence[Residual]) -> None:
        self.unknowns, self.motions, self.segments = Unknowns(model), motions, motions.segments()
        self.original, self.equations = model, equations
        self.groups = _alike([motions.times[rows] - motions.times[rows[0]] for rows in self.segments])

    def model(self, point: Float[Tensor, "p"]) -> MultKAN:
        """The model with the constants of a point."""
        self.unknowns.write(point[: len(self.unknowns)])
        return cast(MultKAN, self.unknowns.model)

    def result(self, point: Tensor, rows: Tensor, states: Tensor) -> MotionFit:
        """The fit at a point."""
        jacobian = self.jacobian(point, rows)
        _, sizes, right, scale = _factors(jacobian)
        kept = sizes > RANK * sizes[0]
        chi2, freedom = float(rows.square().sum()), max(self.motions.size - int(kept.sum()), 1)
        half = (right[kept] / sizes[kept, None] / scale)[:, : len(self.unknowns)]
        covariance = half.T @ half
        hidden = right[~kept][:, : len(self.unknowns)].square().sum(0) > VISIBLE
        covariance[hidden, hidden] = torch.inf
        self.model(point)
        return MotionFit(
            _with_values(self.original, self.unknowns),
            chi2,
            freedom,
            states,
            point[: len(self.unknowns)].clone(),
            covariance,
        )

    def misses(self, point: Float[Tensor, "p"]) -> tuple[Float[Tensor, "r"], Float[Tensor, "n s"]]:
        """In units of the noise, and the states at the samples."""
        model = self.model(point)
        starts = point[len(self.unknowns) :].view(len(self.segments), -1)
        states = torch.empty(len(self.motions.times), starts.shape[1], dtype=torch.float64)
        for group in self.groups:
            rows = torch.stack([self.segments[number] for number in group])
            times = self.motions.times[rows[0]] - self.motions.times[rows[0, 0]]
            paths = rollout(model, starts[group], times, tolerance=TOLERANCE)
            states[rows] = paths.transpose(0, 1)
        d = starts.shape[1] // 2
        found = {0: states[:, :d], 1: states[:, d:]}
        if 2 in self.motions.measured:
            found[2] = accelerations(model, states)
        parts = [(found[k] - own) / self.motions.noise[k] for k, own in self.motions.measured.items()]
        with torch.no_grad():
            parts += [term([model.jet(own, term.needs) for own in term.point_sets]) / SURE for term in self.equations]
        return torch.cat([own.flatten() for own in parts]).nan_to_num(1e6, 1e6, -1e6), states

    def jacobian(self, point: Float[Tensor, "p"], rows: Float[Tensor, "r"]) -> Float[Tensor, "r p"]:
        """By differences; starts of different motions are moved together, as each moves its own only."""
        p, s = len(self.unknowns), (len(point) - len(self.unknowns)) // len(self.segments)
        columns = torch.zeros(len(rows), len(point), dtype=torch.float64)
        measured = self.motions.size
        for number in range(p):
            step = STEP * max(1.0, float(point[number].abs()))
            moved = point.clone()
            moved[number] += step
            columns[:, number] = (self.misses(moved)[0] - rows) / step
        owner = torch.empty(len(self.motions.times), dtype=torch.long)
        for number, own in enumerate(self.segments):
            owner[own] = number
        d = s // 2
        owners = torch.cat([owner.repeat_interleave(d) for _ in self.motions.measured])
        for component in range(s):
            places = p + component + s * torch.arange(len(self.segments))
            moved = point.clone()
            moved[places] += STEP
            change = (self.misses(moved)[0] - rows) / STEP
            columns[torch.arange(measured), places[owners]] = change[:measured]
        return columns


def _alike(times: Sequence[Tensor]) -> list[list[int]]:
    """Numbers of the motions that have the same times."""
    found: dict[tuple[float, ...], list[int]] = {}
    for number, own in enumerate(times):
        found.setdefault(tuple(round(t, 9) for t in own.tolist()), []).append(number)
    return list(found.values())
