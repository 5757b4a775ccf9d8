r"""Static black holes, and the time in which space around them is flat. All quantities in units of the horizon [1].

With A(r), 1 - 1/r for Schwarzschild's with 2 M = 1, the metric is

.. math:: ds^2 = A \, dt^2 - dr^2 / A - r^2 d\Omega^2.

In a new time t' = t + f(r), the spatial part of the metric is that of flat space, g'_ij = -delta_ij, where

.. math:: g'_{ij} + \delta_{ij} = \left( A f'^2 - \frac{1}{A} + 1 \right) n_i n_j = 0, \qquad n = x / r,

so that the sum of the squares of the nine components is that of the bracket. There are two solutions, the slopes
+-sqrt(1 - A) / A: falling frames (black hole) and rising ones (white hole). Residuals that are squares of f' do not
tell them apart, so that networks can get caught between them; one whose slope has one sign from the start keeps it.
For Schwarzschild's, f = 2 sqrt(r) + ln((sqrt(r) - 1) / (sqrt(r) + 1)) up to a constant (Gullstrand, Painleve).

References:
    Liu et al., KAN 2.0, arXiv:2408.10205, section 5.3.
    Liu, Tegmark, Machine learning hidden symmetries, Phys. Rev. Lett. 128 (2022) 180201.
    Martel, Poisson, Regular coordinate systems for Schwarzschild spacetimes, Am. J. Phys. 69 (2001) 476.
"""

from dataclasses import dataclass

import numpy as np
import sympy
import torch
from torch import Tensor

import kansci as ks

GRID = 401
NODES = 20  # of the quadrature between two radii


@dataclass(frozen=True)
class BlackHole:
    """A static metric with spheres.

    Attributes:
        factor: A as a formula of r.
        low: lowest radius.
        high: highest radius.
    """

    factor: str
    low: float
    high: float

    @property
    def expression(self) -> sympy.Expr:
        """A."""
        return ks.parse_formula(self.factor, ["r"])

    def at(self, r: Tensor) -> Tensor:
        """A at radii (n, 1), (n,)."""
        return ks.torch_function(self.expression, ["r"])(r)

    def check(self) -> None:
        """Raise ConfigError unless 0 < A < 1 on the range."""
        values = self.at(self.radii(GRID))
        inside = (values > 0) & (values < 1)
        if not (0 < self.low < self.high and bool(inside.all())):
            raise ks.errors.ConfigError(
                f"expected 0 < low < high and 0 < A < 1 between, outside the horizon, got A = {self.factor} on "
                f"[{self.low}, {self.high}]"
            )

    def radii(self, n: int) -> Tensor:
        """Evenly spaced (n, 1)."""
        return torch.linspace(self.low, self.high, n, dtype=torch.float64)[:, None]

    def residual(self, n: int, seed: int) -> ks.Residual:
        """The bracket at random radii."""
        generator = torch.Generator().manual_seed(seed)
        r = self.low + (self.high - self.low) * torch.rand(n, 1, dtype=torch.float64, generator=generator)
        values = self.at(r)

        def bracket(jet: ks.Jet, points: Tensor, factor: Tensor) -> Tensor:
            return factor * jet.gradient[:, 0, 0].square() - 1 / factor + 1

        return ks.Residual(bracket, r, targets=values, needs="gradient", name="space")

    def gauge(self) -> ks.Residual:
        """f = 0 at the largest radius: the metric leaves a constant open."""
        r = torch.tensor([[self.high]], dtype=torch.float64)
        return ks.Residual(lambda jet, points: jet.value[:, 0], r, name="gauge")

    def true_slope(self, r: Tensor) -> Tensor:
        """sqrt(1 - A) / A at radii (n, 1), (n,)."""
        values = self.at(r)
        return (1 - values).sqrt() / values

    def true_shift(self, r: Tensor) -> Tensor:
        """f at rising radii (n, 1), by quadrature, 0 at the last one, (n,)."""
        nodes, weights = (torch.from_numpy(own) for own in np.polynomial.legendre.leggauss(NODES))
        half, middle = (r[1:] - r[:-1]) / 2, (r[1:] + r[:-1]) / 2
        slopes = self.true_slope((middle + half * nodes).reshape(-1, 1)).view(-1, NODES)
        parts = half[:, 0] * (slopes @ weights)
        return torch.cat([-parts.flip(0).cumsum(0).flip(0), r.new_zeros(1)])


SCHWARZSCHILD = BlackHole("1 - 1/r", 1.2, 3.0)
