r"""Differential equations with known conserved quantities. All quantities are dimensionless [1] but those of planets.

oscillator_1d          x'' = -x
oscillator_2d          the same in the plane, isotropic
oscillator_1_2         frequencies 1 and 2
oscillator_irrational  frequencies 1 and sqrt(2)
pendulum               q'' = -sin q
double_pendulum        two rods of length 1 with masses 1 at their ends, angles from the vertical, g = 9.8
kepler_2d              motion around a fixed center with potential -1/r
charged_particle       in a uniform magnetic field perpendicular to the plane, cyclotron frequency 2
lotka_volterra         prey x and predators y
sir                    susceptible s and infected i
damped_oscillator      x'' = -x - x'/2: every flow of the plane has an integral near most points, but this one none that
                       is smooth and single-valued around the origin
lorenz                 Lorenz' equations with their usual constants
henon_heiles           a star in an axisymmetric galaxy, the standard chaotic case
rigid_body             Euler's equations, moments of inertia 1, 2 and 3
three_body             three bodies of masses 1, 2 and 3 in the plane, which attract each other with potentials -m m'/r

References:
    Liu, Madhavan, Tegmark, Machine learning conservation laws from differential equations, PRE 106 (2022) 045307.
    Liu et al., KAN 2.0, arXiv:2408.10205, section 5.1.
"""

from dataclasses import dataclass

XY = ("x", "y", "px", "py")


@dataclass(frozen=True)
class Case:
    """A field on a box.

    Attributes:
        field: rates of change, with commas between them.
        names: of the coordinates.
        low: lowest value of each, or of all.
        high: highest values.
        expected: number of independent conserved quantities that are smooth on the box; None where nobody knows.
        integrals: such quantities, for comparison only.
    """

    field: str
    names: tuple[str, ...]
    low: tuple[float, ...] = (-1.0,)
    high: tuple[float, ...] = (1.0,)
    expected: int | None = None
    integrals: tuple[str, ...] = ()


def _attraction(axis: str, masses: tuple[int, ...]) -> list[str]:
    """Accelerations of bodies in the plane along an axis."""
    numbers = range(1, len(masses) + 1)
    return [" + ".join(_pull(axis, i, j, masses[j - 1]) for j in numbers if j != i) for i in numbers]


def _pull(axis: str, i: int, j: int, mass: int) -> str:
    a, b = sorted((i, j))
    return f"{mass}*({axis}{j} - {axis}{i})/((x{a} - x{b})**2 + (y{a} - y{b})**2)**(3/2)"


def _three_bodies(masses: tuple[int, int, int]) -> Case:
    places = tuple(f"{axis}{i}" for i in (1, 2, 3) for axis in "xy")
    speeds = tuple(f"{axis}{i}" for i in (1, 2, 3) for axis in "uv")
    pulls = [own for pair in zip(_attraction("x", masses), _attraction("y", masses), strict=True) for own in pair]
    centers = (-1.0, 0.0, 1.0, 0.0, 0.0, 1.5)
    kinetic = " + ".join(f"{m}*(u{i}**2 + v{i}**2)/2" for i, m in enumerate(masses, 1))
    potential = " - ".join(
        f"{masses[i - 1] * masses[j - 1]}/hypot(x{i} - x{j}, y{i} - y{j})" for i, j in ((1, 2), (1, 3), (2, 3))
    )
    px, py, mx, my = (" + ".join(f"{m}*{axis}{i}" for i, m in enumerate(masses, 1)) for axis in "uvxy")
    spin = " + ".join(f"{m}*(x{i}*v{i} - y{i}*u{i})" for i, m in enumerate(masses, 1))
    return Case(
        ", ".join([*speeds, *pulls]),
        (*places, *speeds),
        (*(own - 0.5 for own in centers), *[-1.0] * 6),
        (*(own + 0.5 for own in centers), *[1.0] * 6),
        5,
        (f"{kinetic} - {potential}", px, py, spin, f"({mx})*({py}) - ({my})*({px})"),
    )


CASES = {
    "oscillator_1d": Case("p, -x", ("x", "p"), expected=1, integrals=("x**2 + p**2",)),
    "oscillator_2d": Case("px, py, -x, -y", XY, expected=3, integrals=("x**2 + px**2", "y**2 + py**2", "x*py - y*px")),
    "oscillator_1_2": Case(
        "px, py, -x, -4*y",
        XY,
        expected=3,
        integrals=("x**2 + px**2", "4*y**2 + py**2", "y*(x**2 - px**2) + x*px*py"),
    ),
    "oscillator_irrational": Case("px, py, -x, -2*y", XY, expected=2, integrals=("x**2 + px**2", "2*y**2 + py**2")),
    "pendulum": Case("p, -sin(q)", ("q", "p"), (-3.0, -2.0), (3.0, 2.0), 1, ("p**2/2 - cos(q)",)),
    "double_pendulum": Case(
        "w1, w2, "
        "(-29.4*sin(t1) - 9.8*sin(t1 - 2*t2) - 2*sin(t1 - t2)*(w2**2 + w1**2*cos(t1 - t2)))/(3 - cos(2*t1 - 2*t2)), "
        "2*sin(t1 - t2)*(2*w1**2 + 19.6*cos(t1) + w2**2*cos(t1 - t2))/(3 - cos(2*t1 - 2*t2))",
        ("t1", "t2", "w1", "w2"),
        (-2.0,),
        (2.0,),
        1,
        ("w1**2 + w2**2/2 + w1*w2*cos(t1 - t2) - 9.8*(2*cos(t1) + cos(t2))",),
    ),
    "kepler_2d": Case(
        "px, py, -x/(x**2 + y**2)**(3/2), -y/(x**2 + y**2)**(3/2)",
        XY,
        (0.5, -0.5, -0.5, 0.5),
        (1.5, 0.5, 0.5, 1.2),
        3,
        (
            "px**2/2 + py**2/2 - 1/hypot(x, y)",
            "x*py - y*px",
            "px*(x*py - y*px) + y/hypot(x, y)",
        ),
    ),
    "charged_particle": Case(
        "vx, vy, 2*vy, -2*vx",
        ("x", "y", "vx", "vy"),
        expected=3,
        integrals=("vx**2 + vy**2", "2*x + vy", "2*y - vx"),
    ),
    "lotka_volterra": Case(
        "2*x/3 - 4*x*y/3, x*y - y", ("x", "y"), (0.2,), (2.0,), 1, ("x - log(x) + 4*y/3 - 2*log(y)/3",)
    ),
    "sir": Case("-3*s*i/2, 3*s*i/2 - i/2", ("s", "i"), (0.05,), (1.0,), 1, ("s + i - log(s)/3",)),
    "damped_oscillator": Case("p, -x - p/2", ("x", "p"), expected=0),
    "lorenz": Case(
        "10*(y - x), x*(28 - z) - y, x*y - 8*z/3", ("x", "y", "z"), (-20.0, -25.0, 0.0), (20.0, 25.0, 50.0), 0
    ),
    "henon_heiles": Case(
        "px, py, -x - 2*x*y, -y - x**2 + y**2",
        XY,
        (-0.5,),
        (0.5,),
        1,
        ("(px**2 + py**2 + x**2 + y**2)/2 + x**2*y - y**3/3",),
    ),
    "rigid_body": Case(
        "-w2*w3, w1*w3, -w1*w2/3",
        ("w1", "w2", "w3"),
        expected=2,
        integrals=("w1**2 + 2*w2**2 + 3*w3**2", "w1**2 + 4*w2**2 + 9*w3**2"),
    ),
    "three_body": _three_bodies((1, 2, 3)),
}
