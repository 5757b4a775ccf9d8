"""Trajectories of a law of motion."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.integrate import solve_ivp
from torch import Tensor

from kansci.physics.lagrangian import accelerations


def rollout(
    model: Any, start: Float[Tensor, "m s"], times: Sequence[float] | Float[Tensor, "t"], *, tolerance: float = 1e-10
) -> Float[Tensor, "t m s"]:
    """Where a Lagrangian takes states, by the method of Dormand and Prince of order 8, all of them in step.

    Args:
        model: L, or L and R, a torch callable of states.
        start: states (q, q') at the first of the times.
        times: ascending (t,).
        tolerance: relative error of each step; the absolute one is a hundred times smaller.

    Returns:
        States at the times; NaN throughout where a path meets a state without finite accelerations.

    Example:
        >>> from kansci import kanpile
        >>> oscillator = kanpile("v**2 - q**2", ["q", "v"])
        >>> path = rollout(oscillator, torch.tensor([[1.0, 0.0]], dtype=torch.float64), [0.0, torch.pi])
        >>> bool((path[1, 0] - torch.tensor([-1.0, 0.0])).abs().max() < 1e-9)
        True

    References:
        Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, Springer 1993.
    """
    m, s = start.shape
    t = np.asarray(times, dtype=float)
    lost = torch.zeros(m, dtype=torch.bool)

    def field(_: float, y: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(y).view(m, s)
        slope = torch.cat([x[:, s // 2 :], accelerations(model, x)], 1)
        lost.logical_or_(~slope.isfinite().all(1))
        return slope.masked_fill(lost[:, None], 0.0).numpy().ravel()

    found = solve_ivp(field, t[[0, -1]], start.numpy().ravel(), "DOP853", t, rtol=tolerance, atol=tolerance / 100)
    paths = torch.full((len(t), m, s), torch.nan, dtype=torch.float64)
    paths[: found.y.shape[1]] = torch.from_numpy(found.y.T.copy()).view(-1, m, s)
    return paths.masked_fill(lost[:, None], torch.nan)
