"""Spline edges, the univariate functions phi that a layer learns; `kansci.nn.symbols` has those that are formulas.

A spline edge is phi(x) = mask (scale_base b(x^) + scale_spline sum_p coef_p B_p(x)), with x^ the input scaled
to [-1, 1] over the domain of its knots; outside it continues linearly.
Tensors of edges are indexed [target subnode, source node, ...]; points run along the last axis.

Spline edges are linear in their weights, the coefficients together with scale_base. What they are linear in, the
B-splines and the base function at the sources, is their basis, of which `kansci.nn.basis` takes jets.
"""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kansci.config import LayerConfig
from kansci.errors import DerivativeError
from kansci.functions import library_function
from kansci.jets import Jet, second_channels
from kansci.nn.basis import (
    Basis,
    CompiledBasis,
    EdgeSums,
    PlainBasis,
    all_functions,
    compose,
    gather_weights,
    in_functions,
    is_watched,
    pairs_of,
)
from kansci.nn.kernels import Kernels, kernels
from kansci.splines import (
    LocalBasis,
    Place,
    domain_of,
    extended_table,
    general_basis,
    general_pieces,
    place_on,
    positions,
    table,
    uniform_basis,
    uniform_knots,
    uniform_pieces,
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
    def weights(self) -> Float[Tensor, "subnode in functions"]:
        """What the edges are linear in their basis with: coef and scale_base, other factors and mask folded in."""
        return self._weights(self.mask)

    def _weights(self, mask: Float[Tensor, "subnode in"]) -> Float[Tensor, "subnode in functions"]:
        coef = self.coef * (self.scale_spline * mask)[..., None]
        if self.config.base == "zero":
            return coef
        scale = self.scale_base * mask
        if self.config.periodic:
            scale = scale * self.has_base
        return torch.cat([coef, scale[..., None]], 2)

    @property
    def factors(self) -> Float[Tensor, "subnode in functions"]:
        """Derivatives of the weights with respect to coef and scale_base."""
        factors = (self.mask * self.scale_spline)[..., None].expand_as(self.coef)
        if self.config.base == "zero":
            return factors
        return torch.cat([factors, (self.mask * self.has_base)[..., None]], 2)

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
        """Sums of the edges into each subnode."""
        return self.sums(Jet(x[None], "value", 0))[0].channels[0]

    def sums(
        self, jet: Jet, scale: Float[Tensor, "subnode"] | None = None, bias: Float[Tensor, "subnode"] | None = None
    ) -> tuple[Jet, Basis]:
        """scale * sums + bias as jets, and what the sums are linear in."""
        weights = self.weights if scale is None else self._weights(self.mask * scale[:, None])
        if self._library(jet.channels, weights, bias) is None:
            plain = self.plain(jet, self.knots)
            channels, basis = plain.sums(weights, bias), plain.detached()
        else:
            given = (jet.channels, self.tied(weights), bias, self.knots, self, jet.needs, jet.d)
            channels, basis = cast(Any, EdgeSums.apply(*given))
        return Jet(channels, jet.needs, jet.d), basis

    def _library(self, channels: Tensor, *others: Tensor | None) -> Kernels | None:
        """The kernels, where they apply: to numbers that are there, in the memory of the CPU, all of one dtype."""
        tensors = [channels, self.knots, *(own for own in others if own is not None)]
        if is_watched() or self.knots.requires_grad or not all(map(_is_plain, tensors)):
            return None
        if any(own.dtype != channels.dtype for own in tensors):
            return None
        # Powers of short intervals leave the range of single precision.
        fits = self.config.uniform or self.config.k <= 5 or channels.dtype == torch.float64
        return kernels(channels.dtype) if fits else None

    def edge_values(self, x: Float[Tensor, "in n"], weights: Tensor | None = None) -> Float[Tensor, "subnode in n"]:
        """The value of each edge, for other weights if some are given."""
        basis = self.plain(Jet(x[None], "value", 0), self.knots)
        alive = gather_weights(self.weights if weights is None else weights, basis.numbers)
        return (alive * basis.values[0]).sum(2)

    def plain(self, jet: Jet, knots: Float[Tensor, "in t"]) -> PlainBasis:
        """What the edges are linear in at jets of the sources, by plain differentiable operations."""
        k, grid = self.config.k, self.config.grid
        low, high = domain_of(knots[..., None], k)
        position = self._wrap(positions(jet.channels[0], knots, k))
        place = place_on(position, grid)
        sources = Jet(torch.cat([position[None], jet.channels[1:] * (grid / (high - low))]), jet.needs, jet.d)
        first, derivatives = self._functions(place, knots, jet.orders)
        within = (place.outside == 0).to(derivatives.dtype)
        return PlainBasis(compose(sources, within, derivatives), self._all_numbers(first), self.n_functions)

    @torch.no_grad()
    def compiled(self, jet: Jet, knots: Float[Tensor, "in t"], *, adjoint: bool) -> CompiledBasis:
        """The same by the kernels; with one more derivative for adjoints."""
        k, grid, dtype = self.config.k, self.config.grid, jet.channels.dtype
        arrays = {"jets": jet.channels.detach(), "knots": knots.contiguous(), "pair": pairs_of(jet.needs, jet.d)}
        if self.config.periodic:
            arrays["period"] = self._is_periodic[:, 0].long()
        if self.config.uniform:
            arrays["pieces"] = uniform_pieces(k, dtype)
        else:
            places = positions(knots, knots, k)
            arrays |= {"breaks": places[:, k : k + grid + 1].contiguous(), "pieces": general_pieces(places, k)}
        if self.config.base not in ("zero", "silu"):
            place = place_on(self._wrap(positions(jet.channels[0], knots, k)), grid)
            base = self.base.jet(place.inside * (2 / grid) - 1, jet.orders - 1 + adjoint)
            arrays["base"] = torch.stack(list(base))
        counts = {
            "second": second_channels(jet.needs, jet.d),
            "grid": grid,
            "degree": k,
            "functions": self.n_functions,
            "splines": self.config.n_coef,
        }
        plain = partial(self.plain, jet, knots)
        return CompiledBasis(cast(Kernels, kernels(dtype)), counts, arrays, self.end_slopes, plain)

    def functions_at(self, x: Float[Tensor, "in n"]) -> Float[Tensor, "in functions n"]:
        """Values of all functions, the base function being the last."""
        basis = self.plain(Jet(x[None], "value", 0), self.knots)
        return all_functions(basis.values[0], in_functions(basis.numbers), self.n_functions)

    def splines_at(self, x: Float[Tensor, "in n"]) -> Float[Tensor, "in coef n"]:
        """Values of all B-splines."""
        place = place_on(self._wrap(positions(x, self.knots, self.config.k)), self.config.grid)
        first, values = self._splines(place, self.knots, 1)
        return all_functions(values[:, 0], in_functions(self.numbers(first)), self.config.n_coef)

    def tied(self, weights: Float[Tensor, "subnode in functions"]) -> Float[Tensor, "subnode in functions"]:
        """On periodic inputs the last k coefficients repeat the first."""
        if not self.config.periodic:
            return weights
        numbers = torch.arange(self.n_functions, device=weights.device)
        own = torch.where(numbers < self.config.n_coef, numbers % self.n_free[:, None], numbers)
        return weights.gather(2, own.expand_as(weights))

    def untied(self, columns: Float[Tensor, "subnode in functions *n"]) -> Float[Tensor, "subnode in functions *n"]:
        """The adjoint of `tied`, in place."""
        for source in self.config.periodic:
            own, grid = columns[:, source], self.config.grid
            own[:, : self.config.k] += own[:, grid : self.config.n_coef]
            own[:, grid : self.config.n_coef] = 0
        return columns

    def numbers(self, first: Int[Tensor, "in n"]) -> Int[Tensor, "in alive n"]:
        """Numbers of the B-splines alive."""
        numbers = first[:, None] + torch.arange(self.config.k + 1, device=first.device)[:, None]
        return numbers % self.n_free[:, None, None] if self.config.periodic else numbers

    def _all_numbers(self, first: Int[Tensor, "in n"]) -> Int[Tensor, "in alive n"]:
        """The same with the base function, which is the last."""
        numbers = self.numbers(first)
        if self.config.base == "zero":
            return numbers
        return torch.cat([numbers, torch.full_like(numbers[:, :1], self.n_functions - 1)], 1)

    def _functions(self, place: Place, knots: Float[Tensor, "in t"], orders: int) -> LocalBasis:
        """Functions alive and their derivatives with respect to the position, the base function being the last."""
        if self.config.base == "zero":
            return self._splines(place, knots, orders)
        scale = 2 / self.config.grid
        base = self.base.jet(place.inside * scale - 1, orders - 1)
        if self.config.uniform:
            constants, factors = self._tables[orders - 1]
            return uniform_basis(place, self.config.grid, (constants.to(knots.dtype), factors.to(knots.dtype)), base)
        first, splines = self._splines(place, knots, orders)
        low, high = self.end_slopes
        outside = scale * (low * place.outside + (high - low) * place.above)
        values = [base[0] + outside, *(scale**m * own for m, own in enumerate(base) if m)]
        return LocalBasis(first, torch.cat([splines, torch.stack(values, 1)[:, :, None]], 2))

    def _splines(self, place: Place, knots: Float[Tensor, "in t"], orders: int) -> LocalBasis:
        """B-splines and their derivatives with respect to the position."""
        k = self.config.k
        if self.config.uniform:
            return uniform_basis(place, self.config.grid, table(k, orders, place.inside.dtype))
        return general_basis(place, positions(knots, knots, k), k, orders)

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


@runtime_checkable
class HasSplines(Protocol):
    """A layer of which spline edges are a part, or may be."""

    splines: SplineEdges | None


def check_degree(orders: int, layers: Iterable[HasSplines]) -> None:
    """Raise DerivativeError where second derivatives are asked for that splines do not have."""
    k = min((layer.splines.config.k for layer in layers if layer.splines is not None), default=3)
    if orders == 3 and k < 3:
        raise DerivativeError(f"second derivatives need splines of degree k >= 3, got k={k}; build with k=3 or more")


def _is_plain(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and type(tensor) in (Tensor, nn.Parameter) and not tensor.is_neg()
