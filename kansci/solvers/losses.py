r"""From outputs to loss: sums of squares, and convex losses by the generalized Gauss-Newton matrix.

A loss l(z) of the outputs z of a term has gradient g and Hessian H with respect to z, one small matrix for each point.
With H = R R^T the rows R^T dz / sqrt 2 and residuals R^+ g / sqrt 2 make a least squares problem with the gradient of
the loss and with the generalized Gauss-Newton matrix J^T H J / 2, in the units of sums of squares.

References:
    Schraudolph, Neural Computation 14 (2002) 1723.
    Martens, Journal of Machine Learning Research 21 (2020) 146, section 8.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, hessian, vmap

from kansci.errors import ShapeError
from kansci.solvers.residual import Residual

LEAST_CURVATURE = 1e-10


class Measure(NamedTuple):
    """A term of the loss at some outputs.

    Attributes:
        total: the term of the loss.
        rows: residuals (r, n) of the least squares problem that has the same gradient.
        weigh: the linear map from changes of the outputs (n, r) to changes of the rows (r, n).
    """

    total: Tensor
    rows: Float[Tensor, "r n"]
    weigh: Callable[[Tensor], Tensor]


def measure(term: Residual, outputs: Float[Tensor, "n r"]) -> Measure:
    """The term at its outputs."""
    weight = weights(term)
    if term.loss is None:
        scale = weight.sqrt()[:, None]

        def weigh(change: Tensor) -> Tensor:
            return (change * scale).T

        rows = weigh(outputs)
        return Measure(rows.square().sum(), rows, weigh)
    return _measure_loss(term, outputs.detach(), weight)


def term_loss(term: Residual, outputs: Float[Tensor, "n r"]) -> Tensor:
    """The term of the loss, differentiable."""
    weight = weights(term)
    if term.loss is None:
        return (outputs.square().sum(1) * weight).sum()
    return (pointwise(term, outputs) * weight).sum()


def pointwise(term: Residual, outputs: Float[Tensor, "n r"]) -> Float[Tensor, "n"]:
    """The loss of each point.

    Raises:
        ShapeError: the loss is not one number for each point.
    """
    loss: Any = term.loss
    values = loss(outputs) if term.targets is None else loss(outputs, term.targets)
    if not isinstance(values, Tensor) or values.shape != outputs.shape[:1]:
        got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise ShapeError(
            f"expected the loss to return one number for each of {len(outputs)} points, got {got}; "
            'leave the mean to the solver, e.g. by reduction="none"'
        )
    return values


def weights(term: Residual) -> Float[Tensor, "n"]:
    """The weight of each point, divided by the number of points of all ranks."""
    place = term.point_sets[0].device
    weight = torch.as_tensor(term.weight, dtype=torch.float64, device=place)
    return (weight * term.share / term.size).expand(term.size)


def _measure_loss(term: Residual, outputs: Tensor, weight: Tensor) -> Measure:
    total = (pointwise(term, outputs) * weight).sum()
    loss: Any = term.loss
    targets = () if term.targets is None else (term.targets,)

    def of_point(z: Tensor, *target: Any) -> Tensor:
        return loss(z[None], *(_as_row(own) for own in target))[0]

    gradients = vmap(grad(of_point))(outputs, *targets)
    values, vectors = torch.linalg.eigh(vmap(hessian(of_point))(outputs, *targets))
    values = values.clamp(min=LEAST_CURVATURE * float(values.amax()) if len(values) else 0.0)
    scale = (weight / 2).sqrt()[:, None]
    roots = vectors * values.sqrt()[:, None]

    def weigh(change: Tensor) -> Tensor:
        return (torch.einsum("nor,no->nr", roots, change) * scale).T

    along = torch.einsum("nor,no->nr", vectors, gradients)
    rows = (torch.where(values > 0, along / values.sqrt(), 0.0) * scale).T
    return Measure(total, rows, weigh)


def _as_row(target: Any) -> Any:
    return tuple(own[None] for own in target) if isinstance(target, tuple) else target[None]


def cross_entropy(outputs: Float[Tensor, "n m"], shares: Float[Tensor, "n m"]) -> Float[Tensor, "n"]:
    r"""-sum_c p_c log softmax(z)_c for each point, with p the share of each class.

    Example:
        >>> cross_entropy(torch.zeros(1, 4), torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
        tensor([1.3863])
    """
    return -(shares * outputs.log_softmax(1)).sum(1)
