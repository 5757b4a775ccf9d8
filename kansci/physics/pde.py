"""Residuals of partial differential equations and of boundary conditions, for any model with jets.

Every builder returns a `Residual`, ready for `solve`. What an equation is given (a source, boundary values,
coefficients, normals) may be a number, a tensor with one row per point, or a function of points
(n, d) -> (n,). A function is evaluated at the points the residual is called with, so a term without tensors
moves to other points by ``dataclasses.replace(term, points=fresh)``; tensors stay with theirs.

Coordinates and u are in whatever units the problem has, made dimensionless or not: [1] stands for them below.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import ConfigError, ShapeError
from kansci.jets import Jet
from kansci.physics.given import Field, Given, make_residual, select_output
from kansci.solvers.residual import Residual


def poisson(
    points: Float[Tensor, "n d"],
    source: Field = 0.0,
    *,
    weight: float | Tensor = 1.0,
    output: int = 0,
    name: str = "poisson",
) -> Residual:
    """Poisson's equation -laplacian(u) = source. Mind the sign: for laplacian(u) = f, the source is -f.

    The residual is -laplacian(u) - source, shape (n,) [1].

    Args:
        points: where the equation shall hold (n, d) [1].
        source: right-hand side (n,) [1].
        weight: of the term, one number or one per point (n,).
        output: which output of the model is u.
        name: what the history calls the term.

    Raises:
        ShapeError: if the source does not have one row per point.
        DataError: if it is not finite; the rows are named.

    Example:
        >>> from kansci.jets import jet
        >>> x = torch.tensor([[0.5, 0.25], [0.0, -1.0]])
        >>> term = poisson(x, source=4.0)
        >>> term([jet(lambda x: 1 - x.square().sum(-1), x)])
        tensor([[0.],
                [0.]])
    """

    def equation(jet: Jet, f: Any) -> Tensor:
        return -select_output(jet.laplacian, output) - f

    givens = [Given("source", source)]
    return make_residual(equation, points, givens, needs="laplacian", weight=weight, name=name)


def helmholtz(
    points: Float[Tensor, "n d"],
    source: Field = 0.0,
    *,
    wavenumber: Field = 1.0,
    weight: float | Tensor = 1.0,
    output: int = 0,
    name: str = "helmholtz",
) -> Residual:
    """Helmholtz' equation -laplacian(u) - wavenumber^2 u = source.

    The residual is -laplacian(u) - wavenumber^2 u - source, shape (n,) [1].

    Args:
        points: where the equation shall hold (n, d) [1].
        source: right-hand side (n,) [1].
        wavenumber: k (n,) [1 over the unit of x].
        weight: of the term, one number or one per point (n,).
        output: which output of the model is u.
        name: what the history calls the term.

    Raises:
        ShapeError: if the source or the wavenumber does not have one row per point.
        DataError: if one is not finite; the rows are named.

    Example:
        >>> from kansci.jets import jet
        >>> x = torch.tensor([[0.5], [0.25]])
        >>> helmholtz(x, wavenumber=2.0)([jet(lambda x: (2 * x).sin(), x)]).abs().max() < 1e-6
        tensor(True)
    """

    def equation(jet: Jet, f: Any, k: Any) -> Tensor:
        return -select_output(jet.laplacian, output) - k**2 * select_output(jet.value, output) - f

    givens = [Given("source", source), Given("wavenumber", wavenumber)]
    return make_residual(equation, points, givens, needs="laplacian", weight=weight, name=name)


def heat(
    points: Float[Tensor, "n d"],
    source: Field = 0.0,
    *,
    diffusivity: Field = 1.0,
    time: int = -1,
    weight: float | Tensor = 1.0,
    output: int = 0,
    name: str = "heat",
) -> Residual:
    """The heat equation du/dt - diffusivity * laplacian(u) = source, the Laplacian taken over space.

    The residual is du/dt - diffusivity * laplacian(u) - source, shape (n,) [1].

    Args:
        points: where and when the equation shall hold, one column of them the time (n, d) [1].
        source: right-hand side (n,) [1].
        diffusivity: (n,) [unit of x squared over unit of t].
        time: the column of the time, by default the last.
        weight: of the term, one number or one per point (n,).
        output: which output of the model is u.
        name: what the history calls the term.

    Raises:
        ConfigError: if there is no column `time`.
        ShapeError: if the source or the diffusivity does not have one row per point.
        DataError: if one is not finite; the rows are named.

    Example:
        >>> from kansci.jets import jet
        >>> xt = torch.tensor([[0.5, 0.0], [0.25, 2.0]])
        >>> heat(xt, diffusivity=3.0)([jet(lambda x: x[..., 0] ** 2 + 6 * x[..., 1], xt, "diagonal")])
        tensor([[0.],
                [0.]])
    """
    d = points.shape[-1]
    if time not in range(-d, d):
        raise ConfigError(f"expected time to be a column from {-d} to {d - 1}, got {time!r}")
    space = [axis for axis in range(d) if axis != time % d]

    def equation(jet: Jet, f: Any, alpha: Any) -> Tensor:
        laplacian = select_output(jet.diagonal, output)[:, space].sum(1)
        return select_output(jet.gradient, output)[:, time] - alpha * laplacian - f

    givens = [Given("source", source), Given("diffusivity", diffusivity)]
    return make_residual(equation, points, givens, needs="diagonal", weight=weight, name=name)


def dirichlet(
    points: Float[Tensor, "n d"],
    values: Field = 0.0,
    *,
    weight: float | Tensor = 1.0,
    output: int = 0,
    name: str = "dirichlet",
) -> Residual:
    """Dirichlet's condition u = values; on an initial line, an initial condition.

    The residual is u - values, shape (n,) [1]. To satisfy the condition exactly instead, see
    `Domain.distance_formula`.

    Args:
        points: where the condition shall hold (n, d) [1].
        values: of u (n,) [1].
        weight: of the term, one number or one per point (n,).
        output: which output of the model is u.
        name: what the history calls the term.

    Raises:
        ShapeError: if there is not one value per point.
        DataError: if one is not finite; the rows are named.

    Example:
        >>> from kansci.jets import jet
        >>> x = torch.tensor([[0.0, 1.0], [1.0, 2.0]])
        >>> dirichlet(x, torch.tensor([0.0, 2.0]))([jet(lambda x: x.prod(-1), x, "value")])
        tensor([[0.],
                [0.]])
    """

    def equation(jet: Jet, g: Any) -> Tensor:
        return select_output(jet.value, output) - g

    givens = [Given("values", values)]
    return make_residual(equation, points, givens, needs="value", weight=weight, name=name)


def neumann(
    points: Float[Tensor, "n d"],
    normals: Field,
    values: Field = 0.0,
    *,
    weight: float | Tensor = 1.0,
    output: int = 0,
    name: str = "neumann",
) -> Residual:
    """Neumann's condition du/dn = values.

    The residual is normal . gradient(u) - values, shape (n,) [1].

    Args:
        points: where the condition shall hold (n, d) [1].
        normals: outward unit normals (n, d) [1].
        values: of the normal derivative (n,) [1].
        weight: of the term, one number or one per point (n,).
        output: which output of the model is u.
        name: what the history calls the term.

    Raises:
        ShapeError: if there is not one normal and one value per point.
        ConfigError: if the normals are not of length 1.
        DataError: if something is not finite; the rows are named.

    Example:
        >>> from kansci.jets import jet
        >>> x = torch.tensor([[1.0, 0.5]])
        >>> neumann(x, torch.tensor([[1.0, 0.0]]), values=0.5)([jet(lambda x: x.prod(-1), x, "gradient")])
        tensor([[0.]])
    """
    return robin(points, normals, 0.0, 1.0, values, weight=weight, output=output, name=name)


def robin(
    points: Float[Tensor, "n d"],
    normals: Field,
    alpha: Field,
    beta: Field,
    values: Field = 0.0,
    *,
    weight: float | Tensor = 1.0,
    output: int = 0,
    name: str = "robin",
) -> Residual:
    """Robin's condition alpha u + beta du/dn = values.

    The residual is alpha u + beta normal . gradient(u) - values, shape (n,) [1].

    Args:
        points: where the condition shall hold (n, d) [1].
        normals: outward unit normals (n, d) [1].
        alpha: coefficient of u (n,) [1].
        beta: coefficient of the normal derivative (n,) [unit of x].
        values: right-hand side (n,) [1].
        weight: of the term, one number or one per point (n,).
        output: which output of the model is u.
        name: what the history calls the term.

    Raises:
        ShapeError: if something does not have one row per point.
        ConfigError: if the normals are not of length 1.
        DataError: if something is not finite; the rows are named.

    Example:
        >>> from kansci.jets import jet
        >>> x = torch.tensor([[1.0, 0.5]])
        >>> term = robin(x, torch.tensor([[1.0, 0.0]]), alpha=2.0, beta=4.0, values=3.0)
        >>> term([jet(lambda x: x.prod(-1), x, "gradient")])
        tensor([[0.]])
    """

    def equation(jet: Jet, n: Tensor, a: Any, b: Any, g: Any) -> Tensor:
        slope = (n * select_output(jet.gradient, output)).sum(1)
        return a * select_output(jet.value, output) + b * slope - g

    givens = [
        Given("normals", normals, unit_vectors=True),
        Given("alpha", alpha),
        Given("beta", beta),
        Given("values", values),
    ]
    return make_residual(equation, points, givens, needs="gradient", weight=weight, name=name)


def periodic(
    low_points: Float[Tensor, "n d"],
    high_points: Float[Tensor, "n d"],
    *,
    derivatives: bool = True,
    weight: float | Tensor = 1.0,
    output: int = 0,
    name: str = "periodic",
) -> Residual:
    """Periodicity: u, and its derivative along the period, agree at corresponding points.

    The residual is u(high) - u(low), shape (n,) [1]; with derivatives also the same for e . gradient(u), e
    the direction from low to high, together (n, 2) [1]. `Box.periodic_pairs` makes the points.

    Args:
        low_points: one end of the period (n, d) [1].
        high_points: the other end, in corresponding order (n, d) [1].
        derivatives: whether the derivative shall agree too, as second-order equations ask.
        weight: of the term, one number or one per pair (n,).
        output: which output of the model is u.
        name: what the history calls the term.

    Raises:
        ShapeError: if the points do not correspond.
        ConfigError: if corresponding points coincide.

    Example:
        >>> from kansci.jets import jet
        >>> low, high = torch.tensor([[-1.0, 0.5]]), torch.tensor([[1.0, 0.5]])
        >>> term = periodic(low, high)
        >>> term([jet(lambda x: x.square().prod(-1), points, "gradient") for points in (low, high)])
        tensor([[0., 1.]])
    """
    if low_points.ndim != 2 or low_points.shape != high_points.shape:
        raise ShapeError(
            "expected low points and high points of the same shape (n, d), "
            f"got {tuple(low_points.shape)} and {tuple(high_points.shape)}"
        )
    if (low_points == high_points).all(1).any():
        raise ConfigError("expected points a period apart, got coinciding pairs: see Box.periodic_pairs")

    def function(jets: Sequence[Jet], points: Sequence[Tensor], *_: Any) -> Tensor:
        low, high = jets
        jump = select_output(high.value, output) - select_output(low.value, output)
        if not derivatives:
            return jump
        direction = torch.nn.functional.normalize(points[1] - points[0], dim=1)
        slope = (direction * (select_output(high.gradient, output) - select_output(low.gradient, output))).sum(1)
        return torch.stack([jump, slope], dim=1)

    needs = "gradient" if derivatives else "value"
    return Residual(function, (low_points, high_points), needs=needs, weight=weight, name=name)
