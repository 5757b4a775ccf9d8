r"""Kinematics and stresses of isotropic hyperelastic bodies, in principal stretches.

With singular values l_1, l_2, l_3 of the deformation gradient F = U diag(l) V^T, the principal stretches [1], an
energy W(l_1, l_2, l_3) [stress] that is symmetric in them has the first Piola stress and the tangent

.. math:: P = U \, \mathrm{diag}(W_1, W_2, W_3) \, V^T, \qquad
          D^2 W[H, H] = \sum_{ij} W_{ij} h_{ii} h_{jj} + \sum_{i<j} \left(
          \frac{W_i - W_j}{l_i - l_j} \frac{(h_{ij} + h_{ji})^2}{2}
          + \frac{W_i + W_j}{l_i + l_j} \frac{(h_{ij} - h_{ji})^2}{2} \right), \quad h = U^T H V.

In incompressible bodies, l_1 l_2 l_3 = 1, a pressure makes the third face free of stress, and the nominal stress along
the first axis is P_1 = W_1 - (l_3 / l_1) W_3.

References:
    Ogden, Non-linear elastic deformations, Dover 1997, sections 4.2 and 6.1.
    Ball, Convexity conditions and existence theorems in nonlinear elasticity, Arch. Rational Mech. Anal. 63 (1977) 337.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import ConfigError, DataError

CLOSE = 1e-6  # relative difference of stretches below which they are equal


def _uniaxial(stretch: Tensor) -> tuple[Tensor, Tensor]:
    return stretch, stretch**-0.5


def _equibiaxial(stretch: Tensor) -> tuple[Tensor, Tensor]:
    return stretch, stretch


def _pure_shear(stretch: Tensor) -> tuple[Tensor, Tensor]:
    return stretch, torch.ones_like(stretch)


MODES: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "uniaxial": _uniaxial,
    "equibiaxial": _equibiaxial,
    "pure_shear": _pure_shear,
}


def principal_stretches(mode: str, stretch: Any) -> Float[Tensor, "n 3"]:
    """The principal stretches of an incompressible body in a test.

    Args:
        mode: "uniaxial", "equibiaxial" or "pure_shear".
        stretch: along the first axis (n,) [1], positive.

    Raises:
        ConfigError: another mode.
        DataError: a stretch that is not positive.

    Example:
        >>> principal_stretches("equibiaxial", [2.0]).tolist()
        [[2.0, 2.0, 0.25]]
    """
    if mode not in MODES:
        raise ConfigError(f"expected a mode out of {', '.join(MODES)}, got {mode!r}")
    values = torch.as_tensor(stretch, dtype=torch.float64).flatten()
    if not bool((values > 0).all()):
        raise DataError(f"{mode}: expected positive stretches, length over that at rest, got {values.min().item()}")
    first, second = MODES[mode](values)
    return torch.stack([first, second, 1 / (first * second)], 1)


def nominal_stress(slopes: Float[Tensor, "n 3"], stretches: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
    """P_1 of an incompressible body whose third face is free [stress].

    Args:
        slopes: W_1, W_2, W_3.
        stretches: l_1, l_2, l_3.

    Example:
        >>> stretches = principal_stretches("uniaxial", [2.0])
        >>> nominal_stress(stretches, stretches).item()  # neo-Hooke, mu = 1: l - 1 / l^2
        1.75
    """
    return slopes[:, 0] - stretches[:, 2] / stretches[:, 0] * slopes[:, 2]


def piola_stress(slopes: Callable[[Tensor], Tensor], gradient: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 3 3"]:
    """The first Piola stress P at deformation gradients.

    Args:
        slopes: W_i (n, 3) as a function of stretches (n, 3).
        gradient: F.

    Example:
        >>> F = torch.tensor([[[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]], dtype=torch.float64)
        >>> bool((piola_stress(lambda stretches: stretches, F) - F).abs().max() < 1e-15)  # W = |F|^2 / 2
        True
    """
    left, values, right = torch.linalg.svd(gradient)
    return left @ (slopes(values)[..., None] * right)


def second_derivative(
    slopes: Float[Tensor, "n 3"],
    hessians: Float[Tensor, "n 3 3"],
    frame: tuple[Float[Tensor, "n 3 3"], Float[Tensor, "n 3"], Float[Tensor, "n 3 3"]],
    direction: Float[Tensor, "n 3 3"],
) -> Float[Tensor, "n"]:
    """D^2 W[H, H] at deformation gradients.

    Args:
        slopes: W_i at the stretches.
        hessians: W_ij.
        frame: the singular value decomposition U, l, V^T of F.
        direction: H.
    """
    left, stretches, right = frame
    h = left.mT @ direction @ right.mT
    diagonal = h.diagonal(dim1=1, dim2=2)
    total = torch.einsum("nij,ni,nj->n", hessians, diagonal, diagonal)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        gap = stretches[:, i] - stretches[:, j]
        is_close = gap.abs() < CLOSE * stretches[:, i]
        limit = (hessians[:, i, i] + hessians[:, j, j]) / 2 - hessians[:, i, j]
        quotient = torch.where(is_close, limit, (slopes[:, i] - slopes[:, j]) / torch.where(is_close, 1.0, gap))
        turning = (slopes[:, i] + slopes[:, j]) / (stretches[:, i] + stretches[:, j])
        total = total + quotient * (h[:, i, j] + h[:, j, i]).square() / 2
        total = total + turning * (h[:, i, j] - h[:, j, i]).square() / 2
    return total
