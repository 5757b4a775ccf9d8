"""Edges: the univariate functions phi of a layer, spline and symbolic, evaluated together.

A spline edge is phi(x) = mask (scale_base b(x^) + scale_spline sum_p coef_p B_p(x)), with x^ the input scaled
to [-1, 1] over the domain of its knots; outside it continues linearly. A symbolic edge is
mask (c f(a x + b) + d).
Tensors of edges are indexed [target subnode, source node, ...]; points run along the last axis.

Spline edges are linear in their weights, the coefficients together with scale_base. What they are linear in, the
B-splines and the base function at the sources, is their basis; of a jet, its channels are jets. All that is ever
computed from spline edges is one bilinear map of weights and basis, `contract`, and its adjoints.
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
from kansci.jets import Jet, cross_adjoint
from kansci.splines import domain_of, evaluate_basis, uniform_knots

# Functions per target subnode above which gathering those alive beats a matrix product with all of them.
GATHER = 8


class EdgeBasis(NamedTuple):
    """The functions that edges are linear in, those alive at each point: k + 1 B-splines, then the base function.

    Attributes:
        numbers: (alive, in, n), which of the functions of each source they are.
        values: (channels, alive, in, n), the channels of their jets.
        derivatives: (orders, alive, in, n), of order 0, 1, ... with respect to the source.
    """

    numbers: Int[Tensor, "alive in n"]
    values: Float[Tensor, "channels alive in n"]
    derivatives: Float[Tensor, "orders alive in n"]


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
    def n_functions(self) -> int:
        """Functions of each source: its B-splines, and the base function if there is one."""
        return self.config.n_coef + (self.config.base != "zero")

    @property
    def weights(self) -> Float[Tensor, "subnode in functions"]:
        """What the edges are linear in their basis with."""
        return self.pack(self.coef, self.scale_base)

    def pack(
        self, coef: Float[Tensor, "subnode in coef"], scale_base: Float[Tensor, "subnode in"]
    ) -> Float[Tensor, "subnode in functions"]:
        """Weights from coefficients and factors of the base function, with scale_spline and mask folded in."""
        coef = coef * (self.scale_spline * self.mask)[..., None]
        if self.config.base == "zero":
            return coef
        base = scale_base * self.mask
        return torch.cat([coef, (base * self.has_base if self.config.periodic else base)[..., None]], 2)

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

    def forward(self, x: Float[Tensor, "in n"]) -> Float[Tensor, "subnode n"]:
        """Sums of the edges into each subnode, by plain differentiable operations."""
        return contract(self.weights, self.basis(x, 1))[0]

    def jet(self, jet: Jet) -> Jet:
        """The same as jets; one backward pass through them is exact, for a second one take `forward`."""
        return self.sums(jet, self.basis_jet(jet))

    def sums(self, jet: Jet, basis: EdgeBasis) -> Jet:
        """The same from what the edges are linear in."""
        return Jet(contract(self.weights, basis), jet.needs, jet.d)

    def edge_values(
        self, x: Float[Tensor, "in n"], orders: int = 1, weights: Tensor | None = None
    ) -> Float[Tensor, "orders subnode in n"]:
        """The value of each edge and its derivatives, for other weights if some are given."""
        numbers, _, derivatives = self.basis(x, orders)
        return (_alive(self.weights if weights is None else weights, numbers) * derivatives[:, None]).sum(2)

    def basis_jet(self, jet: Jet) -> EdgeBasis:
        """What the edges are linear in, at sources that are themselves jets."""
        if not (torch.is_grad_enabled() and jet.channels.requires_grad):
            basis = self.basis(jet.channels[0], jet.orders)
            return basis._replace(values=_compose(jet, basis.derivatives))
        outputs: Any = _BasisJet.apply(jet.channels, self, jet.needs, jet.d)
        values, numbers, derivatives = outputs
        return EdgeBasis(numbers, values, derivatives)

    def basis(self, x: Float[Tensor, "in n"], orders: int) -> EdgeBasis:
        """What the edges are linear in at x, by plain differentiable operations."""
        x = self.wrap(x)
        first, values = evaluate_basis(x, self.knots, self.config.k, orders, uniform=self.config.uniform)
        numbers = first + torch.arange(self.config.k + 1, device=x.device)[:, None, None]
        if self.config.periodic:
            numbers = numbers % self.n_free[:, None]
        if self.config.base != "zero":
            last = torch.full_like(first, self.config.n_coef)
            numbers = torch.cat([numbers, last[None]])
            values = torch.cat([values, self._base(x, orders)[:, None]], 1)
        return EdgeBasis(numbers, values[:1], values)

    def splines_at(self, x: Float[Tensor, "in n"]) -> Float[Tensor, "in coef n"]:
        """Values of all B-splines."""
        numbers, values, _ = self.basis(x, 1)
        alive = self.config.k + 1
        splines = EdgeBasis(numbers[:alive], values[:, :alive], values[:, :alive])
        return _all_functions(splines, self.config.n_coef).view(len(x), self.config.n_coef, -1)

    def identifiable(self, parameter: str) -> Tensor:
        """Which elements of a parameter change the function: not those masked, tied or replaced by others."""
        if parameter == "coef":
            own = torch.arange(self.config.n_coef, device=self.coef.device) < self.n_free[:, None]
            return ((self.mask * self.scale_spline) != 0)[..., None] & own
        return (self.mask * self.has_base * (self.config.base != "zero")) != 0

    def wrap(self, x: Float[Tensor, "in n"]) -> Float[Tensor, "in n"]:
        """Bring periodic inputs into their period."""
        rows = list(self.config.periodic)
        if not rows:
            return x
        low, high = domain_of(self.knots[..., None], self.config.k)
        inside = low + torch.remainder(x - low, high - low)
        periodic = torch.zeros_like(low, dtype=torch.bool)
        periodic[rows] = True
        return torch.where(periodic, inside, x)

    def _base(self, x: Float[Tensor, "in n"], orders: int) -> Float[Tensor, "orders in n"]:
        """The base function of sources scaled to [-1, 1], linear outside, and its derivatives."""
        low, high = domain_of(self.knots[..., None], self.config.k)
        scale = 2 / (high - low)
        scaled = (x - low) * scale - 1
        inside = scaled.clamp(-1, 1)
        outside = scaled - inside
        value, slope, *others = self.base.jet(inside, max(orders, 2) - 1)
        if orders == 1:
            return (value + outside * slope)[None]
        within = outside == 0
        curved = [scale**m * own * within for m, own in enumerate(others, 2)]
        return torch.stack([value + outside * slope, scale * slope, *curved])


def contract(weights: Float[Tensor, "subnode in functions"], basis: EdgeBasis) -> Float[Tensor, "channels subnode n"]:
    """sum_ip w_oip b_cip: edges of the given weights, summed over their sources.

    Layers with few targets gather the weights of the functions alive at each point, at a cost that does not grow with
    the grid; others are one matrix product with all functions, most of them zero at a point.
    """
    n_out, _, n_functions = weights.shape
    if _gathers(n_out, n_functions):
        return (_alive(weights, basis.numbers) * basis.values[:, None]).sum((2, 3))
    return weights.flatten(1) @ _all_functions(basis, n_functions)


def contract_adjoint(
    seeds: Float[Tensor, "channels subnode n"], basis: EdgeBasis, n_functions: int
) -> Float[Tensor, "subnode in functions"]:
    """sum_cn s_con b_cip: derivatives of seeded sums with respect to the weights."""
    n_out, n_in = seeds.shape[1], basis.numbers.shape[1]
    if _gathers(n_out, n_functions):
        local = (seeds[:, :, None, None] * basis.values[:, None]).sum(0)
        flat = _flat(basis.numbers, n_functions).flatten()
        found = local.new_zeros(n_out, n_in * n_functions).index_add_(1, flat, local.flatten(1))
    else:
        dense = _all_functions(basis, n_functions)
        found = sum(
            (own @ other.T for own, other in zip(seeds, dense, strict=True)), torch.zeros((), device=dense.device)
        )
    return found.view(n_out, n_in, n_functions)


def places(numbers: Int[Tensor, "alive in n"], n_functions: int) -> Int[Tensor, "places"]:
    """Where the functions alive at each point stand among all of them in a flat (in, functions, n)."""
    _, n_in, n = numbers.shape
    start = (
        torch.arange(n, device=numbers.device) + n * n_functions * torch.arange(n_in, device=numbers.device)[:, None]
    )
    return torch.add(start, numbers, alpha=n).flatten()


def _gathers(n_out: int, n_functions: int) -> bool:
    return n_out * GATHER < n_functions


def _flat(numbers: Int[Tensor, "alive in n"], n_functions: int) -> Int[Tensor, "alive in n"]:
    return numbers + n_functions * torch.arange(numbers.shape[1], device=numbers.device)[:, None]


def _alive(weights: Tensor, numbers: Int[Tensor, "alive in n"]) -> Float[Tensor, "subnode alive in n"]:
    """The weights that belong to the functions alive at each point."""
    flat = _flat(numbers, weights.shape[2]).flatten()
    return weights.flatten(1).index_select(1, flat).view(len(weights), *numbers.shape)


def _all_functions(basis: EdgeBasis, n_functions: int) -> Float[Tensor, "channels functions n"]:
    """All functions of all sources at each point."""
    channels, _, n_in, n = basis.values.shape
    flat = places(basis.numbers, n_functions).expand(channels, -1)
    zeros = basis.values.new_zeros(1).expand(channels, n_in * n_functions * n)
    return zeros.scatter(1, flat, basis.values.flatten(1)).view(channels, n_in * n_functions, n)


def _compose(jet: Jet, values: Float[Tensor, "orders alive in n"]) -> Float[Tensor, "channels alive in n"]:
    """phi(y) for several functions phi of each source y, from their derivatives: `Jet.apply` for all at once."""
    y = jet.channels
    found = values.new_empty(len(y), *values.shape[1:])
    found[0] = values[0]
    if len(y) > 1:
        torch.mul(y[1:, None], values[1], out=found[1:])
    if jet.orders == 3:
        found[1 + jet.d :].addcmul_(jet.squares()[:, None], values[2])
    return found


class _BasisJet(torch.autograd.Function):
    """Jets of a basis; the derivative of its m-th derivative is the (m + 1)-th, computed in the same sweep."""

    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, edges: SplineEdges, needs: str, d: int) -> Any:
        jet = Jet(y, needs, d)
        numbers, _, derivatives = edges.basis(y[0], jet.orders + 1)
        return _compose(jet, derivatives), numbers, derivatives

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        y, _, ctx.needs, ctx.d = inputs
        _, numbers, values = output
        ctx.mark_non_differentiable(numbers, values)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(y, values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradient, *_ = gradients
        y, values = ctx.saved_tensors
        return (
            None if gradient is None else _compose_adjoint(Jet(y, ctx.needs, ctx.d), values, gradient),
            None,
            None,
            None,
        )


def _compose_adjoint(
    jet: Jet, values: Float[Tensor, "orders alive in n"], seeds: Float[Tensor, "channels alive in n"]
) -> Float[Tensor, "channels in n"]:
    """Derivatives of sum_c seeds_c phi(y)_c with respect to the channels of y; one order more than `_compose`."""
    y, d = jet.channels, jet.d
    found = _sum_alive(seeds, values[1])
    if len(y) > 1:
        slopes = _sum_alive(seeds[1:], values[2])
        found[0] += (slopes * y[1:]).sum(0)
        if jet.orders == 3:
            found[1 : 1 + d] += cross_adjoint(y[1 : 1 + d], slopes[d:], jet.needs)
            found[0] += (_sum_alive(seeds[1 + d :], values[3]) * jet.squares()).sum(0)
    return found


def _sum_alive(
    a: Float[Tensor, "channels alive in n"], b: Float[Tensor, "alive in n"]
) -> Float[Tensor, "channels in n"]:
    total = a[:, 0] * b[0]
    for own, other in zip(a.unbind(1)[1:], b[1:], strict=True):
        total.addcmul_(own, other)
    return total


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

    def jets(self, jet: Jet) -> list[Jet]:
        """For each group, the jets of its edges."""
        return [
            jet.select(group.sources).apply(self.derivatives(group, jet.channels[0], jet.orders))
            for group in self.groups
        ]

    def derivatives(self, group: SymbolGroup, x: Float[Tensor, "in n"], orders: int) -> Float[Tensor, "orders e n"]:
        """Values and derivatives of the edges of a group."""
        a, b, c, d = self._constants(group)
        mask = self._mask(group)
        inner = torch.where(mask != 0, a * x[group.sources] + b, group.idle)
        values = [c * a**m * f for m, f in enumerate(group.function.jet(inner, orders - 1))]
        values[0] = values[0] + d
        return mask * torch.stack(values)

    def constant_derivatives(
        self, group: SymbolGroup, x: Float[Tensor, "in n"], orders: int
    ) -> Float[Tensor, "z orders e n"]:
        """Derivatives of phi^(m) with respect to z = a, b, c, d."""
        a, b, c, _ = self._constants(group)
        mask = self._mask(group)
        source = x[group.sources]
        inner = torch.where(mask != 0, a * source + b, group.idle)
        f = group.function.jet(inner, orders)
        rows = []
        for m in range(orders):
            da = c * a**m * source * f[m + 1] + (m * c * a ** (m - 1) * f[m] if m else 0)
            rows.append(torch.stack([da, c * a**m * f[m + 1], a**m * f[m], torch.full_like(inner, m == 0)]))
        return mask * torch.stack(rows, 1)

    def _constants(self, group: SymbolGroup) -> tuple[Tensor, ...]:
        return self.affine[group.targets, group.sources].T[..., None].unbind()

    def _mask(self, group: SymbolGroup) -> Tensor:
        return self.mask[group.targets, group.sources][:, None]

    def identifiable(self, parameter: str) -> Tensor:
        """Which of a, b, c, d change the function in a way that the others cannot."""
        free = torch.zeros_like(self.affine, dtype=torch.bool)
        for group in self.groups:
            for letter in group.function.free:
                free[group.targets, group.sources, "abcd".index(letter)] = True
        return free & (self.mask != 0)[..., None]
