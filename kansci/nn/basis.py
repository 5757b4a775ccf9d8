"""Jets of what spline edges are linear in, and the bilinear map of weights and basis that every layer is.

The sums of a layer are s_co = sum_ip w_oip b_cip, with b_ci the jets of the B-splines and of the base function at
source i, of which k + 2 are alive at a point. There are two kinds of basis, which know the same things: one of plain
tensor operations, that autograd, torch.func and compilers can take apart, on any device, and one that leaves
everything to the kernels. A third is that of nodes with one curve each, which are not summed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import forward_ad

from kansci.jets import Jet, second_pairs
from kansci.nn.kernels import Edges, Kernels

# Functions per target subnode above which gathering those alive beats a matrix product with all of them.
GATHER = 8
# Parts of the work of one source and all others that a sum over points is split into.
PARTS = 64


@runtime_checkable
class Basis(Protocol):
    """What edges are linear in, at jets of their sources."""

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        ...

    def sums(self, weights: Float[Tensor, "subnode in functions"]) -> Float[Tensor, "channels subnode n"]:
        """s_co = sum_ip w_oip b_cip."""
        ...

    def weight_adjoint(self, seeds: Float[Tensor, "channels subnode n"]) -> Float[Tensor, "subnode in functions"]:
        """sum_cn g_con b_cipn: derivatives of seeded sums with respect to the weights."""
        ...

    def weight_squares(self, seeds: Float[Tensor, "channels subnode n"]) -> Float[Tensor, "subnode in functions"]:
        """sum_n (sum_c g_con b_cipn)^2."""
        ...

    def columns(
        self,
        seeds: Float[Tensor, "channels subnode n"],
        splines: Float[Tensor, "subnode in splines n"] | None,
        base: Float[Tensor, "subnode in n"] | None,
    ) -> None:
        """Write sum_c g_con b_cipn, point by point, of the splines and of the base function."""
        ...

    def plain(self) -> "PlainBasis | NodeBasis":
        """The functions alive at each point as tensors."""
        ...


@dataclass(frozen=True)
class PlainBasis:
    """The functions alive at each point: k + 1 B-splines, then the base function.

    Attributes:
        values: (channels, in, alive, n), their jets.
        numbers: (in, alive, n), which of all functions of their source they are, the base function being the last.
        n_functions: number of functions of each source, alive or not.
    """

    values: Float[Tensor, "channels in alive n"]
    numbers: Int[Tensor, "in alive n"]
    n_functions: int

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return self.values.nbytes + self.numbers.nbytes

    def sums(
        self, weights: Float[Tensor, "subnode in functions"], bias: Float[Tensor, "subnode"] | None = None
    ) -> Float[Tensor, "channels subnode n"]:
        """s_co = sum_ip w_oip b_cip, and the bias on top of the value."""
        if gathers(len(weights), self.n_functions):
            alive = gather_weights(weights, self.numbers)
            found = [(alive * own).sum((1, 2)) for own in self.values]
        else:
            found = [weights.flatten(1) @ own for own in self._dense.flatten(1, 2)]
        if bias is not None:
            found[0] = found[0] + bias[:, None]
        return torch.stack(found)

    def detached(self) -> "PlainBasis":
        """The same as constants."""
        return replace(self, values=self.values.detach())

    def plain(self) -> "PlainBasis":
        """Itself."""
        return self

    def weight_adjoint(self, seeds: Float[Tensor, "channels subnode n"]) -> Float[Tensor, "subnode in functions"]:
        """sum_cn g_con b_cipn: derivatives of seeded sums with respect to the weights."""
        return torch.einsum("con,cipn->oip", seeds, self._dense)

    def weight_squares(self, seeds: Float[Tensor, "channels subnode n"]) -> Float[Tensor, "subnode in functions"]:
        """sum_n (sum_c g_con b_cipn)^2."""
        return torch.stack([self._columns(seeds, number).square().sum(-1) for number in range(seeds.shape[1])])

    def columns(
        self,
        seeds: Float[Tensor, "channels subnode n"],
        splines: Float[Tensor, "subnode in splines n"] | None,
        base: Float[Tensor, "subnode in n"] | None,
    ) -> None:
        """Write sum_c g_con b_cipn, point by point, of the splines and of the base function."""
        for number in range(seeds.shape[1]):
            found = self._columns(seeds, number)
            if splines is not None:
                splines[number] = found[:, : splines.shape[2]]
            if base is not None:
                base[number] = found[:, -1]

    def _columns(self, seeds: Float[Tensor, "channels subnode n"], number: int) -> Float[Tensor, "in functions n"]:
        found = torch.einsum("cn,cian->ian", seeds[:, number], self.values)
        return all_functions(found, in_functions(self.numbers), self.n_functions)

    @property
    def _dense(self) -> Float[Tensor, "channels in functions n"]:
        return all_functions(self.values, in_functions(self.numbers), self.n_functions)


@dataclass(frozen=True)
class NodeBasis:
    """The B-splines alive at nodes with one curve each: y_mi = sum_p w_ip b_mip, no sums over nodes.

    In place of channels stand derivatives m with respect to the nodes themselves; there is one target, so to speak.

    Attributes:
        values: (orders, in, alive, n), the derivatives.
        numbers: (in, alive, n), which of all functions of their node they are.
        n_functions: number of functions of each node, alive or not.
    """

    values: Float[Tensor, "orders in alive n"]
    numbers: Int[Tensor, "in alive n"]
    n_functions: int

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return self.values.nbytes + self.numbers.nbytes

    def sums(self, weights: Float[Tensor, "1 in functions"]) -> Float[Tensor, "orders in n"]:
        """y_mi = sum_p w_ip b_mip."""
        return (gather_weights(weights, self.numbers)[0] * self.values).sum(2)

    def weight_adjoint(self, seeds: Float[Tensor, "orders in n"]) -> Float[Tensor, "1 in functions"]:
        """sum_mn g_min b_mipn: derivatives of seeded curves with respect to the weights."""
        return self._columns(seeds).sum(-1)[None]

    def weight_squares(self, seeds: Float[Tensor, "orders in n"]) -> Float[Tensor, "1 in functions"]:
        """sum_n (sum_m g_min b_mipn)^2."""
        return self._columns(seeds).square().sum(-1)[None]

    def columns(
        self,
        seeds: Float[Tensor, "orders in n"],
        splines: Float[Tensor, "1 in splines n"] | None,
        base: Float[Tensor, "1 in n"] | None,
    ) -> None:
        """Write sum_m g_min b_mipn, point by point; there is no base function."""
        if splines is not None:
            splines[0] = self._columns(seeds)

    def plain(self) -> "NodeBasis":
        """Itself."""
        return self

    def _columns(self, seeds: Float[Tensor, "orders in n"]) -> Float[Tensor, "in functions n"]:
        found = torch.einsum("min,mian->ian", seeds, self.values)
        return all_functions(found, in_functions(self.numbers), self.n_functions)


class CompiledBasis:
    """The same at the points of CPU tensors, by the kernels; functions are evaluated as often as they are needed."""

    def __init__(
        self,
        library: Kernels,
        counts: dict[str, int],
        arrays: dict[str, Tensor],
        slopes: tuple[float, float],
        plain: Callable[[], PlainBasis],
    ) -> None:
        """Keep the numbers and arrays of `kernels.Edges`, without those that shapes tell, and the other way to them."""
        self.plain = plain
        self._library, self._arrays, self._sources = library, arrays, arrays["jets"]
        channels, n_in, points = self._sources.shape
        shapes = {"channels": channels, "sources": n_in, "points": points, "pairs": len(arrays["pair"])}
        addresses = {name: own.data_ptr() for name, own in arrays.items()}
        self._edges = Edges(slopes=slopes, **shapes, **counts, **addresses)

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return sum(own.nbytes for own in self._arrays.values())

    def sums(
        self, weights: Float[Tensor, "subnode in functions"], bias: Float[Tensor, "subnode"] | None = None
    ) -> Float[Tensor, "channels subnode n"]:
        """s_co = sum_ip w_oip b_cip, and the bias on top of the value."""
        channels, _, n = self._sources.shape
        found = self._sources.new_empty(channels, len(weights), n)
        self._run("sums", len(weights), _by_source(weights), None if bias is None else bias.contiguous(), found)
        return found

    def source_adjoint(
        self, weights: Float[Tensor, "subnode in functions"], seeds: Float[Tensor, "channels subnode n"]
    ) -> Float[Tensor, "channels in n"]:
        """Derivatives of seeded sums with respect to the sources, in their own units."""
        found = torch.empty_like(self._sources)
        self._run("source_adjoint", len(weights), _by_source(weights), seeds.contiguous(), found)
        return found

    def weight_adjoint(self, seeds: Float[Tensor, "channels subnode n"]) -> Float[Tensor, "subnode in functions"]:
        """sum_cn g_con b_cipn: derivatives of seeded sums with respect to the weights."""
        return self._in_parts("weight_adjoint", seeds)

    def weight_squares(self, seeds: Float[Tensor, "channels subnode n"]) -> Float[Tensor, "subnode in functions"]:
        """sum_n (sum_c g_con b_cipn)^2."""
        return self._in_parts("weight_squares", seeds)

    def _in_parts(self, name: str, seeds: Tensor) -> Tensor:
        n_in, n_out, tiles = self._edges.sources, seeds.shape[1], -(-self._edges.points // self._library.tile)
        parts = max(1, min(tiles, PARTS // n_in))
        found = self._sources.new_zeros(parts, n_in, n_out, self._edges.functions)
        self._run(name, n_out, parts, seeds.contiguous(), found)
        return found.sum(0).transpose(0, 1)

    def columns(
        self,
        seeds: Float[Tensor, "channels subnode n"],
        splines: Float[Tensor, "subnode in splines n"] | None,
        base: Float[Tensor, "subnode in n"] | None,
    ) -> None:
        """Write sum_c g_con b_cipn, point by point, of the splines and of the base function."""
        self._run("columns", seeds.shape[1], seeds.contiguous(), splines, base)

    def _run(self, name: str, targets: int, *arguments: Tensor | int | None) -> None:
        self._edges.targets = targets
        self._library.run(name, self._edges, *arguments)


class EdgeSums(torch.autograd.Function):
    """Jets of the sums of edges by the kernels, and the basis; derivatives of derivatives take the plain way.

    `edges` make both kinds of basis: `compiled(jet, knots, adjoint=...)` and `plain(jet, knots)`.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, channels: Tensor, weights: Tensor, bias: Tensor | None, knots: Tensor, edges: Any, needs: str, d: int
    ) -> Any:
        """The jets, and the basis."""
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(channels, weights, bias, knots)
        ctx.others = edges, needs, d
        ctx.basis = edges.compiled(Jet(channels.contiguous(), needs, d), knots, adjoint=channels.requires_grad)
        return ctx.basis.sums(weights, bias), ctx.basis

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Adjoints of the sources, of the weights and of the bias."""
        seeds, wanted = gradients[0], ctx.needs_input_grad[:3]
        saved = ctx.saved_tensors  # which also refuses tensors that were changed in place
        if seeds is None:
            return (None,) * 7
        if torch.is_grad_enabled() or is_watched() or not torch._C._has_storage(seeds):
            return *_plain_adjoints(ctx.others, saved, seeds, wanted), *(None,) * 4
        found = (
            ctx.basis.source_adjoint(saved[1], seeds) if wanted[0] else None,
            ctx.basis.weight_adjoint(seeds) if wanted[1] else None,
            seeds[0].sum(1) if wanted[2] else None,
        )
        return *found, *(None,) * 4


def _plain_adjoints(others: Any, saved: Any, seeds: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
    """The adjoints as functions of sources, weights and seeds that are differentiable if gradients are enabled."""
    channels, weights, bias, knots = saved
    edges, needs, d = others
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        sums = edges.plain(Jet(channels, needs, d), knots).sums(weights, bias)
        inputs = [own for own, used in zip((channels, weights, bias), wanted, strict=True) if used]
        found = iter(torch.autograd.grad(sums, inputs, seeds, create_graph=create_graph, allow_unused=True))
    return [next(found) if used else None for used in wanted]


def is_watched() -> bool:
    """Whether something follows tensor operations and cannot look into kernels.

    That is a compiler, a tracer, a transform of torch.func, or forward-mode differentiation.
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._get_tracing_state() is not None
        or forward_ad._current_level >= 0
    )


def _by_source(weights: Float[Tensor, "subnode in functions"]) -> Float[Tensor, "in subnode functions"]:
    return weights.transpose(0, 1).contiguous()


@cache
def pairs_of(needs: str, d: int) -> Int[Tensor, "pairs 3"]:
    """Products y_a y_b of first derivatives that are part of second-order channel c: rows (a, b, c)."""
    return torch.tensor(second_pairs(needs, d), dtype=torch.int64, device="cpu").view(-1, 3)


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


def compose(
    y: Jet, within: Float[Tensor, "in n"], derivatives: Float[Tensor, "in orders f n"]
) -> Float[Tensor, "channels in f n"]:
    """phi(y) for f functions phi of each source, from phi, phi' and phi'': `Jet.apply` for all at once."""
    value, *slopes = derivatives.unbind(1)
    parts = [value[None]]
    if slopes:
        rest = y.channels[1:, :, None] * slopes[0]
        parts += [rest[: y.d], rest[y.d :]]
    if y.orders == 3:
        parts[2] = parts[2] + (y.squares() * within)[:, :, None] * slopes[1]
    return torch.cat(parts)
