"""Jets: a function's value and derivatives, carried through sums, products and compositions in closed form.

A jet of y(x), x in R^d, keeps channels: the value, the gradient y_i, and of second order the Laplacian, the
pure derivatives y_ii, or all y_ij with i <= j. Compositions and products are closed on each of these sets:

    (phi(y))_i  = phi' y_i            (phi(y))_ij = phi'' y_i y_j + phi' y_ij
    (u v)_i     = u_i v + u v_i       (u v)_ij    = u_ij v + u_i v_j + u_j v_i + u v_ij

so a Laplacian costs d + 2 channels, and no derivative is ever taken by automatic differentiation.

Inside networks points run along the last axis, here and in every layer: operations on short last axes are slow.

References:
    Griewank, Walther, Evaluating Derivatives, SIAM 2008, chapter 13 (Taylor arithmetic).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import hessian, jacrev, vmap

from kansci.errors import ConfigError, DerivativeError, ShapeError

LEVELS = ("value", "gradient", "laplacian", "diagonal", "hessian")


def check_needs(needs: str) -> None:
    """Raise ConfigError unless `needs` names a level of derivatives."""
    if needs not in LEVELS:
        raise ConfigError(f"expected needs to be one of {', '.join(LEVELS)}, got {needs!r}")


def orders_of(needs: str) -> int:
    """How many derivatives of an edge a level takes, the value counted as one."""
    return {"value": 1, "gradient": 2}.get(needs, 3)


@dataclass(frozen=True)
class Jet:
    """Value and derivatives of m functions of x in R^d at n points, with respect to the raw inputs.

    Attributes:
        channels: (C, m, n): the value, then d first derivatives, then the second-order channels.
        needs: which level the channels hold: one of `LEVELS`.
        d: number of inputs.

    Example:
        >>> x = torch.tensor([[1.0, 2.0]])
        >>> y = Jet.lift(x, "laplacian")
        >>> square = y * y
        >>> square.laplacian
        tensor([[2., 2.]])
        >>> square.gradient[0, 1]
        tensor([0., 4.])
    """

    channels: Float[Tensor, "channels m n"]
    needs: str
    d: int

    @classmethod
    def lift(cls, x: Float[Tensor, "n d"], needs: str) -> "Jet":
        """The jet of the coordinates themselves."""
        n, d = x.shape
        channels = [x.T[None]]
        if needs != "value":
            channels.append(torch.eye(d, dtype=x.dtype, device=x.device)[..., None].expand(d, d, n))
        if orders_of(needs) == 3:
            channels.append(x.new_zeros(second_channels(needs, d), d, n))
        return cls(torch.cat(channels), needs, d)

    @property
    def value(self) -> Float[Tensor, "n m"]:
        """Function values."""
        return self.channels[0].T

    @property
    def gradient(self) -> Float[Tensor, "n m d"]:
        """First derivatives with respect to the d inputs."""
        self._require("gradient", "laplacian", "diagonal", "hessian")
        return self.channels[1 : 1 + self.d].permute(2, 1, 0)

    @property
    def laplacian(self) -> Float[Tensor, "n m"]:
        """Sum of the pure second derivatives."""
        self._require("laplacian", "diagonal", "hessian")
        if self.needs == "laplacian":
            return self.channels[-1].T
        return self.diagonal.sum(-1)

    @property
    def diagonal(self) -> Float[Tensor, "n m d"]:
        """Pure second derivatives."""
        self._require("diagonal", "hessian")
        if self.needs == "diagonal":
            return self.channels[1 + self.d :].permute(2, 1, 0)
        return self.hessian.diagonal(dim1=-2, dim2=-1)

    @property
    def hessian(self) -> Float[Tensor, "n m d d"]:
        """All second derivatives."""
        self._require("hessian")
        rows, columns = _pairs(self.d, self.channels.device)
        number = torch.empty(self.d, self.d, dtype=torch.long, device=self.channels.device)
        number[rows, columns] = number[columns, rows] = torch.arange(len(rows), device=self.channels.device)
        return self.channels[1 + self.d :].permute(2, 1, 0)[..., number]

    def _require(self, *levels: str) -> None:
        if self.needs not in levels:
            raise DerivativeError(
                f"expected a jet that holds the {levels[0]}, got one with needs={self.needs!r}; "
                f"ask for needs={levels[0]!r}"
            )

    @property
    def orders(self) -> int:
        """How many derivatives of an edge this level takes, the value counted as one."""
        return orders_of(self.needs)

    def affine(self, scale: Float[Tensor, "m"], bias: Float[Tensor, "m"]) -> "Jet":
        """scale * y + bias, function by function."""
        return self._moved(bias, lambda shift: torch.addcmul(shift, self.channels, scale[:, None]))

    def linear(self, weight: Float[Tensor, "k m"], bias: Float[Tensor, "k"]) -> "Jet":
        """W y + b: W acts on every channel, b on the value."""
        weights = weight.expand(len(self.channels), -1, -1)
        return self._moved(bias, lambda shift: torch.baddbmm(shift, weights, self.channels))

    def _moved(self, bias: Tensor, move: Callable[[Tensor], Tensor]) -> "Jet":
        shift = bias[None, :, None]
        if len(self.channels) > 1:
            shift = nn.functional.pad(shift, (0, 0, 0, 0, 0, len(self.channels) - 1))
        return Jet(move(shift), self.needs, self.d)

    def select(self, columns: Tensor | slice | list[int]) -> "Jet":
        """Some of the functions, or the same ones in another order."""
        return Jet(self.channels[:, columns], self.needs, self.d)

    def __add__(self, other: "Jet") -> "Jet":
        """Sum, function by function."""
        return Jet(self.channels + other.channels, self.needs, self.d)

    def __mul__(self, other: "Jet") -> "Jet":
        """Product, function by function."""
        a, b, d = self.channels, other.channels, self.d
        product = a * b[:1] + a[:1] * b
        crossed = cross_terms(a[1 : 1 + d], b[1 : 1 + d], self.needs)
        parts = [a[:1] * b[:1], product[1 : 1 + d], product[1 + d :] + crossed]
        return Jet(torch.cat(parts), self.needs, d)

    def apply(self, derivatives: Float[Tensor, "orders m n"]) -> "Jet":
        """phi(y), function by function, from the values of phi, phi', phi'' at the values of y."""
        value, *slopes = derivatives.split(1)
        parts = [value]
        if slopes:
            rest = slopes[0] * self.channels[1:]
            parts += [rest[: self.d], rest[self.d :]]
        if self.orders == 3:
            parts[2] = parts[2] + slopes[1] * self.squares()
        return Jet(torch.cat(parts), self.needs, self.d)

    def squares(self) -> Float[Tensor, "s m n"]:
        """y_i y_j in the second-order channels: what phi'' is multiplied by in phi(y)."""
        gradient = self.channels[1 : 1 + self.d]
        return cross_terms(gradient, gradient, self.needs) / 2


def second_channels(needs: str, d: int) -> int:
    """Number of second-order channels of a level."""
    return {"laplacian": 1, "diagonal": d, "hessian": d * (d + 1) // 2}.get(needs, 0)


def second_pairs(needs: str, d: int) -> list[tuple[int, int, int]]:
    """(i, j, s): where y_i y_j belongs in the second-order channels of a level, s counted from the first of them.

    Example:
        >>> second_pairs("hessian", 2)
        [(0, 0, 0), (0, 1, 1), (1, 1, 2)]
    """
    if needs == "hessian":
        return [(i, j, s) for s, (i, j) in enumerate(combinations_with_replacement(range(d), 2))]
    return [(i, i, i if needs == "diagonal" else 0) for i in range(d) if second_channels(needs, d)]


def cross_terms(a: Float[Tensor, "d m n"], b: Float[Tensor, "d m n"], needs: str) -> Float[Tensor, "s m n"]:
    """a_i b_j + a_j b_i in the second-order channels of a level."""
    if needs == "laplacian":
        return 2 * (a * b).sum(0, keepdim=True)
    if needs == "diagonal":
        return 2 * a * b
    if needs == "hessian":
        rows, columns = _pairs(len(a), a.device)
        return a[rows] * b[columns] + a[columns] * b[rows]
    return a[:0]


def _pairs(d: int, device: torch.device) -> Tensor:
    return torch.triu_indices(d, d, device=device)


@runtime_checkable
class HasJet(Protocol):
    """A model that knows its own derivatives."""

    def jet(self, x: Tensor, needs: str = ...) -> Jet:
        """Jet of the model's outputs at x."""
        ...


def jet(f: Callable[[Tensor], Tensor], x: Float[Tensor, "n d"], needs: str = "laplacian") -> Jet:
    """Jet of any function of points: in closed form where f has a `jet`, by torch.func otherwise.

    Args:
        f: torch callable (..., d) -> (..., m) or (...).
        x: points.
        needs: level of derivatives, one of `LEVELS`.

    Returns:
        The jet at the n points.

    Raises:
        ConfigError: `needs` is not a level.
        ShapeError: x is not a matrix.

    Example:
        >>> x = torch.tensor([[1.0, 2.0]])
        >>> jet(lambda x: x[..., 0] ** 2 * x[..., 1], x, "laplacian").laplacian
        tensor([[4.]])
    """
    check_needs(needs)
    if x.ndim != 2:
        raise ShapeError(f"expected x of shape (n, d), got {tuple(x.shape)}; pass one point a row")
    if isinstance(f, HasJet):
        return f.jet(x, needs)
    return _functional_jet(f, x, needs)


def _functional_jet(f: Callable[[Tensor], Tensor], x: Tensor, needs: str) -> Jet:
    def outputs(point: Tensor) -> Tensor:
        return f(point).reshape(-1)

    d = x.shape[1]
    channels = [vmap(outputs, out_dims=1)(x)[None]]
    if needs != "value":
        channels.append(vmap(jacrev(outputs))(x).permute(2, 1, 0))
    if orders_of(needs) == 3:
        second = vmap(hessian(outputs))(x)
        diagonal = second.diagonal(dim1=-2, dim2=-1)
        rows, columns = _pairs(d, x.device)
        kept = {
            "laplacian": diagonal.sum(-1, keepdim=True),
            "diagonal": diagonal,
            "hessian": second[..., rows, columns],
        }[needs]
        channels.append(kept.permute(2, 1, 0))
    return Jet(torch.cat(channels), needs, d)
