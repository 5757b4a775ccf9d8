r"""Poisson's equation -laplacian(u) = f on a box with Dirichlet values, all quantities dimensionless [1].

A case is its exact solution, as a formula; source and boundary values follow from it symbolically.

paper             u = sin(pi x) sin(pi y^2) on [-1, 1]^2, zero on the boundary
rotated           the same u in coordinates turned by 0.5 rad
sine              u = sin(pi x) sin(pi y) on [-1, 1]^2
unit_square       the same on [0, 1]^2
five_dim          u = sum_i cos(pi x_i) on [0, 1]^5
five_dim_coupled  u = sum_i cos(pi x_i) / i + x_1 x_2 + sin(x_3 x_4) on [0, 1]^5

References:
    Liu et al., KAN: Kolmogorov-Arnold Networks, arXiv:2404.19756, section 3.4 (paper).
    Mueller, Zeinhofer, Achieving high accuracy with PINNs via energy natural gradients, ICML 2023 (unit_square,
    five_dim).
"""

from collections.abc import Callable
from dataclasses import dataclass

import sympy
from torch import Tensor

import kansci as ks

Field = Callable[[Tensor], Tensor]
Pairs = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Case:
    """A Dirichlet problem as text.

    Attributes:
        box: lowest and highest value of each coordinate.
        exact: the solution, where it is known.
        source: f, where it does not follow from the solution.
        boundary: values on the boundary, likewise.
        parameter_limit: how many parameters a network may have.
        interior: number of collocation points inside.
        walls: number of points on the boundary.
        published: results of others by name, as relative L2 errors, or root mean square errors where `unit` says so.
    """

    box: Pairs
    exact: str | None = None
    source: str | None = None
    boundary: str | None = None
    parameter_limit: int = 1000
    interior: int = 1600
    walls: int = 320
    published: tuple[tuple[str, float], ...] = ()

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.box)

    @property
    def names(self) -> list[str]:
        """Names of the coordinates: x, y in the plane, x1, x2, ... elsewhere."""
        return ["x", "y"] if self.dimension == 2 else [f"x{i + 1}" for i in range(self.dimension)]


SQUARE = ((-1.0, 1.0), (-1.0, 1.0))
UNIT_SQUARE = ((0.0, 1.0), (0.0, 1.0))
UNIT_CUBE = ((0.0, 1.0),) * 5

CASES = {
    "paper": Case(
        SQUARE,
        "sin(pi*x)*sin(pi*y**2)",
        published=(("KAN paper", 7.3e-4), ("pykan 0.2.8", 3.6e-3)),
    ),
    "rotated": Case(SQUARE, "sin(pi*(cos(1/2)*x + sin(1/2)*y))*sin(pi*(cos(1/2)*y - sin(1/2)*x)**2)"),
    "sine": Case(SQUARE, "sin(pi*x)*sin(pi*y)", published=(("pykan 0.2.8", 2.6e-2), ("pykan 0.0.5", 1.1e-3))),
    "unit_square": Case(
        UNIT_SQUARE,
        "sin(pi*x)*sin(pi*y)",
        parameter_limit=300,
        interior=900,
        walls=120,
        published=(("best known (ENGD)", 1.2e-7), ("L-BFGS, MLP", 3.2e-4)),
    ),
    "five_dim": Case(
        UNIT_CUBE,
        " + ".join(f"cos(pi*x{i})" for i in range(1, 6)),
        interior=3000,
        walls=500,
        published=(("best known (ENGD)", 3.5e-8), ("L-BFGS, MLP", 5.6e-4)),
    ),
    "five_dim_coupled": Case(
        UNIT_CUBE,
        " + ".join(f"cos(pi*x{i})/{i}" for i in range(1, 6)) + " + x1*x2 + sin(x3*x4)",
        interior=3000,
        walls=500,
    ),
}


@dataclass(frozen=True)
class Fields:
    """A case as functions of points (n, d) -> (n,).

    Attributes:
        source: f = -laplacian(u).
        boundary: values on the boundary.
        boundary_text: the same as a formula.
        exact: the solution, or None.
    """

    source: Field
    boundary: Field
    boundary_text: str
    exact: Field | None


def compile_fields(case: Case) -> Fields:
    """Read the formulas of a case; what is missing follows from the exact solution.

    Raises:
        FormulaError: a formula cannot be read, or neither it nor the exact solution is given.
    """
    names = case.names
    exact = ks.parse_formula(case.exact, names) if case.exact else None
    source, boundary = (ks.parse_formula(text, names) if text else None for text in (case.source, case.boundary))
    if exact is not None:
        symbols = [ks.parse_formula(name, names) for name in names]
        source = source if source is not None else -sympy.Add(*(exact.diff(symbol, 2) for symbol in symbols))
        boundary = boundary if boundary is not None else exact
    if source is None or boundary is None:
        raise ks.errors.FormulaError(
            "expected the exact solution, or both the source and the boundary values, as formulas in "
            f"{', '.join(names)}; give --exact, or --source and --boundary"
        )
    return Fields(
        ks.torch_function(source, names),
        ks.torch_function(boundary, names),
        str(boundary),
        None if exact is None else ks.torch_function(exact, names),
    )
