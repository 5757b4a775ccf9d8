"""What can be set of a search for conserved quantities."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Config:
    """Settings of a search."""

    case: Literal[
        "oscillator_1d",
        "oscillator_2d",
        "oscillator_1_2",
        "oscillator_irrational",
        "pendulum",
        "double_pendulum",
        "kepler_2d",
        "charged_particle",
        "lotka_volterra",
        "sir",
        "damped_oscillator",
        "lorenz",
        "henon_heiles",
        "rigid_body",
        "three_body",
        "planets",
        "custom",
    ] = "kepler_2d"

    field: str | None = None
    """Custom: rates of change as formulas in the names, with commas between them."""

    names: str | None = None
    """Custom: names of the coordinates, with commas between them."""

    low: tuple[float, ...] = (-1.0,)
    """Custom: lowest values of the box in which points are sampled, one number or one a name."""

    high: tuple[float, ...] = (1.0,)
    """Custom: highest values."""

    data: Path | None = None
    """Custom: trajectories (CSV or HDF5) instead of a field: columns time, the coordinates, and, if there is more than
    one, trajectory, a number that tells them apart."""

    motions: int = 0
    """Search in so many simulated trajectories with noise instead of the field itself."""

    noise: float = 1e-3
    """Standard deviation of that noise."""

    library: bool = True
    """Whether to look for formulas in a library first; else networks find all."""

    seed: int = 0
