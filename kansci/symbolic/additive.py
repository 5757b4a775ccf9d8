"""Additive models: targets as sums of univariate functions of some variables, and what another one would add."""

import torch
from jaxtyping import Float
from torch import Tensor

# Sizes below which singular values, and what is left of columns, are rounding.
ROUNDING = 1e-10
REGULARIZATION = 1e-13


class AdditiveModel:
    r"""Least squares fits of targets by univariate functions of variables.

    .. math:: t \approx c + \sum_i g_i(x_i)

    Functions are combined from Chebyshev polynomials and, where x is not 0, log|x| and 1/x, for powers and for what
    is singular at 0.

    Attributes:
        errors: (t,), the root mean square of what is left of each target, by degrees of freedom.

    References:
        Hastie, Tibshirani, Generalized Additive Models, Statistical Science 1 (1986) 297.
    """

    def __init__(self, variables: Float[Tensor, "v n"], targets: Float[Tensor, "n t"], degree: int) -> None:
        """Fit the targets; `degree` is that of the polynomials."""
        self._degree = degree
        functions = _functions(variables, degree).transpose(0, 1).flatten(1)
        columns = torch.cat([torch.ones_like(targets[:, :1]), functions], 1)
        left, sizes, _ = torch.linalg.svd(columns, full_matrices=False)
        self._basis = left[:, sizes > ROUNDING * sizes[0]]
        self._rest = self._without(self._without(targets))
        self._freedom = len(targets) - self._basis.shape[1]
        self.errors = self._size(self._rest, 0)

    def with_function(self, x: Float[Tensor, "k n"]) -> Float[Tensor, "k t"]:
        """The errors if there were a function of one more variable, for each of k variables."""
        return self._fit(_functions(x, self._degree))[0]

    def with_multiple(self, x: Float[Tensor, "k n"]) -> tuple[Float[Tensor, "k t"], Float[Tensor, "k t"]]:
        """The errors if there were a multiple of one more variable, and the factors."""
        size = x.square().mean(1, keepdim=True).sqrt()
        errors, solution = self._fit((x / size)[..., None])
        return errors, solution[:, 0] / size

    def _fit(self, columns: Float[Tensor, "k n m"]) -> tuple[Float[Tensor, "k t"], Float[Tensor, "k m t"]]:
        shared = self._basis.T @ columns
        gram = columns.mT @ columns - shared.mT @ shared
        gram.diagonal(dim1=1, dim2=2).add_(REGULARIZATION * len(self._rest))
        solution = torch.linalg.solve(gram, columns.mT @ self._rest)
        rest = self._rest - columns @ solution + self._basis @ (shared @ solution)
        return self._size(rest, columns.shape[2]), solution

    def _without(self, targets: Float[Tensor, "n t"]) -> Float[Tensor, "n t"]:
        return targets - self._basis @ (self._basis.T @ targets)

    def _size(self, rest: Float[Tensor, "*k n t"], added: int) -> Float[Tensor, "*k t"]:
        return (rest.square().sum(-2) / max(self._freedom - added, 1)).sqrt()


def _functions(x: Float[Tensor, "k n"], degree: int) -> Float[Tensor, "k n m"]:
    """What functions are combined from, of mean square 1."""
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    z = (2 * x - low - high) / (high - low)
    polynomials = [torch.ones_like(z), z]
    while len(polynomials) <= degree:
        polynomials.append(2 * z * polynomials[-1] - polynomials[-2])
    unit = x / x.abs().median(1, keepdim=True).values
    nonzero = torch.where((x != 0).all(1, keepdim=True), unit, 1.0)
    columns = torch.stack([*polynomials[1:], nonzero.abs().log(), 1 / nonzero], 2)
    return columns / columns.square().mean(1, keepdim=True).sqrt().clamp(min=torch.finfo(x.dtype).tiny)
