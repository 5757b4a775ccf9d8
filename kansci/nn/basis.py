"""Jets of what spline edges are linear in, and the bilinear map of weights and basis that every layer is.

The sums of a layer are s_co = sum_ip w_oip b_cip, with b_ci the jets of the B-splines and of the base function at
source i, of which k + 2 are alive at a point. Layers with few targets first form the curves of each edge from the
weights of the functions alive, at a cost that does not grow with the grid; others compose all jets of the basis, and
are one matrix product with all functions, most of them zero at a point. Sources are in units of the grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from kansci.jets import Jet, cross_adjoint

# Functions per target subnode above which gathering those alive beats a matrix product with all of them.
GATHER = 8


@dataclass(frozen=True)
class EdgeBasis:
    """The functions that edges are linear in, those alive at each point: k + 1 B-splines, then the base function.

    Attributes:
        sources: jets of the sources, in units of the grid.
        scale: (in, 1), these units in a unit of the source.
        splines: (in, k + 1, n), which of the B-splines of each source are alive.
        within: (in, n), 1 on the grid, 0 where edges continue linearly.
        derivatives: (in, orders, alive, n), of order 0, 1, ...; those of order 2 and more hold on the grid only.
        n_functions: number of functions of each source, alive or not.
    """

    sources: Jet
    scale: Float[Tensor, "in 1"]
    splines: Int[Tensor, "in splines n"]
    within: Float[Tensor, "in n"]
    derivatives: Float[Tensor, "in orders alive n"]
    n_functions: int

    @property
    def nbytes(self) -> int:
        """Memory that it takes once it has been used."""
        dense = self.sources.channels.nbytes * self.n_functions
        return sum(own.nbytes for own in (self.sources.channels, self.splines, self.derivatives)) + dense

    @property
    def numbers(self) -> Int[Tensor, "in alive n"]:
        """Numbers of the functions alive, the base function being the last."""
        if self.derivatives.shape[2] == self.splines.shape[1]:
            return self.splines
        return torch.cat([self.splines, self.splines.new_full(self.splines[:, :1].shape, self.n_functions - 1)], 1)

    @property
    def places(self) -> Int[Tensor, "in places"]:
        """Where the functions alive stand among all of their source."""
        return in_functions(self.numbers)

    @cached_property
    def dense(self) -> Float[Tensor, "channels functions n"]:
        """Jets of all functions of all sources, alive or not."""
        values = compose(self.sources, self.within, self.derivatives)
        return all_functions(values, self.places, self.n_functions).flatten(1, 2)

    def curves(self, weights: Float[Tensor, "subnode in functions"]) -> Float[Tensor, "in orders subnode n"]:
        """phi, phi', phi'', ... of each edge, with respect to sources in units of the grid."""
        alive = gather_weights(weights, self.numbers).transpose(0, 1)[:, None]
        total = self.derivatives[:, :, 0, None] * alive[:, :, :, 0]
        for number in range(1, alive.shape[3]):
            total.addcmul_(self.derivatives[:, :, number, None], alive[:, :, :, number])
        return total


@runtime_checkable
class MakesBasis(Protocol):
    """What `EdgeSums` asks of edges."""

    def basis(self, jet: Jet, *, adjoint: bool = False) -> EdgeBasis:
        """What the edges are linear in at jets of the sources; with one more derivative for adjoints."""
        ...


class EdgeSums(torch.autograd.Function):
    """Jets of the sums of edges; the adjoint of a derivative of order m is the one of order m + 1."""

    @staticmethod
    def forward(channels: Tensor, weights: Tensor, edges: MakesBasis, needs: str, d: int) -> Any:
        """The jets, and the basis."""
        basis = edges.basis(Jet(channels, needs, d), adjoint=channels.requires_grad)
        return contract(weights, basis), basis

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep what the adjoint needs."""
        _, weights, *_ = inputs
        basis = output[1]
        ctx.set_materialize_grads(False)
        ctx.basis = basis
        ctx.save_for_backward(weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Adjoints of the sources and of the weights."""
        seeds, _ = gradients
        (weights,) = ctx.saved_tensors
        channels = found = None
        if seeds is not None and ctx.needs_input_grad[0]:
            channels = source_adjoint(seeds, weights, ctx.basis)
        if seeds is not None and ctx.needs_input_grad[1]:
            found = contract_adjoint(seeds, ctx.basis)
        return channels, found, None, None, None


def contract(weights: Float[Tensor, "subnode in functions"], basis: EdgeBasis) -> Float[Tensor, "channels subnode n"]:
    """s_co = sum_ip w_oip b_cip."""
    if gathers(len(weights), basis.n_functions):
        return compose(basis.sources, basis.within, basis.curves(weights)).sum(1)
    return _batched(weights.flatten(1), basis.dense)


def contract_adjoint(
    seeds: Float[Tensor, "channels subnode n"], basis: EdgeBasis
) -> Float[Tensor, "subnode in functions"]:
    """sum_cn s_con b_cip: derivatives of seeded sums with respect to the weights."""
    n_out, n_in = seeds.shape[1], len(basis.scale)
    if gathers(n_out, basis.n_functions):
        local = weigh(order_seeds(seeds, basis), basis.derivatives)
        flat = basis.numbers.flatten(1).expand(n_out, -1, -1)
        found = local.new_zeros(n_out, n_in, basis.n_functions).scatter_add_(2, flat, local.flatten(2))
    else:
        found = torch.bmm(seeds, basis.dense.transpose(1, 2)).sum(0)
    return found.view(n_out, n_in, basis.n_functions)


def source_adjoint(
    seeds: Float[Tensor, "channels subnode n"], weights: Float[Tensor, "subnode in functions"], basis: EdgeBasis
) -> Float[Tensor, "channels in n"]:
    """Derivatives of seeded sums with respect to the sources, in their own units."""
    if gathers(len(weights), basis.n_functions):
        found = compose_adjoint(basis, basis.curves(weights), seeds[:, None])
    else:
        dense = _batched(weights.flatten(1).T, seeds).view(len(seeds), len(basis.scale), -1)
        alive = dense.gather(2, basis.places.expand(len(seeds), -1, -1))
        found = compose_adjoint(basis, basis.derivatives, alive.view(len(seeds), *basis.numbers.shape))
    return found.mul_(basis.scale)


def _batched(matrix: Float[Tensor, "a b"], channels: Float[Tensor, "c b n"]) -> Float[Tensor, "c a n"]:
    """The matrix times every channel; `@` would copy the channels."""
    return torch.bmm(matrix.expand(len(channels), -1, -1), channels)


def gathers(n_out: int, n_functions: int) -> bool:
    """Whether a layer forms curves from gathered weights."""
    return n_out * GATHER < n_functions


def gather_weights(
    weights: Float[Tensor, "subnode in functions"], numbers: Int[Tensor, "in alive n"]
) -> Float[Tensor, "subnode in alive n"]:
    """The weights that belong to the functions alive at each point."""
    flat = numbers.flatten(1).expand(len(weights), -1, -1)
    return weights.gather(2, flat).view(len(weights), *numbers.shape)


def all_functions(
    values: Float[Tensor, "*channels in alive n"], places: Int[Tensor, "in places"], n_functions: int
) -> Float[Tensor, "*channels in functions n"]:
    """All functions of all sources at each point, from those alive, by plain differentiable operations."""
    *rows, _, n = values.shape
    zeros = values.new_zeros(1).expand(*rows, n_functions * n)
    return zeros.scatter(-1, places.expand(*rows, -1), values.flatten(-2)).view(*rows, n_functions, n)


def in_functions(numbers: Int[Tensor, "in alive n"]) -> Int[Tensor, "in places"]:
    """Where the functions alive at each point stand among all of their source in a flat (functions, n)."""
    n = numbers.shape[2]
    return torch.add(torch.arange(n, device=numbers.device), numbers, alpha=n).flatten(1)


def in_functions_after(first: Int[Tensor, "in n"], alive: int) -> Int[Tensor, "in places"]:
    """The same for so many functions that follow each other."""
    n = first.shape[1]
    start = torch.add(torch.arange(n, device=first.device), first, alpha=n)
    return (start[:, None] + n * torch.arange(alive, device=first.device)[:, None]).flatten(1)


def compose(
    y: Jet, within: Float[Tensor, "in n"], derivatives: Float[Tensor, "in orders f n"]
) -> Float[Tensor, "channels in f n"]:
    """phi(y) for f functions phi of each source, from phi, phi' and phi'': `Jet.apply` for all at once."""
    channels = y.channels
    if y.needs == "value":
        return derivatives[None, :, 0]
    n_in, _, functions, n = derivatives.shape
    found = derivatives.new_empty(len(channels), n_in, functions, n)
    found[0] = derivatives[:, 0]
    torch.mul(channels[1:, :, None], derivatives[:, 1], out=found[1:])
    if y.orders == 3:
        found[1 + y.d :].addcmul_((y.squares() * within)[:, :, None], derivatives[:, 2])
    return found


def compose_adjoint(
    basis: EdgeBasis, derivatives: Float[Tensor, "in orders f n"], seeds: Float[Tensor, "channels _ f n"]
) -> Float[Tensor, "channels in n"]:
    """Derivatives of sum_c seeds_c phi(y)_c with respect to the channels of y; one order more than `compose`."""
    y, d, within = basis.sources.channels, basis.sources.d, basis.within
    found = _sum_functions(seeds, derivatives[:, 1])
    if len(y) == 1:
        return found
    slopes = _sum_functions(seeds[1:], derivatives[:, 2]) * within
    found[0] += (slopes * y[1:]).sum(0)
    if basis.sources.orders == 3:
        found[1 : 1 + d] += cross_adjoint(y[1 : 1 + d], slopes[d:], basis.sources.needs)
        curved = _sum_functions(seeds[1 + d :], derivatives[:, 3]) * within
        found[0] += (curved * basis.sources.squares()).sum(0)
    return found


def order_seeds(seeds: Float[Tensor, "channels subnode n"], basis: EdgeBasis) -> list[Float[Tensor, "subnode _ n"]]:
    """Derivatives of seeded sums with respect to phi, phi', phi'' of each edge."""
    y = basis.sources.channels
    found = [seeds[0][:, None]]
    if len(y) > 1:
        found.append(outer(seeds[1:], y[1:]))
    if basis.sources.orders == 3:
        found.append(outer(seeds[1 + basis.sources.d :], basis.sources.squares() * basis.within))
    return found


def weigh(
    seeds: Sequence[Float[Tensor, "subnode _ n"]], derivatives: Float[Tensor, "in orders alive n"]
) -> Float[Tensor, "subnode in alive n"]:
    """sum_q seeds_qoi b_qia."""
    total = seeds[0][:, :, None] * derivatives[:, 0]
    for order, own in enumerate(seeds[1:], 1):
        total.addcmul_(own[:, :, None], derivatives[:, order])
    return total


def outer(
    seeds: Float[Tensor, "channels subnode n"], y: Float[Tensor, "channels in n"]
) -> Float[Tensor, "subnode in n"]:
    """sum_c seeds_co y_ci."""
    total = seeds[0][:, None] * y[0]
    for own, other in zip(seeds[1:], y[1:], strict=True):
        total.addcmul_(own[:, None], other)
    return total


def _sum_functions(a: Float[Tensor, "channels _ f n"], b: Float[Tensor, "in f n"]) -> Float[Tensor, "channels in n"]:
    total = a[:, :, 0] * b[:, 0]
    for own, other in zip(a.unbind(2)[1:], b.unbind(1)[1:], strict=True):
        total.addcmul_(own, other)
    return total
