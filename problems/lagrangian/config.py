"""What can be set of the search for a Lagrangian."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Config:
    """Settings of the search for a Lagrangian; what is not set follows from the case."""

    case: Literal[
        "oscillator", "pendulum", "relativistic", "double_pendulum", "spring_noisy", "pendulum_noisy", "custom"
    ] = "pendulum"

    data: Path | None = None
    """Custom: a table (CSV or HDF5) of measured motions, or of states and accelerations."""

    accelerations: str | None = None
    """Custom, without data: the equations of motion, formulas of the accelerations divided by commas."""

    coordinates: tuple[str, ...] = ("q",)
    """Custom: names of the coordinates, in the table or in the formulas."""

    velocities: tuple[str, ...] = ()
    """Custom: names of the velocities; by default v for q, v1 for q1, else the coordinate's name with _dot; a table may
    lack them if it has times."""

    acceleration_columns: tuple[str, ...] = ()
    """Custom, with data: names of the accelerations; by default a for q, a1 for q1, else the coordinate's name with
    _ddot; a table may lack them if it has times."""

    forces: tuple[str, ...] = ()
    """Custom, with data: names of the generalized forces that act from outside."""

    time: str = ""
    """Custom, with data: the column of times; by default t or time, if there is one."""

    trajectory: str = "trajectory"
    """Custom, with data: the column that tells motions apart, if there is one."""

    angles: tuple[str, ...] = ()
    """Custom: coordinates that are angles [rad]."""

    features: tuple[str, ...] = ()
    """Functions of the coordinates that L may depend on, as formulas, e.g. "sqrt(x^2 + y^2)"."""

    low: tuple[float, ...] = (-1.0,)
    """Custom, without data: lowest value of each coordinate and velocity, or one for all."""

    high: tuple[float, ...] = (1.0,)
    """Custom, without data: highest value of each coordinate and velocity, or one for all."""

    samples: int = 0
    """Number of states; 0 for the case's own."""

    kinetic: bool = True
    """Whether L starts as a kinetic energy and keeps the mass matrix positive definite, or starts at random."""

    read: bool = True
    """Whether to look for a formula."""

    seed: int = 0
