"""Jacobians of jets with respect to all unknowns, as Khatri-Rao products.

A layer is linear in its weights: its sums are s_co = sum_p w_op b_cp, with b the jets of its basis, or, in a dense
network, of its sources. So for any scalar r that depends on one point, dr / dw_op = sum_c (dr / ds_co) b_cp: the
adjoint of the sums, from one backward pass, times the basis that was needed to evaluate them. The functions of a LAN's
nodes are linear in theirs in the same way, with derivatives in place of channels. Rows of a residual depend on one
point each, so one pass serves all rows. Products with the Jacobian need its two factors only, never its entries.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from kansci.jets import Jet, jet
from kansci.nn.basis import Basis
from kansci.nn.dense import DenseLayer, DenseNetwork, node_basis
from kansci.nn.edges import SplineEdges
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.solvers.unknowns import Unknowns

# What layers are linear in, or nearly so; their other parameters are seldom trained, and are left to torch.func.
CLOSED_FORM = re.compile(r"layers\.\d+\.(splines\.(coef|scale_base)|symbols\.affine|weight|bias|scale_base)")


@runtime_checkable
class Factor(Protocol):
    """Derivatives of r residual components at n points with respect to some of a model's columns."""

    @property
    def nbytes(self) -> int:
        """Memory that the factor holds."""
        ...

    def write(self, out: Float[Tensor, "size n"], component: int) -> None:
        """Overwrite all of its columns with those of one component."""
        ...

    def apply(self, vector: Float[Tensor, "size"]) -> Float[Tensor, "r n"]:
        """Product with a vector of all columns."""
        ...

    def adjoint(self, rows: Float[Tensor, "r n"], total: Float[Tensor, "size"]) -> None:
        """Add the product of the transpose with rows."""
        ...

    def add_squares(self, total: Float[Tensor, "size"]) -> None:
        """Add the sum of squares of each column."""
        ...


@dataclass(frozen=True)
class SplineFactor:
    """Weights of the spline edges of a layer: seeds times basis.

    Attributes:
        edges: the edges.
        scale: (target), of their sums: of all subnodes, or of the one that edges of a `NodeBasis` have.
        basis: what the sums are linear in.
        seeds: (r, channels, subnode, n), derivatives of the residuals with respect to the scaled sums; or
            (r, orders, in, n), with respect to what a `NodeBasis` makes of the weights.
        places: columns of "coef" and of "scale_base", those that are trained.
    """

    edges: SplineEdges
    scale: Float[Tensor, "target"]
    basis: Basis
    seeds: Float[Tensor, "r channels subnode n"]
    places: dict[str, slice]

    @property
    def nbytes(self) -> int:
        """Memory that the factor holds."""
        return self.basis.nbytes + self.seeds.nbytes

    def write(self, out: Float[Tensor, "size n"], component: int) -> None:
        """The columns of each edge at each point."""
        n_out, n_in, _ = self.edges.coef.shape
        columns = {name: out[place].view(n_out, n_in, -1, out.shape[1]) for name, place in self.places.items()}
        splines, base = columns.get("coef"), columns.get("scale_base")
        self.basis.columns(self.seeds[component], splines, None if base is None else base[:, :, 0])
        mask = self.scale[:, None] * self.edges.mask
        if splines is not None:
            _multiply(self.edges.untied(splines), mask * self.edges.scale_spline)
        if base is not None:
            _multiply(base, mask)

    def apply(self, vector: Float[Tensor, "size"]) -> Float[Tensor, "r n"]:
        """The layer with the vector in place of its weights, times the seeds."""
        weights = torch.zeros_like(self.edges.weights)
        for name, columns in self._columns(weights):
            columns.copy_(vector[self.places[name]].view(columns.shape))
        sums = self.basis.sums(self.edges.tied(weights * self._factors))
        return (self.seeds * sums).sum((1, 2))

    def adjoint(self, rows: Float[Tensor, "r n"], total: Float[Tensor, "size"]) -> None:
        """The gradient of the layer's weights for weighted seeds."""
        seeds = (self.seeds * rows[:, None, None]).sum(0)
        weights = self.edges.untied(self.basis.weight_adjoint(seeds)) * self._factors
        for name, columns in self._columns(weights):
            total[self.places[name]] += columns.flatten()

    def add_squares(self, total: Float[Tensor, "size"]) -> None:
        """Add the sum of squares of each column; no two tied functions are alive at a point."""
        squares = torch.stack([self.basis.weight_squares(seeds) for seeds in self.seeds]).sum(0)
        for name, columns in self._columns(self.edges.untied(squares) * self._factors.square()):
            total[self.places[name]] += columns.flatten()

    @property
    def _factors(self) -> Float[Tensor, "subnode in functions"]:
        """Derivatives of the weights with respect to the parameters."""
        return self.edges.factors * self.scale[:, None, None]

    def _columns(self, weights: Float[Tensor, "subnode in functions"]) -> Iterator[tuple[str, Tensor]]:
        """The weights that belong to each trained parameter."""
        for name in self.places:
            yield name, weights[..., : self.edges.config.n_coef] if name == "coef" else weights[..., -1]


def _multiply(columns: Float[Tensor, "subnode in functions n"], factors: Float[Tensor, "subnode in"]) -> None:
    if not factors.eq(1).all():
        columns.mul_(factors[..., None, None])


@dataclass(frozen=True)
class DenseFactor:
    """Columns that are written out, (columns, r, n), of one trained tensor or of all."""

    place: slice
    columns: Float[Tensor, "columns r n"]

    @property
    def nbytes(self) -> int:
        """Memory that the factor holds."""
        return self.columns.nbytes

    def write(self, out: Float[Tensor, "size n"], component: int) -> None:
        """One component's columns."""
        out[self.place] = self.columns[:, component]

    def apply(self, vector: Float[Tensor, "size"]) -> Float[Tensor, "r n"]:
        """Product with a vector of all columns."""
        return torch.tensordot(vector[self.place], self.columns, 1)

    def adjoint(self, rows: Float[Tensor, "r n"], total: Float[Tensor, "size"]) -> None:
        """Add the product of the transpose with rows."""
        total[self.place] += self.columns.flatten(1) @ rows.flatten()

    def add_squares(self, total: Float[Tensor, "size"]) -> None:
        """Add the sum of squares of each column."""
        total[self.place] += self.columns.square().sum((1, 2))


@dataclass(frozen=True)
class WeightFactor:
    """Weights of a dense layer: seeds (r, channels, out, n) times sources (channels, in, n)."""

    place: slice
    sources: Float[Tensor, "channels in n"]
    seeds: Float[Tensor, "r channels out n"]

    @property
    def nbytes(self) -> int:
        """Memory that the factor holds."""
        return self.sources.nbytes + self.seeds.nbytes

    def write(self, out: Float[Tensor, "size n"], component: int) -> None:
        """One component's columns."""
        out[self.place] = outer(self.seeds[component], self.sources).flatten(0, 1)

    def apply(self, vector: Float[Tensor, "size"]) -> Float[Tensor, "r n"]:
        """The layer with the vector in place of its weights, times the seeds."""
        sums = vector[self.place].view(self.seeds.shape[2], -1) @ self.sources
        return torch.stack([(own * sums).sum((0, 1)) for own in self.seeds])

    def adjoint(self, rows: Float[Tensor, "r n"], total: Float[Tensor, "size"]) -> None:
        """The gradient of the layer's weights for weighted seeds."""
        seeds = (self.seeds * rows[:, None, None]).sum(0)
        total[self.place] += torch.einsum("con,cin->oi", seeds, self.sources).flatten()

    def add_squares(self, total: Float[Tensor, "size"]) -> None:
        """Add the sum of squares of each column."""
        for component in range(len(self.seeds)):
            total[self.place] += outer(self.seeds[component], self.sources).square().sum(2).flatten()


def factorize(
    unknowns: Unknowns, x: Float[Tensor, "n d"], needs: str, adjoints: Float[Tensor, "r channels m n"]
) -> list[Factor]:
    """Factors of sum_c adjoint_c (d channel_c / d unknowns) of the jet of a model.

    Args:
        unknowns: a model with the vector of its unknowns.
        x: points.
        needs: level of the jet.
        adjoints: derivatives of r residual components with respect to the channels of the jet at each point.

    Returns:
        Factors of all columns, identifiable or not.
    """
    names = list(unknowns.slices)
    if isinstance(unknowns.model, MultKAN):
        known = _factors_of_kan(unknowns, x, needs, adjoints)
    elif isinstance(unknowns.model, DenseNetwork):
        known = _factors_of_dense(unknowns, x, needs, adjoints)
    else:
        return _factors_by_torch_func(unknowns, names, x, needs, adjoints)
    others = [name for name in names if not CLOSED_FORM.fullmatch(name)]
    return [*known, *_factors_by_torch_func(unknowns, others, x, needs, adjoints)]


@torch.enable_grad()
def _factors_of_kan(unknowns: Unknowns, x: Tensor, needs: str, adjoints: Tensor) -> list[Factor]:
    model = cast(MultKAN, unknowns.model)
    jet = model.lift(x, needs)
    tape: list[tuple[Jet, Basis | None]] = []
    watched = []
    for layer in model.layers:
        subnodes, basis = layer.subnodes(jet)
        tape.append((_detached(jet), basis))
        watched.append(_watch(subnodes.channels))
        jet = layer.multiply(Jet(watched[-1], needs, jet.d))
    seeds = _seeds(jet, watched, adjoints)
    factors: list[Factor] = []
    with torch.no_grad():
        for number, (layer, (source, basis), own) in enumerate(zip(model.layers, tape, seeds, strict=True)):
            factors += _factors_of_layer(unknowns.slices, f"layers.{number}.", layer, source, basis, own)
    return factors


def _factors_of_layer(
    slices: dict[str, slice], prefix: str, layer: KANLayer, source: Jet, basis: Basis | None, seeds: Tensor
) -> list[Factor]:
    factors: list[Factor] = []
    scale = layer.maps[0]
    present = ("coef",) if layer.config.base == "zero" else ("coef", "scale_base")
    places = {name: slices[f"{prefix}splines.{name}"] for name in present if f"{prefix}splines.{name}" in slices}
    if layer.splines is not None and basis is not None and places:
        factors.append(SplineFactor(layer.splines, scale, basis, seeds, places))
    if layer.symbols is not None and f"{prefix}symbols.affine" in slices:
        columns = source.channels.new_zeros(*layer.symbols.affine.shape, len(seeds), seeds.shape[3])
        for group in layer.symbols.groups:
            curves = layer.symbols.constant_derivatives(group, source.channels[0], source.orders)
            jets = torch.stack([source.select(group.sources).apply(own).channels for own in curves])
            jets *= scale[group.targets, None]
            columns[group.targets, group.sources] = torch.einsum("rcen,zcen->ezrn", seeds[:, :, group.targets], jets)
        factors.append(DenseFactor(slices[f"{prefix}symbols.affine"], columns.flatten(0, 2)))
    return factors


@torch.enable_grad()
def _factors_of_dense(unknowns: Unknowns, x: Tensor, needs: str, adjoints: Tensor) -> list[Factor]:
    model = cast(DenseNetwork, unknowns.model)
    jet = model.lift(x, needs)
    tape: list[tuple[Jet, Jet]] = []
    sums, learned = [], []
    for layer in model.layers:
        curves = layer.curves(jet.channels[0], jet.orders)
        if layer.splines is not None:
            curves = _watch(curves)
            learned.append(curves)
        source = jet.apply(curves)
        tape.append((_detached(jet), _detached(source)))
        sums.append(_watch(source.linear(*layer.maps).channels))
        jet = Jet(sums[-1], needs, jet.d)
    seeds = _seeds(jet, [*sums, *learned], adjoints)
    of_curves = iter(seeds[len(sums) :])
    factors: list[Factor] = []
    with torch.no_grad():
        for number, (layer, (nodes, source)) in enumerate(zip(model.layers, tape, strict=True)):
            prefix = f"layers.{number}."
            factors += _factors_of_weights(unknowns.slices, prefix, layer, source, seeds[number])
            if layer.splines is not None:
                factors += _factors_of_curves(unknowns.slices, prefix, layer, nodes, next(of_curves))
    return factors


def _factors_of_weights(
    slices: dict[str, slice], prefix: str, layer: DenseLayer, source: Jet, seeds: Tensor
) -> list[Factor]:
    factors: list[Factor] = []
    if not layer.node_scale.eq(1).all():
        seeds = seeds * layer.node_scale[:, None]
    if f"{prefix}weight" in slices:
        factors.append(WeightFactor(slices[f"{prefix}weight"], source.channels, seeds))
    if f"{prefix}bias" in slices:
        factors.append(DenseFactor(slices[f"{prefix}bias"], seeds[:, 0].transpose(0, 1)))
    return factors


def _factors_of_curves(
    slices: dict[str, slice], prefix: str, layer: DenseLayer, nodes: Jet, seeds: Tensor
) -> list[Factor]:
    """From derivatives of the residuals with respect to the curves of the nodes, (r, orders, in, n)."""
    factors: list[Factor] = []
    edges, x = cast(SplineEdges, layer.splines), nodes.channels[0]
    coef, scale = slices.get(f"{prefix}splines.coef"), slices.get(f"{prefix}scale_base")
    if coef is not None:
        one = torch.ones_like(layer.weight[:1, 0])
        factors.append(SplineFactor(edges, one, node_basis(edges, x, nodes.orders), seeds, {"coef": coef}))
    if scale is not None:
        given = torch.stack(layer.activation.jet(x, nodes.orders - 1))
        factors.append(DenseFactor(scale, torch.einsum("rmin,min->irn", seeds, given)))
    return factors


def outer(
    seeds: Float[Tensor, "channels subnode n"], y: Float[Tensor, "channels in n"]
) -> Float[Tensor, "subnode in n"]:
    """sum_c seeds_co y_ci."""
    total = seeds[0][:, None] * y[0]
    for own, other in zip(seeds[1:], y[1:], strict=True):
        total.addcmul_(own[:, None], other)
    return total


def _watch(tensor: Tensor) -> Tensor:
    """A tensor where a backward pass leaves its adjoint."""
    return tensor if tensor.requires_grad else tensor.detach().requires_grad_()


def _detached(jet: Jet) -> Jet:
    return Jet(jet.channels.detach(), jet.needs, jet.d)


def _seeds(jet: Jet, watched: list[Tensor], adjoints: Tensor) -> list[Tensor]:
    """Adjoints of the watched tensors, stacked over residual components."""
    found = [
        torch.autograd.grad(jet.channels, watched, adjoint, retain_graph=True, materialize_grads=True)
        for adjoint in adjoints
    ]
    return [torch.stack(own) for own in zip(*found, strict=True)]


def _factors_by_torch_func(
    unknowns: Unknowns, names: list[str], x: Tensor, needs: str, adjoints: Tensor
) -> list[Factor]:
    """Point by point, for any parameters of any module."""
    if not names:
        return []
    model: nn.Module = unknowns.model
    trained = {name: model.get_parameter(name) for name in names}

    def gradients(point: Tensor, adjoint: Tensor) -> dict[str, Tensor]:
        def channels(values: dict[str, Tensor]) -> Tensor:
            return jet(lambda z: functional_call(model, values, (z,)), point[None], needs).channels[..., 0]

        return vjp(channels, trained)[1](adjoint)[0]

    found = [vmap(gradients)(x, adjoint.permute(2, 0, 1)) for adjoint in adjoints]
    columns = {name: torch.stack([own[name].flatten(1).T for own in found], 1) for name in names}
    return [DenseFactor(unknowns.slices[name], own) for name, own in columns.items()]
