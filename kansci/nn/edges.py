"""Edges: the univariate functions phi of a layer, spline and symbolic, evaluated together.

A spline edge is phi(x) = mask (scale_base b(x^) + scale_spline sum_p coef_p B_p(x)), with x^ the input scaled
to [-1, 1] over the domain of its knots; outside it continues linearly. A symbolic edge is
mask (c f(a x + b) + d).
Tensors of edges are indexed [target subnode, source node, ...]; points run along the last axis.

Spline edges are linear in their weights, the coefficients together with scale_base. What they are linear in, the
B-splines and the base function at the sources, is their basis, of which `kansci.nn.basis` takes jets.
"""

import math
from collections import defaultdict
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kansci.config import LayerConfig
from kansci.functions import Function, library_function
from kansci.jets import Jet
from kansci.nn.basis import (
    EdgeBasis,
    EdgeSums,
    all_functions,
    gather_weights,
    gathers,
    in_functions,
    in_functions_after,
)
from kansci.splines import (
    LocalBasis,
    Place,
    domain_of,
    extended_table,
    general_basis,
    place_on,
    positions,
    table,
    uniform_basis,
    uniform_knots,
)


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
        slopes = self.base.derivatives[1](torch.tensor([-1.0, 1.0], dtype=torch.float64, device="cpu"))
        self.end_slopes = (float(slopes[0]), float(slopes[1]))
        self._tables = [extended_table(k, orders, 2 / grid, self.end_slopes) for orders in (1, 2, 3, 4)]
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
    def effective_coef(self) -> Float[Tensor, "subnode in coef"]:
        """coef with scale_spline and mask folded in."""
        return self.coef * (self.scale_spline * self.mask)[..., None]

    @property
    def effective_scale(self) -> Float[Tensor, "subnode in"]:
        """scale_base with the mask folded in, zero on periodic inputs."""
        scale = self.scale_base * self.mask
        return scale * self.has_base if self.config.periodic else scale

    @property
    def weights(self) -> Float[Tensor, "subnode in functions"]:
        """What the edges are linear in their basis with: both of these."""
        if self.config.base == "zero":
            return self.effective_coef
        return torch.cat([self.effective_coef, self.effective_scale[..., None]], 2)

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
        place = place_on(self._wrap(positions(x, self.knots, self.config.k)), self.config.grid)
        first, values = self._splines(place, 1)
        coef, n_coef = self.effective_coef, self.config.n_coef
        if gathers(len(coef), n_coef):
            sums = (gather_weights(coef, self.numbers(first)) * values[:, 0]).sum((1, 2))
        else:
            sums = coef.flatten(1) @ all_functions(values[:, 0], self._places(first), n_coef).flatten(0, 1)
        if self.config.base == "zero":
            return sums
        return torch.addmm(sums, self.effective_scale, self._base_values(place))

    def sums(self, jet: Jet) -> tuple[Jet, EdgeBasis]:
        """The same as jets, and what they are linear in; one backward pass is exact, for a second take `forward`."""
        channels, basis = cast(Any, EdgeSums.apply(jet.channels, self.weights, self, jet.needs, jet.d))
        return Jet(channels, jet.needs, jet.d), basis

    @torch.no_grad()
    def edge_values(self, x: Float[Tensor, "in n"], weights: Tensor | None = None) -> Float[Tensor, "subnode in n"]:
        """The value of each edge, for other weights if some are given."""
        return (
            self.basis(Jet(x[None], "value", 0))
            .curves(self.weights if weights is None else weights)[:, 0]
            .transpose(0, 1)
        )

    @torch.no_grad()
    def basis(self, jet: Jet, *, adjoint: bool = False) -> EdgeBasis:
        """What the edges are linear in at jets of the sources; with one more derivative for adjoints."""
        k, grid, orders = self.config.k, self.config.grid, jet.orders + adjoint
        low, high = domain_of(self.knots[..., None], k)
        scale = grid / (high - low)
        channels = jet.channels * scale
        channels[0] = self._wrap(positions(jet.channels[0], self.knots, k))
        place = place_on(channels[0], grid)
        base = [] if self.config.base == "zero" else self.base.jet(place.inside * (2 / grid) - 1, orders - 1)
        if self.config.uniform:
            first, derivatives = uniform_basis(place, grid, self._table(orders), base)
        else:
            first, derivatives = self._splines(place, orders)
            if base:
                units = [(2 / grid) ** m * own for m, own in enumerate(base)]
                units[0] = self._base_values(place)
                derivatives = torch.cat([derivatives, torch.stack(units, 1)[:, :, None]], 2)
        within = (place.outside == 0).to(derivatives.dtype)
        sources = Jet(channels, jet.needs, jet.d)
        return EdgeBasis(sources, scale, self.numbers(first), within, derivatives, self.n_functions)

    def splines_at(self, x: Float[Tensor, "in n"]) -> Float[Tensor, "in coef n"]:
        """Values of all B-splines."""
        place = place_on(self._wrap(positions(x, self.knots, self.config.k)), self.config.grid)
        first, values = self._splines(place, 1)
        return all_functions(values[:, 0], self._places(first), self.config.n_coef)

    def numbers(self, first: Int[Tensor, "in n"]) -> Int[Tensor, "in alive n"]:
        """Numbers of the B-splines alive."""
        numbers = first[:, None] + torch.arange(self.config.k + 1, device=first.device)[:, None]
        return numbers % self.n_free[:, None, None] if self.config.periodic else numbers

    def _places(self, first: Int[Tensor, "in n"]) -> Int[Tensor, "in places"]:
        """Where the B-splines alive stand among all."""
        if self.config.periodic:
            return in_functions(self.numbers(first))
        return in_functions_after(first, self.config.k + 1)

    def _splines(self, place: Place, orders: int) -> LocalBasis:
        """B-splines and their derivatives with respect to the position."""
        k, dtype = self.config.k, place.inside.dtype
        if self.config.uniform:
            return uniform_basis(place, self.config.grid, table(k, orders, dtype))
        return general_basis(place, positions(self.knots, self.knots, k), k, orders)

    def _base_values(self, place: Place) -> Float[Tensor, "in n"]:
        """The base function of sources scaled to [-1, 1], linear outside."""
        low, high = self.end_slopes
        scale = 2 / self.config.grid
        values = torch.add(self.base(place.inside * scale - 1), place.outside, alpha=scale * low)
        return torch.add(values, place.above, alpha=scale * (high - low))

    def _table(self, orders: int) -> tuple[Tensor, Tensor]:
        """What `uniform_basis` needs for B-splines and base function together."""
        if self.config.base == "zero":
            return table(self.config.k, orders, self.knots.dtype)
        constants, factors = self._tables[orders - 1]
        return constants.to(self.knots.dtype), factors.to(self.knots.dtype)

    def identifiable(self, parameter: str) -> Tensor:
        """Which elements of a parameter change the function: not those masked, tied or replaced by others."""
        if parameter == "coef":
            own = torch.arange(self.config.n_coef, device=self.coef.device) < self.n_free[:, None]
            return ((self.mask * self.scale_spline) != 0)[..., None] & own
        if parameter == "scale_spline":
            return self.mask != 0
        return (self.mask * self.has_base * (self.config.base != "zero")) != 0

    def wrap(self, x: Float[Tensor, "in n"]) -> Float[Tensor, "in n"]:
        """Bring periodic inputs into their period."""
        if not self.config.periodic:
            return x
        low, high = domain_of(self.knots[..., None], self.config.k)
        return torch.where(self._is_periodic, low + torch.remainder(x - low, high - low), x)

    def _wrap(self, position: Float[Tensor, "in n"]) -> Float[Tensor, "in n"]:
        if not self.config.periodic:
            return position
        return torch.where(self._is_periodic, position.remainder(self.config.grid), position)

    @property
    def _is_periodic(self) -> Bool[Tensor, "in 1"]:
        periodic = torch.zeros(self.config.n_in, 1, dtype=torch.bool, device=self.knots.device)
        periodic[list(self.config.periodic)] = True
        return periodic


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
