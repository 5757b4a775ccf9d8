"""Jacobians of jets with respect to all unknowns, as Khatri-Rao products.

A layer is linear in its weights: its sums are s_co = sum_p w_op b_cp, with b the jets of its basis, or of its sources
in an MLP. So for any scalar r that depends on one point, dr / dw_op = sum_c (dr / ds_co) b_cp: the adjoint of the
sums, from one backward pass, times the basis that was needed to evaluate them. Rows of a residual depend on one point
each, so one pass serves all rows. Products with the Jacobian need its two factors only, never its entries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from kansci.jets import Jet, jet
from kansci.nn.baselines import MLP
from kansci.nn.edges import EdgeBasis, SplineEdges, contract, contract_adjoint, places
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.solvers.unknowns import Unknowns


class Factor(Protocol):
    """Derivatives of r residual components at n points with respect to some of a model's columns."""

    @property
    def nbytes(self) -> int:
        """Memory that the factor holds."""
        ...

    def write(self, out: Float[Tensor, "size n"], component: int) -> None:
        """Put one component's columns into their places in zeros."""
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
        jet: their sources.
        basis: what they are linear in.
        seeds: (r, channels, subnode, n), derivatives of the residuals with respect to the sums.
        places: columns of "coef" and of "scale_base", those that are trained.
    """

    edges: SplineEdges
    jet: Jet
    basis: EdgeBasis
    seeds: Float[Tensor, "r channels subnode n"]
    places: dict[str, slice]

    @property
    def nbytes(self) -> int:
        """Memory that the factor holds."""
        return sum(tensor.nbytes for tensor in (self.jet.channels, *self.basis, self.seeds))

    def write(self, out: Float[Tensor, "size n"], component: int) -> None:
        """k + 1 columns of each edge at each point, and that of its base function."""
        seeds, derivatives, alive = self._order_seeds(component), self.basis.derivatives, self.edges.config.k + 1
        if "coef" in self.places:
            local = _weighted(seeds, derivatives[:, :alive])
            rows = out[self.places["coef"]].view(*self.edges.coef.shape, -1)
            flat = places(self.basis.numbers[:alive], self.edges.config.n_coef).expand(len(rows), -1)
            rows.view(len(rows), -1).scatter_(1, flat, local.flatten(1))
            factor = self.edges.mask * self.edges.scale_spline
            if not factor.eq(1).all():
                rows *= factor[..., None, None]
        if "scale_base" in self.places and len(self.basis.numbers) > alive:
            local = _weighted(seeds, derivatives[:, alive:])[:, 0] * self.edges.mask[..., None]
            out[self.places["scale_base"]] = local.flatten(0, 1)

    def _order_seeds(self, component: int) -> list[Tensor]:
        """Derivatives of a residual with respect to phi, phi', phi'' of each edge, (subnode, in, n)."""
        seeds, y = self.seeds[component], self.jet.channels
        found = [seeds[0][:, None].expand(-1, y.shape[1], -1)]
        if len(y) > 1:
            found.append(_outer(seeds[1:], y[1:]))
        if self.jet.orders == 3:
            found.append(_outer(seeds[1 + self.jet.d :], self.jet.squares()))
        return found

    def apply(self, vector: Float[Tensor, "size"]) -> Float[Tensor, "r n"]:
        """The layer with the vector in place of its weights, times the seeds."""
        pieces = {
            name: vector[self.places[name]].view(tensor.shape) if name in self.places else torch.zeros_like(tensor)
            for name, tensor in (("coef", self.edges.coef), ("scale_base", self.edges.scale_base))
        }
        sums = contract(self.edges.pack(**pieces), self.basis)
        return torch.stack([(own * sums).sum((0, 1)) for own in self.seeds])

    def adjoint(self, rows: Float[Tensor, "r n"], total: Float[Tensor, "size"]) -> None:
        """The gradient of the layer's weights for weighted seeds."""
        seeds = (self.seeds * rows[:, None, None]).sum(0)
        self._add(contract_adjoint(seeds, self.basis, self.edges.n_functions), total, 1)

    def add_squares(self, total: Float[Tensor, "size"]) -> None:
        """The same adjoint for products of two channels each."""
        values = self.basis.values
        first, second = torch.triu_indices(len(values), len(values), device=values.device)
        twice = torch.where(first == second, 1.0, 2.0).to(values)[:, None, None]
        pairs = self.basis._replace(values=values[first] * values[second])
        seeds = sum(twice * own[first] * own[second] for own in self.seeds)
        self._add(contract_adjoint(cast(Tensor, seeds), pairs, self.edges.n_functions), total, 2)

    def _add(self, packed: Tensor, total: Tensor, power: int) -> None:
        """Add derivatives by the effective weights, as derivatives by the parameters to a power."""
        factors = self.edges.pack(torch.ones_like(self.edges.coef), torch.ones_like(self.edges.scale_base))
        columns = packed * factors**power
        for name, place in self.places.items():
            own = columns[..., : self.edges.config.n_coef] if name == "coef" else columns[..., -1]
            total[place] += own.flatten()


def _outer(seeds: Float[Tensor, "channels subnode n"], y: Float[Tensor, "channels in n"]) -> Tensor:
    """sum_c seeds_co y_ci."""
    total = seeds[0][:, None] * y[0]
    for own, other in zip(seeds[1:], y[1:], strict=True):
        total.addcmul_(own[:, None], other)
    return total


def _weighted(seeds: Sequence[Float[Tensor, "subnode in n"]], values: Float[Tensor, "orders alive in n"]) -> Tensor:
    """sum_q seeds_qoi values_qai, (subnode, alive, in, n)."""
    total = seeds[0][:, None] * values[0]
    for own, other in zip(seeds[1:], values[1:], strict=False):
        total.addcmul_(own[:, None], other)
    return total


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
        out[self.place] = _outer(self.seeds[component], self.sources).flatten(0, 1)

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
            total[self.place] += _outer(self.seeds[component], self.sources).square().sum(2).flatten()


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
    if isinstance(unknowns.model, MultKAN):
        return _factors_of_kan(unknowns, x, needs, adjoints)
    if isinstance(unknowns.model, MLP):
        return _factors_of_mlp(unknowns, x, needs, adjoints)
    return [_factor_of_any(unknowns, x, needs, adjoints)]


@torch.enable_grad()
def _factors_of_kan(unknowns: Unknowns, x: Tensor, needs: str, adjoints: Tensor) -> list[Factor]:
    model = cast(MultKAN, unknowns.model)
    jet = model.lift(x, needs)
    tape: list[tuple[Jet, EdgeBasis | None]] = []
    watched = []
    for layer in model.layers:
        basis = None if layer.splines is None else layer.splines.basis_jet(jet)
        tape.append((_detached(jet), basis))
        watched.append(_watch(layer.sums(jet, basis).channels))
        jet = layer.combine(Jet(watched[-1], needs, jet.d))
    seeds = _seeds(jet, watched, adjoints)
    factors: list[Factor] = []
    with torch.no_grad():
        for number, (layer, (source, basis), own) in enumerate(zip(model.layers, tape, seeds, strict=True)):
            factors += _factors_of_layer(unknowns.slices, f"layers.{number}.", layer, source, basis, own)
    return factors


def _factors_of_layer(
    slices: dict[str, slice], prefix: str, layer: KANLayer, source: Jet, basis: EdgeBasis | None, seeds: Tensor
) -> list[Factor]:
    factors: list[Factor] = []
    names = {name: f"{prefix}splines.{name}" for name in ("coef", "scale_base")}
    places = {name: slices[full] for name, full in names.items() if full in slices}
    if layer.splines is not None and basis is not None and places:
        basis = EdgeBasis(*(tensor.detach() for tensor in basis))
        factors.append(SplineFactor(layer.splines, source, basis, seeds, places))
    if layer.symbols is not None and f"{prefix}symbols.affine" in slices:
        columns = source.channels.new_zeros(*layer.symbols.affine.shape, len(seeds), seeds.shape[3])
        for group in layer.symbols.groups:
            curves = layer.symbols.constant_derivatives(group, source.channels[0], source.orders)
            jets = torch.stack([source.select(group.sources).apply(own).channels for own in curves])
            columns[group.targets, group.sources] = torch.einsum("rcen,zcen->ezrn", seeds[:, :, group.targets], jets)
        factors.append(DenseFactor(slices[f"{prefix}symbols.affine"], columns.flatten(0, 2)))
    return factors


@torch.enable_grad()
def _factors_of_mlp(unknowns: Unknowns, x: Tensor, needs: str, adjoints: Tensor) -> list[Factor]:
    model = cast(MLP, unknowns.model)
    jet = model.lift(x, needs)
    sources, watched = [], []
    for layer in model.layers:
        source = layer.activate(jet)
        sources.append(source.channels.detach())
        watched.append(_watch(layer.combine(source).channels))
        jet = Jet(watched[-1], needs, jet.d)
    factors: list[Factor] = []
    for number, (source, seeds) in enumerate(zip(sources, _seeds(jet, watched, adjoints), strict=True)):
        weight, bias = (unknowns.slices.get(f"layers.{number}.{leaf}") for leaf in ("weight", "bias"))
        if weight is not None:
            factors.append(WeightFactor(weight, source, seeds))
        if bias is not None:
            factors.append(DenseFactor(bias, seeds[:, 0].transpose(0, 1)))
    return factors


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


def _factor_of_any(unknowns: Unknowns, x: Tensor, needs: str, adjoints: Tensor) -> Factor:
    """By torch.func, point by point, for any module."""
    model: nn.Module = unknowns.model
    tensors = dict(model.named_parameters())
    trained = {name: tensors[name] for name in unknowns.slices}

    def rows(point: Tensor, adjoint: Tensor) -> Tensor:
        def channels(values: dict[str, Tensor]) -> Tensor:
            return jet(lambda z: functional_call(model, values, (z,)), point[None], needs).channels[..., 0]

        (gradient,) = vjp(channels, trained)[1](adjoint)
        return torch.cat([gradient[name].flatten() for name in unknowns.slices])

    columns = [vmap(rows)(x, adjoint.permute(2, 0, 1)).T for adjoint in adjoints]
    return DenseFactor(slice(0, unknowns.size), torch.stack(columns, 1))
