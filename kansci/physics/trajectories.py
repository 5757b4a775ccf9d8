r"""A Lagrangian fitted to measured motions as a whole, where accelerations are too noisy to be fitted by themselves.

Unknown are the constants of the model and where each motion starts. Motions are integrated, and what they miss of the
measurements, in units of the noise, is made least by damped Gauss-Newton steps:

.. math:: \chi^2 = \sum_{k,i} \frac{(q^{(k)}(t_i) - y_{ki})^2}{\sigma_k^2}

Noisy states as arguments of a fit would make its functions too flat (errors in variables); here they are no arguments.

References:
    Bock, Recent advances in parameter identification techniques for O.D.E., Birkhaeuser 1983 (multiple shooting).
    Fuller, Measurement Error Models, Wiley 1987.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.nn.multkan import MultKAN
from kansci.physics.lagrangian import accelerations
from kansci.physics.rollout import rollout
from kansci.solvers.unknowns import Unknowns

SEGMENT = 40  # samples that one start has to explain
STEP = 1e-6
TOLERANCE = 1e-8
FLAT = 1e-6


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
    """

    model: MultKAN = field(repr=False)
    chi2: float
    freedom: int
    states: Float[Tensor, "n s"] = field(repr=False)


def fit_motions(model: MultKAN, motions: Motions, states: Float[Tensor, "n s"], *, steps: int = 12) -> MotionFit:
    """Fit the constants of a Lagrangian to motions, together with where these start.

    Args:
        model: L, or L and R, near the best; left unchanged.
        motions: what was measured.
        states: (q, q') at the samples, roughly, of which those at the starts are used.
        steps: of Gauss and Newton.

    Returns:
        The model and its motions.

    Example:
        >>> from kansci import kanpile
        >>> t = torch.linspace(0, 6, 31, dtype=torch.float64)
        >>> exact = torch.stack([t.cos(), -t.sin()], 1)
        >>> noise = {0: torch.tensor([0.01], dtype=torch.float64)}
        >>> motions = Motions(t, {0: exact[:, :1]}, noise, torch.zeros(31))
        >>> found = fit_motions(kanpile("v**2/2 - 0.55*q**2", ["q", "v"]), motions, exact)
        >>> found.chi2 < 1e-9
        True
    """
    shooting = _Shooting(model, motions)
    point = torch.cat([shooting.unknowns.read(), torch.cat([states[rows[0]] for rows in shooting.segments])])
    rows, reached = shooting.misses(point)
    damping, rank = 1e-3, 0
    for _ in range(steps):
        jacobian = shooting.jacobian(point, rows)
        scale = jacobian.norm(dim=0).clamp(min=1e-12 * float(jacobian.norm()))
        left, sizes, right = torch.linalg.svd(jacobian / scale, full_matrices=False)
        rank = int((sizes > 1e-7 * sizes[0]).sum())
        before = float(rows.square().sum())
        while damping < 1e6:
            change = -(right.T @ (sizes / (sizes.square() + damping) * (left.T @ rows))) / scale
            tried, states_tried = shooting.misses(point + change)
            if float(tried.square().sum()) < before:
                point, rows, reached = point + change, tried, states_tried
                damping = max(damping / 10, 1e-10)
                break
            damping *= 10
        if float(rows.square().sum()) > (1 - FLAT) * before:
            break
    return MotionFit(shooting.model(point), float(rows.square().sum()), motions.size - rank, reached)


class _Shooting:
    """What motions miss of measurements, as a function of constants and starts."""

    def __init__(self, model: MultKAN, motions: Motions) -> None:
        self.unknowns, self.motions, self.segments = Unknowns(model), motions, motions.segments()
        self.original = model
        self.groups = _alike([motions.times[rows] - motions.times[rows[0]] for rows in self.segments])

    def model(self, point: Float[Tensor, "p"]) -> MultKAN:
        """The model with the constants of a point."""
        self.unknowns.write(point[: len(self.unknowns)])
        return self.unknowns.model

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
        return torch.cat([own.flatten() for own in parts]).nan_to_num(1e6, 1e6, -1e6), states

    def jacobian(self, point: Float[Tensor, "p"], rows: Float[Tensor, "r"]) -> Float[Tensor, "r p"]:
        """By differences; starts of different motions are moved together, as each moves its own only."""
        p, s = len(self.unknowns), (len(point) - len(self.unknowns)) // len(self.segments)
        columns = torch.zeros(len(rows), len(point), dtype=torch.float64)
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
            columns[torch.arange(len(rows)), places[owners]] = change
        return columns


def _alike(times: Sequence[Tensor]) -> list[list[int]]:
    """Numbers of the motions that have the same times."""
    found: dict[tuple[float, ...], list[int]] = {}
    for number, own in enumerate(times):
        found.setdefault(tuple(round(t, 9) for t in own.tolist()), []).append(number)
    return list(found.values())
