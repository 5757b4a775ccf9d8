r"""Components of the stress of a neo-Hookean body, as KAN 2.0 has them.

F is the identity plus random numbers, uniform from -spread to spread; matrices of no positive determinant become zero.
The Kirchhoff stress [unit of E] is

.. math:: \tau = \mu (F F^T - 1) + \lambda \ln\det F \; 1, \qquad
          \mu = \frac{E}{2 (1 + \nu)}, \quad \lambda = \frac{E \nu}{(1 + \nu)(1 - 2 \nu)},

and what is believed of it is the law of small strains, mu (F + F^T - 2) + lambda tr(F - 1) 1. The determinant is not
given to the search.

References:
    Liu et al., KAN 2.0, arXiv:2408.10205, section 6.3.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

import kansci as ks

NAMES = [f"F{row}{column}" for row in (1, 2, 3) for column in (1, 2, 3)]
DETERMINANT = "(F11*(F22*F33 - F23*F32) - F12*(F21*F33 - F23*F31) + F13*(F21*F32 - F22*F31))"


@dataclass(frozen=True)
class Component:
    """A component of the stress.

    Attributes:
        terms: the true law by constants, what each of them is multiplied by.
        linear: what is believed.
        wrong: another formula that might be believed.
        spread: of the entries of F.
        has_prior: whether the search is told what is believed.
    """

    terms: dict[str, str]
    linear: str
    wrong: str
    spread: float
    has_prior: bool

    def response(self, x: Tensor, constants: dict[str, float]) -> Tensor:
        """The stress (n,) at matrices F, row by row (n, 9)."""
        own = [constants[name] * values for name, values in zip(self.terms, self.columns(x).T, strict=True)]
        zero = (x == 0).all(1)
        return torch.where(zero, 0.0, torch.stack(own).sum(0))

    def columns(self, x: Tensor) -> Tensor:
        """What the constants are multiplied by (n, c)."""
        values = [ks.torch_function(ks.parse_formula(own, NAMES), NAMES)(x) for own in self.terms.values()]
        return torch.stack(values, 1)

    def prior(self, constants: dict[str, float], *, wrong: bool = False) -> str:
        """What is believed, or the other formula, as text."""
        return (self.wrong if wrong else self.linear).format(**constants)


def lame(young: float, poisson: float) -> dict[str, float]:
    """Lame's constants mu and lambda [unit of E].

    Raises:
        ConfigError: a material that is not stable.
    """
    if not (young > 0 and -1 < poisson < 0.5):
        raise ks.errors.ConfigError(f"expected E > 0 and -1 < nu < 0.5, got {young} and {poisson}")
    mu = young / (2 * (1 + poisson))
    return {"mu": mu, "lambda_": young * poisson / ((1 + poisson) * (1 - 2 * poisson))}


def deformations(n: int, spread: float, seed: int) -> Tensor:
    """Random matrices F row by row (n, 9)."""
    generator = torch.Generator().manual_seed(seed)
    moved = spread * (2 * torch.rand(n, 3, 3, dtype=torch.float64, generator=generator) - 1)
    found = torch.eye(3, dtype=torch.float64) + moved
    found[torch.linalg.det(found) <= 0] = 0
    return found.flatten(1)


_P11 = {"mu": "F11**2 + F12**2 + F13**2 - 1", "lambda_": f"log{DETERMINANT}"}
_P12 = {"mu": "F11*F21 + F12*F22 + F13*F23"}
_LINEAR_P12, _WRONG_P12 = "{mu}*(F12 + F21)", "{mu}*(F13 + F31)"

CASES = {
    "p11": Component(
        _P11,
        "2*{mu}*(F11 - 1) + {lambda_}*(F11 + F22 + F33 - 3)",
        "2*{mu}*(F12 - 1) + {lambda_}*(F21 + F32)",
        0.2,
        True,
    ),
    "p12_prior": Component(_P12, _LINEAR_P12, _WRONG_P12, 0.2, True),
    "p12": Component(_P12, _LINEAR_P12, _WRONG_P12, 0.5, False),
}
