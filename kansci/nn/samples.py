"""Points of a box, and the ranges of what networks make of them: where grids are placed by default."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.quasirandom import SobolEngine


def sobol_points(low: Float[Tensor, "d"], high: Float[Tensor, "d"], n: int = 1024) -> Float[Tensor, "n d"]:
    """The first Sobol points of a box, always the same."""
    unit = SobolEngine(len(low), scramble=True, seed=0).draw(n, dtype=low.dtype)
    return torch.lerp(low, high, unit.to(low))


def spread(values: Float[Tensor, "n m"], margin: float) -> tuple[Float[Tensor, "m"], Float[Tensor, "m"]]:
    """Range of each column, widened by a share of itself on each side; never of zero width.

    Example:
        >>> spread(torch.tensor([[0.0, 3.0], [10.0, 3.0]]), 0.1)
        (tensor([-1., -1.]), tensor([11.,  7.]))
    """
    low, high = values.amin(0), values.amax(0)
    center, half = (low + high) / 2, (high - low) / 2
    constant = half <= 1e-6 * center.abs() + 1e-12
    half = torch.where(constant, 1 + center.abs(), half * (1 + 2 * margin))
    return center - half, center + half
