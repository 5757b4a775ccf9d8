"""What can be set of a Poisson problem."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Config:
    """Settings of a Poisson problem; what is not set follows from the case."""

    case: Literal["paper", "rotated", "sine", "unit_square", "five_dim", "five_dim_coupled", "custom"] = "paper"

    exact: str | None = None
    """Custom: the solution as a formula in x, y (in the plane) or x1, x2, ...; gives source and boundary values."""

    source: str | None = None
    """Custom: f in -laplacian(u) = f."""

    boundary_values: str | None = None
    """Custom: u on the boundary."""

    box: tuple[float, ...] = (-1.0, 1.0, -1.0, 1.0)
    """Custom: low and high of each coordinate in turn."""

    condition: Literal["weak", "exact"] = "weak"
    """Boundary values as residuals, or exact by construction, u = g + D N."""

    network: Literal["kan", "lan"] = "kan"
    """Splines on all edges, or, as a baseline, on hidden nodes."""

    width: tuple[int, ...] = ()
    """Nodes of each column; by default the rule of `choose_network`."""

    k: int = 9
    """Degree of the splines."""

    grids: tuple[int, ...] = ()
    """Intervals of each stage; by default the rule of `choose_network`."""

    base: str = "silu"
    """Base function of the edges or nodes."""

    interior: int = 0
    """Number of points inside; 0 for the case's own."""

    walls: int = 0
    """Number of points on the boundary; 0 for the case's own."""

    sampling: Literal["sobol", "uniform", "chebyshev", "random"] = "sobol"

    interior_weight: float = 0.01

    boundary_weight: float = 1.0

    method: str = "lm"

    steps: int = 0
    """Steps of each stage; 0 for the rule of `choose_steps`."""

    seconds: float | None = None
    """Limit of the solve."""

    seed: int = 0

    study: Literal["none", "scaling"] = "none"
    """scaling: instead of one solve, many: errors of growing networks against their parameters and seconds."""
