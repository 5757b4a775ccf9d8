r"""Partial differential equations with their conditions, as text; all quantities dimensionless [1].

diffusion   u_t = u_xx + (pi^2 - 1) e^-t sin(pi x) on (t, x) in [0, 1]^2, u = e^-t sin(pi x)
helmholtz   u_xx + u_yy + u = f on [-1, 1]^2, u = sin(pi x) sin(4 pi y)
heat        u_t = u_xx / 4 on [0, 1]^2, u = e^(-pi^2 t / 4) sin(pi x)
wave        u_tt = 4 u_xx on [0, 1]^2, u = sin(pi x) cos(2 pi t) + sin(4 pi x) cos(8 pi t) / 2
burgers     u_t + u u_x = nu u_xx on [0, 1] x [-1, 1], nu = 0.01 / pi, u(0, x) = -sin(pi x), u(t, +-1) = 0
allen_cahn  u_t = D u_xx + 5 (u - u^3) on [0, 1] x [-1, 1], u(0, x) = x^2 cos(pi x), u(t, +-1) = -1 or periodic
holes       laplacian(u) = 0 on [-1/2, 1/2]^2 without four disks of radius 0.1 at (+-0.3, +-0.3), in which u = 0,
            and u = 1 on the square
inverse     u_t = kappa u_xx + amplitude e^-t sin(pi x) on [0, 1]^2, u(0, x) = sin(2 pi x), u(t, 0) = u(t, 1) = 0, with
            kappa = 0.1 and amplitude = 2 to be found from measurements of u

References:
    Raissi, Perdikaris, Karniadakis, Journal of Computational Physics 378 (2019) 686 (burgers, allen_cahn).
    Rigas et al., Adaptive training of grid-dependent PIKANs, arXiv:2407.17611 (diffusion, helmholtz, jaxKAN).
    Mueller, Zeinhofer, ICML 2023 (heat). Wang, Teng, Perdikaris, SIAM J. Sci. Comput. 43 (2021) (wave).
    Hao et al., PINNacle, arXiv:2306.08827 (holes, Poisson2d-C).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import sympy
from torch import Tensor

import kansci as ks
from problems.pde.config import Config

Field = Callable[[Tensor], Tensor]
Walls = Literal["values", "slopes", "periodic"]
Pairs = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Case:
    """A problem as text.

    Attributes:
        equation: as `kansci.physics.equation.Equation` reads it.
        names: the coordinates.
        box: lowest and highest value of each.
        unknowns: the functions that are sought.
        exact: the solution, one formula for each unknown, or none; gives the values that are not given.
        initial: at the first time, likewise; 0 where no solution is known.
        rate: time derivatives at the first time.
        walls: what is given at the walls.
        wall_values: likewise.
        holes: centers and radii of balls that are cut out.
        hole_values: on their boundaries.
        constants: unknown constants and their starts.
        truth: their true values, where these are known.
        published: relative L2 errors of others by name.
    """

    equation: str
    names: tuple[str, ...]
    box: Pairs
    unknowns: tuple[str, ...] = ("u",)
    exact: tuple[str, ...] = ()
    initial: tuple[str, ...] = ()
    rate: tuple[str, ...] = ()
    walls: Walls = "values"
    wall_values: tuple[str, ...] = ()
    holes: tuple[tuple[float, ...], ...] = ()
    hole_values: tuple[str, ...] = ("0",)
    constants: tuple[tuple[str, float], ...] = ()
    truth: tuple[float, ...] = ()
    published: tuple[tuple[str, float], ...] = ()

    @property
    def is_evolution(self) -> bool:
        """Whether it can be solved slab by slab of time."""
        return "t" in self.names and len(self.names) == 2

    @property
    def time(self) -> int:
        """Which coordinate is the time."""
        return self.names.index("t")

    @property
    def starts(self) -> list[Field]:
        """The unknowns at the first time."""
        return self.functions(self.initial or self.exact or ("0",))

    @property
    def rates(self) -> list[Field]:
        """Their time derivatives at the first time."""
        time = sympy.Symbol("t", real=True)
        slopes = [str(sympy.diff(ks.parse_formula(text, self.names), time)) for text in self.exact]
        return self.functions(self.rate or slopes or ("0",))

    @property
    def at_walls(self) -> list[Field]:
        """What is given at the walls."""
        return self.functions(self.wall_values or (self.exact if self.walls == "values" else ()) or ("0",))

    def functions(self, texts: Sequence[str]) -> list[Field]:
        """Formulas as functions of points, one for each unknown; one formula may serve all."""
        own = list(texts) * (len(self.unknowns) if len(texts) == 1 else 1)
        if len(own) != len(self.unknowns):
            raise ks.errors.ConfigError(
                f"expected a formula for each of {', '.join(self.unknowns)}, separated by ';', got {'; '.join(texts)}"
            )
        return [ks.torch_function(ks.parse_formula(text, self.names), self.names) for text in own]


TX, UNIT, LONG = ("t", "x"), ((0.0, 1.0), (0.0, 1.0)), ((0.0, 1.0), (-1.0, 1.0))

CASES = {
    "diffusion": Case(
        "u_t = u_xx + (pi^2 - 1)*exp(-t)*sin(pi*x)",
        TX,
        UNIT,
        exact=("exp(-t)*sin(pi*x)",),
        published=(("jaxKAN", 2.1e-4),),
    ),
    "helmholtz": Case(
        "u_xx + u_yy + u = (1 - 17*pi^2)*sin(pi*x)*sin(4*pi*y)",
        ("x", "y"),
        ((-1.0, 1.0), (-1.0, 1.0)),
        exact=("sin(pi*x)*sin(4*pi*y)",),
        published=(("jaxKAN", 1.0e-3),),
    ),
    "heat": Case(
        "u_t = u_xx/4", TX, UNIT, exact=("exp(-pi^2*t/4)*sin(pi*x)",), published=(("ENGD, root mean square", 2.8e-8),)
    ),
    "wave": Case("u_tt = 4*u_xx", TX, UNIT, exact=("sin(pi*x)*cos(2*pi*t) + sin(4*pi*x)*cos(8*pi*t)/2",)),
    "burgers": Case(
        "u_t + u*u_x = u_xx/(100*pi)",
        TX,
        LONG,
        initial=("-sin(pi*x)",),
        published=(("jaxKAN", 2.4e-2), ("MLP, self-scaled Broyden", 8e-9)),
    ),
    "allen_cahn": Case(
        "u_t = {diffusivity}*u_xx + 5*(u - u^3)",
        TX,
        LONG,
        initial=("x^2*cos(pi*x)",),
        published=(("jaxKAN", 1.4e-2), ("MLP, self-scaled Broyden, D = 1e-4", 1.9e-6)),
    ),
    "holes": Case(
        "u_xx + u_yy = 0",
        ("x", "y"),
        ((-0.5, 0.5), (-0.5, 0.5)),
        wall_values=("1",),
        holes=tuple((a, b, 0.1) for a in (-0.3, 0.3) for b in (-0.3, 0.3)),
        published=(("best of PINNacle", 1.2e-2),),
    ),
    "inverse": Case(
        "u_t = kappa*u_xx + amplitude*exp(-t)*sin(pi*x)",
        TX,
        UNIT,
        exact=("sin(2*pi*x)*exp(-4*pi^2*t/10) + 2/(pi^2/10 - 1)*(exp(-t) - exp(-pi^2*t/10))*sin(pi*x)",),
        constants=(("kappa", 0.5), ("amplitude", 1.0)),
        truth=(0.1, 2.0),
        published=(("best of PINNacle, error", 2.5e-2),),
    ),
}


def read_case(config: Config) -> Case:
    """The case that is asked for."""
    if config.case != "custom":
        case = CASES[config.case]
        if config.case != "allen_cahn":
            return case
        periodic = config.diffusivity != Config.diffusivity
        text = case.equation.format(diffusivity=repr(config.diffusivity))
        return replace(case, equation=text, walls="periodic" if periodic else "values", wall_values=("-1",))
    if config.equation is None:
        raise ks.errors.ConfigError('expected --equation, e.g. --equation "u_t = u_xx/4", got none')
    names = tuple(name.strip() for name in config.names.split(","))
    if len(config.box) != 2 * len(names):
        raise ks.errors.ConfigError(f"expected low and high of {', '.join(names)} as --box, got {config.box}")
    size = len(names) + 1
    if len(config.holes) % size:
        raise ks.errors.ConfigError(f"expected center and radius, {size} numbers, of each hole, got {config.holes}")
    return Case(
        config.equation,
        names,
        tuple(zip(config.box[::2], config.box[1::2], strict=True)),
        tuple(name.strip() for name in config.unknowns.split(",")),
        _texts(config.exact),
        _texts(config.initial),
        _texts(config.rate),
        config.walls,
        _texts(config.wall_values),
        tuple(config.holes[i : i + size] for i in range(0, len(config.holes), size)),
        _texts(config.hole_values),
        tuple(map(_constant, config.constants)),
    )


def _texts(text: str | None) -> tuple[str, ...]:
    return () if text is None else tuple(part.strip() for part in text.split(";") if part.strip())


def _constant(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value or "1")
    except ValueError:
        raise ks.errors.ConfigError(f"expected a constant such as kappa=0.5, got {text!r}") from None
