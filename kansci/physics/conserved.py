r"""Conserved quantities of a vector field: what does not change along f, its residual and how well it is conserved.

A function H is conserved where its gradient is perpendicular to the field. Lengths do not matter, so the residual is

.. math:: \rho(x) = \hat f(x) \cdot \hat n(x), \qquad n = (1 - Q Q^T) \nabla H,

with Q an orthonormal basis of the gradients of the functions that are known already: what is constant along with these
earns nothing, and H comes out functionally independent of them (deflation).

References:
    Liu, Madhavan, Tegmark, Machine learning conservation laws from differential equations, PRE 106 (2022) 045307.
    Liu et al., KAN 2.0, arXiv:2408.10205, section 5.1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import ConfigError, ShapeError
from kansci.jets import Jet, jet
from kansci.solvers.residual import Residual

NEW = 1e-6  # share of a gradient outside the span of others below which it is none
SHARE = 0.1
LEAST_SHARE = 0.3  # of each gradient; what has less earns a residual
TINY = 1e-300


def conservation(
    points: Float[Tensor, "n d"],
    field: Callable[[Tensor], Tensor] | Float[Tensor, "n d"],
    known: Float[Tensor, "n d q"] | None = None,
    *,
    weight: float | Tensor = 1.0,
    output: int = 0,
    name: str = "conservation",
) -> Residual:
    """The residual of a quantity that a field leaves unchanged, cosine of the angle of gradient and field, (n,) [1].

    Where quantities are known, a second column (n, 2) is what a gradient misses of a share of 0.3 outside their span.

    Args:
        points: where it shall be conserved (n, d).
        field: rates of change at points (n, d), or a function that gives them.
        known: an orthonormal basis of the gradients of quantities that are known already, see `span`, (n, d, q).
        weight: of the term.
        output: which output of the model is H.
        name: what the history calls the term.

    Raises:
        ShapeError: rates of another shape.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
        >>> term = conservation(x, lambda x: torch.stack([x[:, 1], -x[:, 0]], 1))
        >>> term([jet(lambda x: x.square().sum(-1), x, "gradient")])
        tensor([[0.],
                [0.]])
    """
    rates = field(points) if callable(field) else field
    if rates.shape != points.shape:
        raise ShapeError(f"expected rates of change of shape {tuple(points.shape)}, got {tuple(rates.shape)}")
    basis = points.new_zeros(*points.shape, 0) if known is None else known

    def equation(jet: Jet, x: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
        unit, basis = targets
        gradient = jet.gradient[:, output]
        length = project(gradient, basis).norm(dim=1).clamp(min=TINY)
        cosine = (unit * gradient).sum(1) / length
        if basis.shape[2] == 0:
            return cosine
        missing = (LEAST_SHARE - length / gradient.norm(dim=1).clamp(min=TINY)).relu()
        return torch.stack([cosine, missing], 1)

    return Residual(equation, points, needs="gradient", weight=weight, targets=(_unit(rates), basis), name=name)


def project(gradient: Float[Tensor, "n d"], basis: Float[Tensor, "n d q"]) -> Float[Tensor, "n d"]:
    """The part of gradients outside the span of a basis."""
    inside = torch.einsum("ndq,nd->nq", basis, gradient)
    return gradient - torch.einsum("ndq,nq->nd", basis, inside)


def span(gradients: Sequence[Float[Tensor, "n d"]]) -> Float[Tensor, "n d q"]:
    """An orthonormal basis of gradients at each point; what depends on earlier ones adds a column of zeros.

    Example:
        >>> span([torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 1.0]])])[0]
        tensor([[1., 0.],
                [0., 1.]])
    """
    if not gradients:
        raise ConfigError("expected at least one gradient, got none")
    basis = gradients[0].new_zeros(*gradients[0].shape, 0)
    for gradient in gradients:
        outside = project(project(gradient, basis), basis)
        is_new = outside.norm(dim=1) > NEW * gradient.norm(dim=1)
        column = torch.where(is_new[:, None], _unit(outside), torch.zeros_like(outside))
        basis = torch.cat([basis, column[..., None]], 2)
    return basis


@dataclass(frozen=True)
class Conservation:
    """How well functions are conserved, one after the other.

    Attributes:
        residual: root mean square of the cosine of field and gradient outside the span of the earlier ones.
        share: mean share of the gradient outside that span; below 0.1 a function is not new.
    """

    residual: list[float]
    share: list[float]


def measure(functions: Sequence[Any], points: Float[Tensor, "n d"], rates: Float[Tensor, "n d"]) -> Conservation:
    """Measure functions at points that they have not been fitted to.

    Example:
        >>> x = torch.tensor([[1.0, 0.5], [0.5, 0.5]], dtype=torch.float64)
        >>> found = measure([lambda x: x.square().sum(-1)], x, torch.stack([x[:, 1], -x[:, 0]], 1))
        >>> found.residual, found.share
        ([0.0], [1.0])
    """
    unit = _unit(rates)
    basis = points.new_zeros(*points.shape, 0)
    residuals, shares = [], []
    for function in functions:
        gradient = gradient_of(function, points)
        outside = project(project(gradient, basis), basis)
        length = outside.norm(dim=1)
        share = length / gradient.norm(dim=1).clamp(min=TINY)
        normal = outside / length[:, None].clamp(min=TINY)
        residuals.append(float((unit * normal).sum(1).square().mean().sqrt()))
        shares.append(float(share.mean()))
        basis = torch.cat([basis, normal[..., None]], 2)
    return Conservation(residuals, shares)


def gradient_of(function: Any, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The gradient of a function or of the first output of a model."""
    with torch.no_grad():
        return torch.cat([jet(function, part, "gradient").gradient[:, 0] for part in points.split(4096)]).detach()


def _unit(vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    return vectors / vectors.norm(dim=1, keepdim=True).clamp(min=TINY)
