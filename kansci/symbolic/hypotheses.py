r"""Is a formula refuted by data? Likelihood-ratio tests of nested networks.

Of residuals r with Jacobian J, what a model can explain is their projection onto the columns of J. With the rest of
the smaller model S_0 and that of the larger one S_1, of ranks p_0 and p_1, and n samples,

.. math:: F = \frac{(S_0 - S_1) / (p_1 - p_0)}{S_1 / (n - p_1)}

has Fisher's distribution if the smaller model is true and the noise is normal, and (S_0 - S_1) / sigma^2 is chi-squared
if the noise is known: exactly for models that are linear in their unknowns, else for many samples.

References:
    Wilks, The large-sample distribution of the likelihood ratio, Annals of Mathematical Statistics 9 (1938) 60.
    Rao, Proceedings of the Cambridge Philosophical Society 44 (1948) 50 (from the smaller model alone).
    Seber, Wild, Nonlinear Regression, Wiley 1989, chapter 5.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor, nn

from kansci.errors import ConfigError
from kansci.solvers.statement import as_terms, evaluated, output_size
from kansci.solvers.uncertainty import Samples, samples

RANK_TOLERANCE = 1e-8
LEVEL = 0.05
ROUNDING = 1e-12
SMALLEST = 1e-150


@dataclass(frozen=True)
class Comparison:
    """The likelihood-ratio test of a model within a larger one.

    Attributes:
        p_value: probability of such data, or worse ones, if the smaller model is true.
        statistic: F, or chi-squared where the noise is known.
        extra: unknowns that the larger model has more, as far as the data determine them.
        freedom: samples less unknowns of the larger model, infinite where the noise is known.
        explained: share of the sum of squares that is left by the smaller model and not by the larger one.
    """

    p_value: float
    statistic: float
    extra: int
    freedom: float
    explained: float

    @property
    def refuted(self) -> bool:
        """Whether the smaller model is refuted at the level of 5 %."""
        return self.p_value < LEVEL

    def __repr__(self) -> str:
        """The verdict and its numbers."""
        verdict = "refuted" if self.refuted else "not refuted"
        return f"Comparison({verdict}: p = {self.p_value:.2g}, {self.extra} more unknowns)"


def compare_models(
    prior: nn.Module, model: nn.Module, problem: Any, *, noise: float | Tensor | None = None
) -> Comparison:
    """Whether data refute a model in favor of a larger one that contains it.

    Either the larger model computes the same function so far, as `perturb` and `widen` make it: what it could explain
    is told by its derivatives, no fit is needed. Or both have been fitted to the data.

    Args:
        prior: the smaller model, fitted as far as it has anything to fit.
        model: the larger one.
        problem: a `Dataset`, (x, y), or residual terms as for `solve`; of terms with `noise` the samples are those,
            else all.
        noise: standard deviation of the data, where it is known.

    Returns:
        The test.

    Raises:
        ConfigError: the larger model explains nothing more, or there are too few samples.

    Example:
        >>> from kansci import kanpile, perturb
        >>> generator = torch.Generator().manual_seed(0)
        >>> x = torch.rand(200, 1, dtype=torch.float64, generator=generator)
        >>> noise = 0.1 * torch.randn(200, 1, dtype=torch.float64, generator=generator)
        >>> prior = kanpile("sin(x)", ["x"])
        >>> compare_models(prior, perturb(prior), (x, x.sin() + noise)).refuted
        False
        >>> compare_models(prior, perturb(prior), (x, x.sin() + 0.5 * (5 * x).sin() + noise)).refuted
        True
    """
    terms = as_terms(problem, noise)
    small, large = (samples(*evaluated(own, terms)) for own in (prior, model))
    if _agree(small.rows, large.rows):
        large = large._replace(jacobian=torch.cat([small.jacobian, large.jacobian], 1))
    (rest_0, rank_0), (rest_1, rank_1) = map(_unexplained, (small, large))
    n, extra, gain = len(small.rows), rank_1 - rank_0, rest_0 - rest_1
    if extra < 1:
        raise ConfigError("expected a larger model that can explain more than the prior; perturb or widen the prior")
    explained = gain / max(rest_0, SMALLEST)
    if large.is_measured:
        return Comparison(float(stats.chi2.sf(gain, extra)), gain, extra, math.inf, explained)
    freedom = n - rank_1
    if freedom < 1:
        raise ConfigError(f"expected more samples than the {rank_1} unknowns that they determine, got {n}")
    noise_floor = n * (ROUNDING * output_size(prior, terms)) ** 2
    statistic = (gain / extra) / max(rest_1 / freedom, noise_floor, SMALLEST)
    return Comparison(float(stats.f.sf(statistic, extra, freedom)), statistic, extra, float(freedom), explained)


def _agree(a: Float[Tensor, "n"], b: Float[Tensor, "n"]) -> bool:
    return bool((a - b).norm() <= 1e-6 * a.norm() + SMALLEST)


def _unexplained(of: Samples) -> tuple[float, int]:
    """Sum of squares that is left of the residuals, and the rank of what explains them."""
    units = of.jacobian.norm(dim=0)
    if not units.gt(0).any():
        return float(of.rows @ of.rows), 0
    left, values, _ = torch.linalg.svd(of.jacobian[:, units > 0] / units[units > 0], full_matrices=False)
    left = left[:, values > RANK_TOLERANCE * values[0]]
    rest = of.rows - left @ (left.T @ of.rows)
    return float(rest @ rest), left.shape[1]
