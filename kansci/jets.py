"""Jets: a function's value and derivatives, carried through sums, products and compositions in closed form.

A jet of y(x), x in R^d, keeps channels: the value, the gradient y_i, and of second order the Laplacian, the
pure derivatives y_ii, or all y_ij with i <= j. Compositions and products are closed on each of these sets:

    (phi(y))_i  = phi' y_i            (phi(y))_ij = phi'' y_i y_j + phi' y_ij
    (u v)_i     = u_i v + u v_i       (u v)_ij    = u_ij v + u_i v_j + u_j v_i + u v_ij

so a Laplacian costs d + 2 channels, and no derivative is ever taken by automatic differentiation.

References:
    Griewank, Walther, Evaluating Derivatives, SIAM 2008, chapter 13 (Taylor arithmetic).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
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
        channels: (n, C, m): the value, then d first derivatives, then the second-order channels.
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

    channels: Float[Tensor, "n channels m"]
    needs: str
    d: int

    @classmethod
    def lift(cls, x: Float[Tensor, "n d"], needs: str) -> "Jet":
        """The jet of the coordinates themselves."""
        n, d = x.shape
        channels = [x[:, None]]
        if needs != "value":
            channels.append(torch.eye(d, dtype=x.dtype, device=x.device).expand(n, d, d))
        if orders_of(needs) == 3:
            channels.append(x.new_zeros(n, second_channels(needs, d), d))
        return cls(torch.cat(channels, 1), needs, d)

    @property
    def value(self) -> Float[Tensor, "n m"]:
        """Function values."""
        return self.channels[:, 0]

    @property
    def gradient(self) -> Float[Tensor, "n m d"]:
        """First derivatives with respect to the d inputs."""
        self._require("gradient", "laplacian", "diagonal", "hessian")
        return self.channels[:, 1 : 1 + self.d].transpose(1, 2)

    @property
    def laplacian(self) -> Float[Tensor, "n m"]:
        """Sum of the pure second derivatives."""
        self._require("laplacian", "diagonal", "hessian")
        if self.needs == "laplacian":
            return self.channels[:, -1]
        return self.diagonal.sum(-1)

    @property
    def diagonal(self) -> Float[Tensor, "n m d"]:
        """Pure second derivatives."""
        self._require("diagonal", "hessian")
        if self.needs == "diagonal":
            return self.channels[:, 1 + self.d :].transpose(1, 2)
        return self.hessian.diagonal(dim1=-2, dim2=-1)

    @property
    def hessian(self) -> Float[Tensor, "n m d d"]:
        """All second derivatives."""
        self._require("hessian")
        rows, columns = _pairs(self.d, self.channels.device)
        number = torch.empty(self.d, self.d, dtype=torch.long, device=self.channels.device)
        number[rows, columns] = number[columns, rows] = torch.arange(len(rows), device=self.channels.device)
        return self.channels[:, 1 + self.d :].transpose(1, 2)[..., number]

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
        scaled = self.channels * scale
        value = scaled[:, :1] + bias
        return Jet(torch.cat([value, scaled[:, 1:]], 1) if scaled.shape[1] > 1 else value, self.needs, self.d)

    def select(self, columns: Tensor | slice | list[int]) -> "Jet":
        """Some of the functions, or the same ones in another order."""
        return Jet(self.channels[:, :, columns], self.needs, self.d)

    def __add__(self, other: "Jet") -> "Jet":
        """Sum, function by function."""
        return Jet(self.channels + other.channels, self.needs, self.d)

    def __mul__(self, other: "Jet") -> "Jet":
        """Product, function by function."""
        a, b = self.channels, other.channels
        product = a * b[:, :1] + a[:, :1] * b
        crossed = cross_terms(a[:, 1 : 1 + self.d], b[:, 1 : 1 + self.d], self.needs)
        value = a[:, :1] * b[:, :1]
        first = product[:, 1 : 1 + self.d]
        return Jet(torch.cat([value, first, product[:, 1 + self.d :] + crossed], 1), self.needs, self.d)

    def apply(self, derivatives: Float[Tensor, "n orders m"]) -> "Jet":
        """phi(y), function by function, from the values of phi, phi', phi'' at the values of y."""
        value, first, second = (derivatives[:, order : order + 1] for order in range(3))
        rest = first * self.channels[:, 1:]
        if self.orders == 3:
            gradient = self.channels[:, 1 : 1 + self.d]
            curved = second * cross_terms(gradient, gradient, self.needs) / 2
            rest = torch.cat([rest[:, : self.d], rest[:, self.d :] + curved], 1)
        return Jet(torch.cat([value, rest], 1), self.needs, self.d)

    def composition_matrix(self) -> Float[Tensor, "n channels m orders"]:
        """A with (phi(y))_c = sum_q A_cq phi^(q)(y), the rule of composition as a matrix at each point."""
        a = self.channels
        rows = torch.zeros_like(a)
        value = torch.cat([torch.ones_like(a[:, :1]), rows[:, 1:]], 1)
        columns = [value]
        if self.needs != "value":
            columns.append(torch.cat([rows[:, :1], a[:, 1:]], 1))
        if orders_of(self.needs) == 3:
            squares = cross_terms(a[:, 1 : 1 + self.d], a[:, 1 : 1 + self.d], self.needs) / 2
            columns.append(torch.cat([rows[:, : 1 + self.d], squares], 1))
        return torch.stack(columns, -1)


def second_channels(needs: str, d: int) -> int:
    """Number of second-order channels of a level."""
    return {"laplacian": 1, "diagonal": d, "hessian": d * (d + 1) // 2}.get(needs, 0)


def cross_terms(a: Float[Tensor, "n d m"], b: Float[Tensor, "n d m"], needs: str) -> Float[Tensor, "n s m"]:
    """a_i b_j + a_j b_i in the second-order channels of a level."""
    if needs == "laplacian":
        return 2 * (a * b).sum(1, keepdim=True)
    if needs == "diagonal":
        return 2 * a * b
    if needs == "hessian":
        rows, columns = _pairs(a.shape[1], a.device)
        return a[:, rows] * b[:, columns] + a[:, columns] * b[:, rows]
    return a[:, :0]


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
    channels = [vmap(outputs)(x)[:, None]]
    if needs != "value":
        channels.append(vmap(jacrev(outputs))(x).transpose(1, 2))
    if orders_of(needs) == 3:
        second = vmap(hessian(outputs))(x)
        diagonal = second.diagonal(dim1=-2, dim2=-1)
        rows, columns = _pairs(d, x.device)
        kept = {
            "laplacian": diagonal.sum(-1, keepdim=True),
            "diagonal": diagonal,
            "hessian": second[..., rows, columns],
        }[needs]
        channels.append(kept.transpose(1, 2))
    return Jet(torch.cat(channels, 1), needs, d)
