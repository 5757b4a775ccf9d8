"""States and accelerations of a system: drawn, measured, or read from a table."""

from dataclasses import dataclass

import numpy as np
import sympy
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import kansci as ks
from kansci.physics.field import split_formulas
from kansci.physics.lagrangian import accelerations, energy
from kansci.physics.smoothing import Smoothed, smooth
from kansci.physics.trajectories import Motions
from problems.lagrangian.config import Config
from problems.lagrangian.physics import CASES, Case, Recording

SHARE = 0.2  # of a user's data that is kept for the test
FINE = 1e-10
TIMES = ("t", "time")


@dataclass(frozen=True)
class Samples:
    """What is known of a system.

    Attributes:
        names: of coordinates and velocities.
        x: states (n, 2 d).
        accelerations: (n, d).
        x_test: states of the test (t, 2 d).
        accelerations_test: theirs.
        starts: of the motions of the test (m, 2 d).
        times: of these.
        angles: which coordinates are angles.
        force: generalized forces (n, d), or None.
        truth: the Lagrangian, or None.
        smoothed: what measured motions were smoothed to, or None.
        motions: what was measured, or None.
    """

    names: list[str]
    x: Tensor
    accelerations: Tensor
    x_test: Tensor
    accelerations_test: Tensor
    starts: Tensor
    times: Tensor
    angles: tuple[int, ...] = ()
    force: Tensor | None = None
    force_test: Tensor | None = None
    truth: ks.MultKAN | None = None
    smoothed: Smoothed | None = None
    motions: Motions | None = None

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.names) // 2

    def true_energy(self, states: Tensor) -> Tensor:
        """That of the known Lagrangian (n,)."""
        return energy(self.truth, states)

    def largest_potential(self) -> float:
        """The largest |V| = |L(q, 0)| among the states of the test."""
        still = self.x_test.clone()
        still[:, self.dimension :] = 0
        return float(self.true_energy(still).abs().max())


def take_samples(config: Config) -> Samples:
    """The samples of a case, a table or equations.

    Raises:
        ConfigError: settings that do not fit together.
    """
    if config.case != "custom":
        if config.data or config.accelerations:
            raise ks.errors.ConfigError("expected --data and --accelerations only with --case custom")
        case = CASES[config.case]
        return _recorded(case, case.recording, config) if case.recording else _drawn(case, config)
    if (config.data is None) == (config.accelerations is None):
        raise ks.errors.ConfigError("expected, with --case custom, either --data with a table or --accelerations")
    return _from_table(config) if config.data else _from_equations(config)


def _drawn(case: Case, config: Config) -> Samples:
    """States anywhere in the box, with the accelerations of the true Lagrangian."""
    truth = ks.kanpile(case.lagrangian, case.names)
    generator = torch.Generator().manual_seed(config.seed)
    n = config.samples or case.samples
    x, x_test = (_uniform(case.box, count, generator) for count in (n, 1000))
    starts = case.starts * _uniform(case.box, 40, generator)
    times = case.step * torch.arange(case.steps + 1, dtype=torch.float64)
    return Samples(
        case.names,
        x,
        accelerations(truth, x),
        x_test,
        accelerations(truth, x_test),
        starts,
        times,
        case.angles,
        truth=truth,
    )


def _uniform(box: tuple[tuple[float, float], ...], n: int, generator: torch.Generator) -> Tensor:
    low, high = torch.tensor(box, dtype=torch.float64).T
    return low + (high - low) * torch.rand(n, len(box), generator=generator, dtype=torch.float64)


def _recorded(case: Case, recording: Recording, config: Config) -> Samples:
    """Motions measured with noise, as many again, without noise, for the test."""
    truth = ks.kanpile(case.lagrangian, case.names)
    random = np.random.RandomState(config.seed)
    times = torch.linspace(0, recording.duration, round(recording.duration * recording.rate), dtype=torch.float64)
    exact = torch.stack([_record(truth, recording, times, random) for _ in range(2 * recording.motions)])
    errors = torch.from_numpy(random.standard_normal(exact.shape)) * recording.noise * torch.tensor([1.0, 2.0])
    known, test = exact[: recording.motions], exact[recording.motions :]
    noisy = (known + errors[: recording.motions]).reshape(-1, 2)
    clock = times.repeat(recording.motions)
    trajectory = torch.arange(recording.motions).repeat_interleave(len(times))
    measured = {0: noisy[:, :1], 1: noisy[:, 1:], 2: accelerations(truth, known.reshape(-1, 2))}
    smoothed = smooth(clock, measured, trajectory)
    return Samples(
        case.names,
        torch.cat([smoothed.values[0], smoothed.values[1]], 1),
        smoothed.values[2],
        test.reshape(-1, 2),
        accelerations(truth, test.reshape(-1, 2)),
        test[:, 0],
        case.step * torch.arange(case.steps + 1, dtype=torch.float64),
        case.angles,
        truth=truth,
        smoothed=smoothed,
        motions=Motions(clock, measured, smoothed.noise, trajectory),
    )


def _record(truth: ks.MultKAN, recording: Recording, times: Tensor, random: np.random.RandomState) -> Tensor:
    """A motion (t, 2) from a start with q and p = v / 2 in any direction."""
    start = random.uniform(-1, 1, 2)
    start *= random.uniform(*recording.radius) / np.linalg.norm(start)

    def field(_: float, y: np.ndarray) -> np.ndarray:
        return np.append(y[1:], accelerations(truth, torch.from_numpy(y)[None]).numpy())

    span, at = (0, recording.duration), times.numpy()
    found = solve_ivp(field, span, start * [1, 2], "DOP853", at, rtol=FINE, atol=FINE)
    return torch.from_numpy(found.y.T.copy())


def _from_equations(config: Config) -> Samples:
    """States anywhere in the user's box, with the accelerations of the user's formulas."""
    coordinates, velocities, _ = _columns(config)
    names = [*coordinates, *velocities]
    formulas = [ks.parse_formula(text, names) for text in split_formulas(str(config.accelerations))]
    if len(formulas) != len(coordinates):
        raise ks.errors.ConfigError(
            f"expected an acceleration for each of {', '.join(coordinates)}, got {len(formulas)} formulas"
        )
    box = tuple(zip(_each(config.low, names), _each(config.high, names), strict=True))
    generator = torch.Generator().manual_seed(config.seed)
    x, x_test = (_uniform(box, count, generator) for count in (config.samples or 1000, 1000))
    starts = _uniform(box, 20, generator)
    values = [_evaluated(formulas, names, own) for own in (x, x_test)]
    times = 0.1 * torch.arange(101, dtype=torch.float64)
    return Samples(names, x, values[0], x_test, values[1], starts, times, _angles(config))


def _evaluated(formulas: list[sympy.Expr], names: list[str], x: Tensor) -> Tensor:
    return torch.stack([ks.torch_function(own, names)(x) for own in formulas], 1)


def _each(values: tuple[float, ...], names: list[str]) -> tuple[float, ...]:
    if len(values) not in (1, len(names)):
        raise ks.errors.ConfigError(f"expected one number or one for each of {', '.join(names)}, got {values}")
    return values * len(names) if len(values) == 1 else values


def _columns(config: Config) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Names of coordinates, velocities and accelerations, those that are not given made from the coordinates'."""
    own = config.coordinates
    velocities = config.velocities or tuple(_derived(name, "v", "_dot") for name in own)
    columns = config.acceleration_columns or tuple(_derived(name, "a", "_ddot") for name in own)
    if len(velocities) != len(own) or len(columns) != len(own):
        raise ks.errors.ConfigError(f"expected a velocity and an acceleration for each of {', '.join(own)}")
    return own, velocities, columns


def _derived(name: str, letter: str, ending: str) -> str:
    return letter + name[1:] if name[0] == "q" and (len(name) == 1 or name[1:].isdigit()) else name + ending


def _angles(config: Config) -> tuple[int, ...]:
    unknown = set(config.angles) - set(config.coordinates)
    if unknown:
        raise ks.errors.ConfigError(f"expected angles among {', '.join(config.coordinates)}, got {', '.join(unknown)}")
    return tuple(config.coordinates.index(name) for name in config.angles)


def _from_table(config: Config) -> Samples:
    """Measured motions, or states with accelerations."""
    table = _Table.read(config)
    coordinates, velocities, columns = _columns(config)
    orders = {k: own for k, own in enumerate((coordinates, velocities, columns)) if table.has(own)}
    measured = {k: table.values(own) for k, own in orders.items()}
    if 0 not in measured:
        raise ks.errors.ConfigError(f"expected columns {', '.join(coordinates)} in {config.data}, found {table.found}")
    smoothed = motions = None
    time = config.time or next((name for name in TIMES if table.has((name,))), None)
    if time is not None:
        clock = table.values((time,))[:, 0]
        trajectory = (
            table.values((config.trajectory,))[:, 0] if table.has((config.trajectory,)) else torch.zeros_like(clock)
        )
        smoothed = smooth(clock, measured, trajectory)
        motions = Motions(clock, measured, smoothed.noise, trajectory)
        measured = smoothed.values
    if not {1, 2} <= set(measured):
        raise ks.errors.ConfigError(
            f"expected velocities {', '.join(velocities)} and accelerations {', '.join(columns)}, or times, "
            f"t or time, in {config.data}, found {table.found}"
        )
    x = torch.cat([measured[0], measured[1]], 1)
    force = table.values(config.forces) if config.forces else None
    test = torch.rand(len(x), generator=torch.Generator().manual_seed(config.seed)) < SHARE
    known = ~test if motions is None else torch.ones_like(test)
    return Samples(
        [*coordinates, *velocities],
        x[known],
        measured[2][known],
        x[test],
        measured[2][test],
        x[test][:20],
        torch.linspace(0, 10, 101, dtype=torch.float64),
        _angles(config),
        force=None if force is None else force[known],
        force_test=None if force is None else force[test],
        smoothed=smoothed,
        motions=motions,
    )


@dataclass(frozen=True)
class _Table:
    """Columns of a file by name."""

    columns: dict[str, Tensor]

    @classmethod
    def read(cls, config: Config) -> "_Table":
        """All columns, the first coordinate among them."""
        first = config.coordinates[0]
        data = ks.Dataset.from_file(str(config.data), first, progress=False)
        return cls({**dict(zip(data.names, data.x.T, strict=True)), first: data.y[:, 0]})

    @property
    def found(self) -> str:
        """The names."""
        return ", ".join(self.columns)

    def has(self, names: tuple[str, ...]) -> bool:
        """Whether all of these are there."""
        return set(names) <= set(self.columns)

    def values(self, names: tuple[str, ...]) -> Tensor:
        """Some columns (n, m)."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise ks.errors.ConfigError(f"expected a column {missing[0]!r}, found {self.found}")
        return torch.stack([self.columns[name] for name in names], 1)
