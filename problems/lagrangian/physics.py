r"""Systems with known Lagrangians, all quantities dimensionless [1] unless said otherwise.

oscillator       L = v^2/2 - q^2/2
pendulum         L = v^2/2 + cos(q)
relativistic     L = -sqrt(1 - v^2) + q: a mass in a uniform field, the speed of light being 1
double_pendulum  two masses of 1 kg on rods of 1 m [rad, s, J], g = 9.8 m/s^2
spring_noisy     H = p^2 + q^2, so that v = 2 p and L = v^2/4 - q^2
pendulum_noisy   H = p^2 + 3 (1 - cos q), so that v = 2 p and L = v^2/4 + 3 cos(q)

The noisy ones are measured as in the paper on Hamiltonian networks: 25 motions over 3 units of time, 10 or 15 samples
per unit, noise of standard deviation 0.1 on q and p, accelerations without noise.

References:
    Liu et al., KAN 2.0, arXiv:2408.10205, section 6.2 (oscillator, pendulum, relativistic).
    Cranmer et al., Lagrangian neural networks, arXiv:2003.04630 (double_pendulum).
    Greydanus, Dzamba, Yosinski, Hamiltonian neural networks, arXiv:1906.01563 (the noisy ones).
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Recording:
    """How motions are measured.

    Attributes:
        radius: lowest and highest sqrt(q^2 + p^2) of a start.
        rate: samples per unit of time.
        noise: standard deviation of what is measured of q and of p = v / 2.
        duration: of each motion.
        motions: how many there are.
    """

    radius: tuple[float, float]
    rate: int
    noise: float = 0.1
    duration: float = 3.0
    motions: int = 25


@dataclass(frozen=True)
class Case:
    """A system as text.

    Attributes:
        coordinates: their names.
        velocities: theirs.
        lagrangian: L as a formula.
        box: lowest and highest value of each coordinate and velocity.
        samples: how many states are drawn from the box.
        angles: which coordinates have the period 2 pi.
        recording: how motions are measured, or None where states and accelerations are given.
        starts: the share of the box from which the motions of tests start.
        step: time between two samples of these.
        steps: how many there are.
        published: results of others by name.
        metric: what these are.
    """

    coordinates: tuple[str, ...]
    velocities: tuple[str, ...]
    lagrangian: str
    box: tuple[tuple[float, float], ...]
    samples: int = 1000
    angles: tuple[int, ...] = ()
    recording: Recording | None = None
    starts: float = 0.5
    step: float = 0.1
    steps: int = 100
    published: tuple[tuple[str, float], ...] = ()
    metric: str = "acceleration_mse"

    @property
    def names(self) -> list[str]:
        """Of coordinates and velocities."""
        return [*self.coordinates, *self.velocities]


ONE = ("q",), ("v",)
SQUARE = ((-2.0, 2.0), (-2.0, 2.0))
TURN = (-math.pi, math.pi)

CASES = {
    "oscillator": Case(*ONE, "v**2/2 - q**2/2", SQUARE),
    "pendulum": Case(*ONE, "v**2/2 + cos(q)", SQUARE),
    "relativistic": Case(
        *ONE,
        "-sqrt(1 - v**2) + q",
        ((-2.0, 2.0), (-1.0, 1.0)),
        samples=10000,
        starts=0.3,
        published=(("KAN 2.0", 5.03e-5),),
    ),
    "double_pendulum": Case(
        ("q1", "q2"),
        ("v1", "v2"),
        "v1**2 + v2**2/2 + v1*v2*cos(q1 - q2) + 2*9.8*cos(q1) + 9.8*cos(q2)",
        (TURN, TURN, (-4.0, 4.0), (-4.0, 4.0)),
        samples=1500,
        angles=(0, 1),
        published=(("LNN", 4e-3),),
        metric="energy_drift",
    ),
    "spring_noisy": Case(
        *ONE,
        "v**2/4 - q**2",
        SQUARE,
        recording=Recording((0.1, 1.0), 10),
        steps=200,
        published=(("HNN", 3.8e-4),),
        metric="energy_mse",
    ),
    "pendulum_noisy": Case(
        *ONE,
        "v**2/4 + 3*cos(q)",
        ((-2.3, 2.3), (-4.6, 4.6)),
        recording=Recording((1.3, 2.3), 15),
        steps=200,
        published=(("HNN", 2.5e-2),),
        metric="energy_mse",
    ),
}
