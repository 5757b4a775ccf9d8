r"""Six isotropic energies, and paths of deformation, in plane strain.

I1 and I2 are without the change of volume, J = det F, see `kansci.physics.energy_terms`; all quantities are in one unit
of stress.

neo_hooke      W = (I1 - 3)/2 + 3/2 (J - 1)^2
isihara        W = (I1 - 3)/2 + (I2 - 3) + (I1 - 3)^2 + 3/2 (J - 1)^2
haines_wilson  W = (I1 - 3)/2 + (I2 - 3) + 0.7 (I1 - 3)(I2 - 3) + 0.2 (I1 - 3)^3 + 3/2 (J - 1)^2
gent_thomas    W = (I1 - 3)/2 + ln(I2/3) + 3/2 (J - 1)^2
arruda_boyce   chains with mu = 2.5 and N = 28, and 3/2 (J - 1)^2
ogden          2 mu/a^2 (m1^a + m2^a + m3^a - 3), mu = a = 0.65, m = J^{-1/3} l, and 3/2 (J - 1)^2

For training, F has principal stretches between 1/2 and 2, evenly in their logarithms, and directions at random. The
paths are not among them; their amount is gamma in [0, 1].

References:
    Flaschel, Kumar, De Lorenzis, Unsupervised discovery of interpretable hyperelastic constitutive laws, Comput.
    Methods Appl. Mech. Eng. 381 (2021) 113852.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kansci.physics.energy_terms import FAMILIES, Deformation, InvariantTerm

REACH = 2.0
VOLUME = "(J - 1)**2"


@dataclass(frozen=True)
class Law:
    """An energy as a sum of terms.

    Attributes:
        terms: factors by formulas of I1, I2 and J.
        family: factor and inner constant of a term of a family, by the name of the family.
    """

    terms: dict[str, float]
    family: dict[str, tuple[float, float]]

    def stress(self, gradient: Tensor) -> Tensor:
        """P (n, 2, 2) at F (n, 2, 2)."""
        at = Deformation.read(gradient)
        parts = [factor * InvariantTerm(text).stress(at) for text, factor in self.terms.items()]
        for name, (factor, inner) in self.family.items():
            parts.append(factor * FAMILIES[name].stress_of(at, inner))
        return torch.stack(parts).sum(0)[:, :2, :2]


LAWS = {
    "neo_hooke": Law({"(I1 - 3)": 0.5, VOLUME: 1.5}, {}),
    "isihara": Law({"(I1 - 3)": 0.5, "(I2 - 3)": 1.0, "(I1 - 3)**2": 1.0, VOLUME: 1.5}, {}),
    "haines_wilson": Law(
        {"(I1 - 3)": 0.5, "(I2 - 3)": 1.0, "(I1 - 3)*(I2 - 3)": 0.7, "(I1 - 3)**3": 0.2, VOLUME: 1.5}, {}
    ),
    "gent_thomas": Law({"(I1 - 3)": 0.5, "log(I2/3)": 1.0, VOLUME: 1.5}, {}),
    "arruda_boyce": Law({VOLUME: 1.5}, {"chain": (2.5, 28.0)}),
    "ogden": Law({VOLUME: 1.5}, {"power": (2 * 0.65 / 0.65**2, 0.65)}),
}

PATHS: dict[str, Callable[[float], list[list[float]]]] = {
    "uniaxial_tension": lambda g: [[1 + g, 0], [0, 1]],
    "uniaxial_compression": lambda g: [[1 / (1 + g), 0], [0, 1]],
    "biaxial_tension": lambda g: [[1 + g, 0], [0, 1 + g]],
    "biaxial_compression": lambda g: [[1 / (1 + g), 0], [0, 1 / (1 + g)]],
    "simple_shear": lambda g: [[1, g], [0, 1]],
    "pure_shear": lambda g: [[1 + g, 0], [0, 1 / (1 + g)]],
}


def path(name: str, amounts: Tensor) -> Tensor:
    """Deformation gradients (n, 2, 2) along a path."""
    return torch.tensor([PATHS[name](own) for own in amounts.tolist()], dtype=torch.float64)


def random_deformations(n: int, seed: int) -> Tensor:
    """Deformation gradients (n, 2, 2)."""
    generator = torch.Generator().manual_seed(seed)
    stretches = REACH ** (2 * torch.rand(n, 2, dtype=torch.float64, generator=generator) - 1)
    angles = 2 * math.pi * torch.rand(2, n, dtype=torch.float64, generator=generator)
    left, right = (_rotations(own) for own in angles)
    return left @ (stretches[..., None] * right)


def _rotations(angles: Tensor) -> Tensor:
    c, s = angles.cos(), angles.sin()
    return torch.stack([torch.stack([c, -s], 1), torch.stack([s, c], 1)], 1)
