"""Edges: the univariate functions phi of a layer, spline and symbolic, evaluated together.

A spline edge is phi(x) = mask (scale_base b(x^) + scale_spline sum_p coef_p B_p(x)), with x^ the input scaled
to [-1, 1] over the domain of its knots; outside it continues linearly. A symbolic edge is
mask (c f(a x + b) + d).
Tensors of edges are indexed [target subnode, source node, ...].
"""

import math
from collections import defaultdict
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from kansci.config import LayerConfig
from kansci.functions import Function, library_function
from kansci.splines import basis_values, domain_of, evaluate_basis, uniform_knots


class EdgeBasis(NamedTuple):
    """Everything that spline edges are linear in, at each point.

    Attributes:
        columns: (n, in, k + 1), numbers of the coefficients alive.
        values: (n, in, orders, k + 1), the basis functions that belong to them and their derivatives.
        base: (n, in, orders), the base function and its derivatives.
    """

    columns: Int[Tensor, "n in alive"]
    values: Float[Tensor, "n in orders alive"]
    base: Float[Tensor, "n in orders"]


class SplineEdges(nn.Module):
    """A bank of spline edges between n_in sources and n_out subnodes, initialized as in the KAN paper.

    coef ~ N(0, 0.1^2), scale_base ~ U(-s, s) with s^2 = 6 / (n_in + n_out), scale_spline = 1 and not trained.

    Attributes:
        coef: (subnode, in, grid + k), B-spline coefficients; on periodic inputs only the first `grid` are used.
        scale_base: (subnode, in), factor of the base function.
        scale_spline: (subnode, in), factor of the spline.
        mask: (subnode, in), factor of the whole edge, 0 for those that are cut.
        knots: (in, grid + 2k + 1), extended knots of each source.

    References:
        Liu et al., KAN: Kolmogorov-Arnold Networks, arXiv:2404.19756, section 2.2.
    """

    coef: Tensor
    scale_base: Tensor
    scale_spline: Tensor
    mask: Tensor
    knots: Tensor

    def __init__(self, config: LayerConfig, generator: torch.Generator) -> None:
        """Draw coefficients in float64; the domain is [-1, 1] until it is set."""
        super().__init__()
        n_in, n_out, grid, k = config.n_in, config.out.n_subnodes, config.grid, config.k
        self.config = config
        self.base = library_function(config.base)
        coef = 0.1 * torch.randn(n_out, n_in, config.n_coef, generator=generator, dtype=torch.float64)
        bound = math.sqrt(6 / (n_in + n_out))
        scale = bound * (2 * torch.rand(n_out, n_in, generator=generator, dtype=torch.float64) - 1)
        self.coef = nn.Parameter(coef)
        self.scale_base = nn.Parameter(scale, requires_grad=config.base != "zero")
        self.scale_spline = nn.Parameter(torch.ones_like(scale), requires_grad=False)
        self.register_buffer("mask", torch.ones_like(scale))
        ends = torch.ones(n_in, dtype=torch.float64)
        self.register_buffer("knots", uniform_knots(-ends, ends, grid, k))

    @property
    def domain(self) -> tuple[Float[Tensor, "in"], Float[Tensor, "in"]]:
        """Lower and upper end of each source's grid."""
        return domain_of(self.knots, self.config.k)

    @property
    def weights(self) -> Float[Tensor, "subnode in coef"]:
        """Effective coefficients: coef with scale_spline and mask folded in."""
        return self.coef * (self.scale_spline * self.mask)[..., None]

    @property
    def base_weights(self) -> Float[Tensor, "subnode in"]:
        """Effective coefficients of the base function, which is absent on periodic inputs."""
        return self.scale_base * self.mask * self.has_base

    @property
    def has_base(self) -> Float[Tensor, "in"]:
        """1 for sources with a base function, 0 for periodic ones."""
        present = torch.ones_like(self.knots[:, 0])
        present[list(self.config.periodic)] = 0
        return present

    @property
    def n_free(self) -> Int[Tensor, "in"]:
        """Coefficients of an edge from each source: on periodic inputs the last k repeat the first k."""
        count = torch.full_like(self.knots[:, 0], self.config.n_coef, dtype=torch.long)
        count[list(self.config.periodic)] = self.config.grid
        return count

    def forward(self, x: Float[Tensor, "n in"]) -> Float[Tensor, "n subnode"]:
        """Sums of the edges into each subnode, by plain differentiable operations."""
        x = self.wrap(x)
        first, values = basis_values(x, self.knots, self.config.k, uniform=self.config.uniform)
        alive = self._alive(first)
        dense = values.new_zeros(*x.shape, self.config.n_coef).scatter(-1, alive, values[..., 0, :])
        sums = torch.einsum("nip,oip->no", dense, self.weights)
        if self.config.base == "zero":
            return sums
        return sums + self._continued(self.base, x) @ self.base_weights.T

    def edge_values(self, x: Float[Tensor, "n in"]) -> Float[Tensor, "n subnode in"]:
        """The value of each edge."""
        return self.curves(x, 1)[0][..., 0, :].transpose(1, 2)

    def curves(self, x: Float[Tensor, "n in"], orders: int) -> tuple[Float[Tensor, "n in orders subnode"], EdgeBasis]:
        """phi, phi', phi'', ... of each edge, and what they are linear in.

        One backward pass through them is exact; for a second one take `forward`.
        """
        if not torch.is_grad_enabled():
            basis = self.basis(x, orders)
            return contract(basis, self.weights, self.base_weights), basis
        outputs: Any = _Curves.apply(x, self.weights, self.base_weights, self, orders)
        curves, _, columns, values, base = outputs
        return curves, EdgeBasis(columns, values[..., :orders, :], base[..., :orders])

    def basis(self, x: Float[Tensor, "n in"], orders: int) -> EdgeBasis:
        """What the edges are linear in."""
        x = self.wrap(x)
        first, values = evaluate_basis(x, self.knots, self.config.k, orders, uniform=self.config.uniform)
        return EdgeBasis(self._alive(first), values, self._base_derivatives(x, orders))

    def identifiable(self, parameter: str) -> Tensor:
        """Which elements of a parameter change the function: not those masked, tied or replaced by others."""
        if parameter == "coef":
            own = torch.arange(self.config.n_coef, device=self.coef.device) < self.n_free[:, None]
            return ((self.mask * self.scale_spline) != 0)[..., None] & own
        return (self.mask * self.has_base) != 0

    def wrap(self, x: Tensor) -> Tensor:
        """Bring periodic inputs into their period."""
        rows = list(self.config.periodic)
        if not rows:
            return x
        low, high = self.domain
        inside = low + torch.remainder(x - low, high - low)
        periodic = torch.zeros_like(low, dtype=torch.bool)
        periodic[rows] = True
        return torch.where(periodic, inside, x)

    def _alive(self, first: Tensor) -> Tensor:
        alive = first[..., None] + torch.arange(self.config.k + 1, device=first.device)
        return alive % self.n_free[:, None] if self.config.periodic else alive

    def _scaled(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low, high = self.domain
        scale = 2 / (high - low)
        return (x - low) * scale - 1, scale

    def _continued(self, f: Function, x: Tensor) -> Tensor:
        scaled, _ = self._scaled(x)
        clamped = scaled.clamp(-1, 1)
        return f(clamped) + (scaled - clamped) * f.derivatives[1](clamped)

    def _base_derivatives(self, x: Tensor, orders: int) -> Tensor:
        if self.config.base == "zero":
            return x.new_zeros(*x.shape, orders)
        scaled, scale = self._scaled(x)
        clamped = scaled.clamp(-1, 1)
        inside = scaled == clamped
        values = [scale**m * self.base.derivatives[m](clamped) * (inside if m > 1 else 1) for m in range(orders)]
        values[0] = self._continued(self.base, x)
        return torch.stack(values, -1)


def contract(basis: EdgeBasis, weights: Tensor, base_weights: Tensor) -> Float[Tensor, "n in orders subnode"]:
    """Edges from their basis and their effective coefficients."""
    curves = basis.values @ _gather_rows(weights, basis.columns)
    return torch.addcmul(curves, basis.base[..., None], base_weights.T[:, None])


class _Curves(torch.autograd.Function):
    """phi and its derivatives; the derivative of phi^(m) is phi^(m + 1), computed in the same sweep."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weights: Tensor, base_weights: Tensor, edges: SplineEdges, orders: int) -> Any:
        basis = edges.basis(x, orders + 1)
        curves = contract(basis, weights, base_weights)
        return curves[..., :orders, :].contiguous(), curves, *basis

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, weights, _, _, orders = inputs
        _, *rest = output
        ctx.mark_non_differentiable(*rest)
        ctx.save_for_backward(*rest)
        ctx.orders, ctx.shape = orders, weights.shape

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradient, *_ = gradients
        curves, columns, values, base = ctx.saved_tensors
        dx = dweights = dbase = None
        if ctx.needs_input_grad[0]:
            dx = (gradient * curves[..., 1:, :]).sum((-2, -1))
        if ctx.needs_input_grad[1]:
            local = values[..., : ctx.orders, :].transpose(-1, -2) @ gradient
            dweights = _scatter_rows(local, columns, ctx.shape)
        if ctx.needs_input_grad[2]:
            dbase = torch.einsum("niq,niqo->oi", base[..., : ctx.orders], gradient)
        return dx, dweights, dbase, None, None


def _gather_rows(weights: Tensor, columns: Tensor) -> Tensor:
    """(n, in, k + 1, subnode): the coefficients alive at each point."""
    table = weights.permute(1, 2, 0).flatten(0, 1)
    return table[_flat_columns(columns, weights.shape[2])]


def _scatter_rows(rows: Tensor, columns: Tensor, shape: torch.Size) -> Tensor:
    """The adjoint of `_gather_rows`."""
    subnodes, n_in, n_coef = shape
    table = rows.new_zeros(n_in * n_coef, subnodes)
    table.index_add_(0, _flat_columns(columns, n_coef).flatten(), rows.flatten(0, -2))
    return table.view(n_in, n_coef, subnodes).permute(2, 0, 1)


def _flat_columns(columns: Tensor, n_coef: int) -> Tensor:
    return columns + n_coef * torch.arange(columns.shape[1], device=columns.device)[:, None]


class SymbolGroup(NamedTuple):
    """The symbolic edges that share a function."""

    function: Function
    targets: list[int]
    sources: list[int]

    @property
    def idle(self) -> float:
        """A point inside the function's domain, where masked edges are evaluated: 0 times NaN would be NaN."""
        low, high = self.function.domain
        if math.isfinite(high - low):
            return (low + high) / 2
        return min(max(0.5, low + 0.5), high - 0.5)


class SymbolicEdges(nn.Module):
    """The symbolic edges of a layer: c f(a x + b) + d, one call for each distinct f.

    Attributes:
        affine: (subnode, in, 4), the constants a, b, c, d; those of edges without a function are unused.
        mask: (subnode, in), factor of the whole edge, 0 for those that are cut.
        groups: the edges of each function.
    """

    affine: Tensor
    mask: Tensor

    def __init__(self, config: LayerConfig) -> None:
        """Every edge starts as f itself: a = c = 1, b = d = 0."""
        super().__init__()
        shape = (config.out.n_subnodes, config.n_in)
        self.affine = nn.Parameter(torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64).repeat(*shape, 1))
        self.register_buffer("mask", torch.ones(shape, dtype=torch.float64))
        members: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for target, row in enumerate(config.symbols):
            for source, name in enumerate(row):
                if name:
                    members[name].append((target, source))
        self.groups = [
            SymbolGroup(library_function(name), *map(list, zip(*edges, strict=True))) for name, edges in members.items()
        ]

    def curves(self, x: Float[Tensor, "n in"], orders: int) -> list[Float[Tensor, "n orders e"]]:
        """For each group, the values and derivatives of its edges."""
        return [self._group_curves(group, x, orders) for group in self.groups]

    def _group_curves(self, group: SymbolGroup, x: Tensor, orders: int) -> Tensor:
        a, b, c, d = self.affine[group.targets, group.sources].unbind(-1)
        mask = self.mask[group.targets, group.sources]
        inner = torch.where(mask != 0, a * x[:, group.sources] + b, group.idle)
        values = [c * a**m * group.function.derivatives[m](inner) for m in range(orders)]
        values[0] = values[0] + d
        return mask * torch.stack(values, 1)

    def constants(self, group: SymbolGroup, x: Tensor, orders: int) -> Float[Tensor, "n orders e 4"]:
        """Derivatives of phi^(m) with respect to a, b, c, d."""
        a, b, c, _ = self.affine[group.targets, group.sources].unbind(-1)
        mask = self.mask[group.targets, group.sources]
        source = x[:, group.sources]
        inner = torch.where(mask != 0, a * source + b, group.idle)
        f = [derivative(inner) for derivative in group.function.derivatives[: orders + 1]]
        rows = []
        for m in range(orders):
            da = c * a**m * source * f[m + 1] + (m * c * a ** (m - 1) * f[m] if m else 0)
            rows.append(torch.stack([da, c * a**m * f[m + 1], a**m * f[m], torch.full_like(inner, m == 0)], -1))
        return mask[:, None] * torch.stack(rows, 1)

    def identifiable(self, parameter: str) -> Tensor:
        """Which of a, b, c, d change the function in a way that the others cannot."""
        free = torch.zeros_like(self.affine, dtype=torch.bool)
        for group in self.groups:
            for letter in group.function.free:
                free[group.targets, group.sources, "abcd".index(letter)] = True
        return free & (self.mask != 0)[..., None]
