r"""Terms of isotropic energies: what a stress is written as a sum of, by the derivatives of invariants.

With J = det F, I1 = J^{-2/3} tr C and I2 = J^{-4/3} (tr(C)^2 - tr(C^2)) / 2 for C = F^T F, all [1], the first Piola
stress of an energy W(I1, I2, J) is

.. math:: P = \frac{\partial W}{\partial I_1} \frac{\partial I_1}{\partial F}
          + \frac{\partial W}{\partial I_2} \frac{\partial I_2}{\partial F}
          + \frac{\partial W}{\partial J} \, \mathrm{cof} F.

Families are terms with one more constant: `power`, of stretches without their change of volume, `chain`, of chains of
N segments that can be stretched so far only, and `limited`, Gent's logarithm.

References:
    Flory, Thermodynamic relations for high elastic materials, Trans. Faraday Soc. 57 (1961) 829.
    Arruda, Boyce, J. Mech. Phys. Solids 41 (1993) 389. Gent, Rubber Chem. Technol. 69 (1996) 59.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import DataError, ShapeError
from kansci.nn.arguments import check_finite
from kansci.physics.hyperelastic import piola_stress
from kansci.symbolic.evaluate import torch_function
from kansci.symbolic.parse import parse_formula, symbols_of

INVARIANTS = ("I1", "I2", "J")
NEWTON = 60


@dataclass(frozen=True)
class Deformation:
    """Deformation gradients and what energies depend on.

    Attributes:
        gradient: F (n, 3, 3).
        plane: whether they were given in a plane, (n, 2, 2), the third direction being held.
    """

    gradient: Float[Tensor, "n 3 3"]
    plane: bool

    @classmethod
    def read(cls, gradient: Any) -> "Deformation":
        """Check gradients (n, 3, 3), or (n, 2, 2) of plane strain.

        Raises:
            ShapeError: another shape.
            DataError: numbers that are not finite, or a determinant that is not positive.
        """
        values = torch.as_tensor(gradient, dtype=torch.float64).detach().cpu()
        if values.ndim != 3 or values.shape[1:] not in ((2, 2), (3, 3)):
            raise ShapeError(f"expected F of shape (n, 2, 2) or (n, 3, 3), got {tuple(values.shape)}")
        check_finite(values, "F")
        plane = values.shape[1] == 2
        if plane:
            values = torch.nn.functional.pad(values, (0, 1, 0, 1))
            values[:, 2, 2] = 1
        if not bool((torch.linalg.det(values) > 0).all()):
            raise DataError("expected F with positive determinants, got one that is not; no body does that")
        return cls(values, plane)

    @property
    def invariants(self) -> Float[Tensor, "n 3"]:
        """I1, I2 and J."""
        volume = torch.linalg.det(self.gradient)
        first, second = self._raw
        return torch.stack([volume ** (-2 / 3) * first, volume ** (-4 / 3) * second, volume], 1)

    @property
    def _raw(self) -> tuple[Tensor, Tensor]:
        squares = self.gradient.mT @ self.gradient
        first = squares.diagonal(dim1=1, dim2=2).sum(1)
        return first, (first.square() - squares.square().sum((1, 2))) / 2

    @property
    def slopes(self) -> Float[Tensor, "n 3 3 3"]:
        """Derivatives of I1, I2 and J by F."""
        f, (first, second) = self.gradient, (own[:, None, None] for own in self._raw)
        inverse = torch.linalg.inv(f).mT
        volume = torch.linalg.det(f)[:, None, None]
        of_first = volume ** (-2 / 3) * (2 * f - 2 / 3 * first * inverse)
        of_second = volume ** (-4 / 3) * (2 * (first * f - f @ f.mT @ f) - 4 / 3 * second * inverse)
        return torch.stack([of_first, of_second, volume * inverse], 1)

    def components(self, stress: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n c"]:
        """Those of a stress that were given of F, row by row."""
        size = 2 if self.plane else 3
        return stress[:, :size, :size].flatten(1)


@dataclass(frozen=True)
class InvariantTerm:
    """A term that is a formula of I1, I2 and J."""

    formula: str

    def stress(self, at: Deformation) -> Float[Tensor, "n 3 3"]:
        """P of the term with the factor 1."""
        energy = parse_formula(self.formula, INVARIANTS)
        slopes = [sympy.diff(energy, symbol) for symbol in symbols_of(INVARIANTS).values()]
        values = torch.stack([torch_function(own, INVARIANTS)(at.invariants) for own in slopes], 1)
        return torch.einsum("nk,nkij->nij", values, at.slopes)


@dataclass(frozen=True)
class Family:
    """Terms with a constant inside.

    Attributes:
        name: of the family.
        text: the term, with {} for the constant.
        grid: values of the constant that are tried.
        stress_of: P of the term with the factor 1, from a deformation and the constant.
    """

    name: str
    text: str
    grid: tuple[float, ...]
    stress_of: Callable[[Deformation, float], Tensor]


def _power(at: Deformation, exponent: float) -> Float[Tensor, "n 3 3"]:
    """sum_i m_i^a - 3, with m_i = J^{-1/3} l_i."""

    def slopes(stretches: Tensor) -> Tensor:
        powers = (stretches * stretches.prod(1, keepdim=True) ** (-1 / 3)) ** exponent
        return exponent / stretches * (powers - powers.mean(1, keepdim=True))

    return piola_stress(slopes, at.gradient)


def _chain(at: Deformation, segments: float) -> Float[Tensor, "n 3 3"]:
    """sqrt(N) (b m - sqrt(N) log(sinh(b) / b)), with m = sqrt(I1 / 3) and m / sqrt(N) = coth(b) - 1 / b."""
    stretch = (at.invariants[:, 0] / 3).sqrt()
    tension = inverse_langevin(stretch / segments**0.5)
    return (segments**0.5 * tension / (6 * stretch))[:, None, None] * at.slopes[:, 0]


def _limited(at: Deformation, limit: float) -> Float[Tensor, "n 3 3"]:
    """-log(1 - (I1 - 3) / Jm)."""
    left = limit - (at.invariants[:, 0] - 3)
    return torch.where(left > 0, 1 / left, torch.nan)[:, None, None] * at.slopes[:, 0]


def inverse_langevin(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """b with coth(b) - 1/b = x, for 0 < x < 1, by Newton's method; not a number for others.

    Example:
        >>> b = torch.tensor([0.5, 10.0], dtype=torch.float64)
        >>> bool((inverse_langevin(1 / b.tanh() - 1 / b) - b).abs().max() < 1e-12)
        True
    """
    b = x * (3 - x.square()) / (1 - x.square())
    for _ in range(NEWTON):
        slope = 1 / b.square() - 1 / b.clamp(max=300).sinh().square()
        step = (1 / b.tanh() - 1 / b - x) / slope
        b = b - step
        if bool((step.abs() <= 1e-15 * b.abs()).all()):
            break
    return torch.where((x > 0) & (x < 1), b, torch.nan)


def _between(low: float, high: float, count: int) -> tuple[float, ...]:
    return tuple(torch.logspace(0, 1, count, base=high / low, dtype=torch.float64).mul(low).tolist())


_FAMILIES = (
    Family(
        "power",
        "(m1**{0} + m2**{0} + m3**{0} - 3)",
        tuple(own for own in torch.arange(-6, 6.3, 0.4, dtype=torch.float64).tolist() if abs(own) > 0.1),
        _power,
    ),
    Family("chain", "chain(I1, N={0})", _between(2.0, 100.0, 25), _chain),
    Family("limited", "-log(1 - (I1 - 3)/{0})", _between(2.0, 200.0, 25), _limited),
)
FAMILIES = {own.name: own for own in _FAMILIES}


def invariant_terms(degree: int = 3) -> list[InvariantTerm]:
    """Products of I1 - 3 and I2 - 3 up to a degree, logarithms, and functions of the volume.

    Example:
        >>> [own.formula for own in invariant_terms(1)][:3]
        ['(I1 - 3)', '(I2 - 3)', 'log(I1/3)']
    """
    products = []
    for total in range(1, degree + 1):
        for second in range(total + 1):
            factors = [_factor("(I1 - 3)", total - second), _factor("(I2 - 3)", second)]
            products.append("*".join(own for own in factors if own))
    others = ["log(I1/3)", "log(I2/3)", "(J - 1)**2", "(J - 1)**4", "log(J)**2", "J**2 - 1 - 2*log(J)"]
    return [InvariantTerm(own) for own in (*products, *others)]


def _factor(text: str, power: int) -> str:
    return "" if not power else text if power == 1 else f"{text}**{power}"
