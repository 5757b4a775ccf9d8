"""What can be set of a partial differential equation."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Config:
    """Settings of a differential equation; what is not set follows from the case."""

    case: Literal["diffusion", "helmholtz", "heat", "wave", "burgers", "allen_cahn", "holes", "inverse", "custom"] = (
        "diffusion"
    )

    diffusivity: float = 1e-3
    """allen_cahn: D; with the default the walls hold -1, with any other the solution is periodic."""

    equation: str | None = None
    """Custom: e.g. "u_t + u*u_x = u_xx/100"; several, of several unknowns, separated by ";"."""

    names: str = "t,x"
    """Custom: the coordinates; with t and one other the equation is solved slab by slab of time."""

    unknowns: str = "u"
    """Custom: the unknowns."""

    box: tuple[float, ...] = (0.0, 1.0, -1.0, 1.0)
    """Custom: low and high of each coordinate in turn."""

    holes: tuple[float, ...] = ()
    """Custom: center and radius of each ball that is cut out, in turn."""

    exact: str | None = None
    """Custom: the solution, where it is known; gives all values that are not given."""

    initial: str | None = None
    """Custom: the unknowns at the first time, separated by ";"; 0 where no solution is known."""

    rate: str | None = None
    """Custom: their time derivatives at the first time, for equations of second order in time."""

    walls: Literal["values", "slopes", "periodic"] = "values"
    """Custom: whether unknowns or their derivatives along the outward normal are given at the walls, or neither."""

    wall_values: str | None = None
    """Custom: those values, separated by ";"; 0 where no solution is known."""

    hole_values: str = "0"
    """Custom: the unknowns on the boundaries of the holes, separated by ";"."""

    constants: tuple[str, ...] = ()
    """Custom: unknown constants of the equation with a start, e.g. kappa=0.5, to be found from --data."""

    data: str | None = None
    """Custom: measurements, CSV or HDF5 with columns of the coordinates and of the unknowns."""

    noise: float = 0.01
    """Standard deviation of the measurements; inverse: relative to that of the solution."""

    samples: int = 200
    """inverse: number of measurements."""

    tolerance: float = 1e-6
    """Slabs: of the relative error, as it is estimated."""

    k: int = 0
    """Degree of the splines; by default 7 in slabs, 9 in networks, 7 around holes."""

    width: tuple[int, ...] = ()
    """Networks: nodes of each column; by default one hidden column of 16."""

    grids: tuple[int, ...] = ()
    """Networks: intervals of each stage, by default 4, 8, 16."""

    interior: int = 0
    """Networks: points inside; 0 for two and a half for each trained parameter."""

    steps: int = 150
    """Networks: steps of each stage."""

    seconds: float | None = None
    """Limit of the solve."""

    seed: int = 0
    """Of networks and of measurements; slabs have nothing random."""
