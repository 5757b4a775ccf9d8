"""Jacobians of jets with respect to all coefficients, as Khatri-Rao products.

An edge is linear in its coefficients: phi^(q)(x) = sum_p coef_p B_p^(q)(x). So for any scalar r that depends
on one point, dr / dcoef_p = sum_q (dr / dphi^(q)) B_p^(q)(x): the adjoint of the edge's curve, from one
backward pass, times the basis that was needed to evaluate it. A layer of an MLP is linear in its weights in
the same way, its sources in place of the basis. Rows of a residual depend on one point each, so one pass
serves all rows.
"""

from collections.abc import Iterator
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, vjp, vmap

from kansci.jets import Jet, jet
from kansci.nn.baselines import MLP
from kansci.nn.edges import EdgeBasis, SplineEdges
from kansci.nn.layer import Curves, KANLayer
from kansci.nn.multkan import MultKAN
from kansci.solvers.unknowns import Unknowns


def pull_back(
    unknowns: Unknowns, x: Float[Tensor, "n d"], needs: str, adjoints: Float[Tensor, "r n channels m"]
) -> Float[Tensor, "r n p"]:
    """Rows sum_c adjoint_c (d channel_c / d unknowns) of the jet of a model.

    Args:
        unknowns: a model with the vector of its unknowns.
        x: points.
        needs: level of the jet.
        adjoints: derivatives of r residual components with respect to the channels of the jet at each point.

    Returns:
        One row for each component and point, one column for each unknown.
    """
    pull = _pull_back_any
    if isinstance(unknowns.model, MultKAN):
        pull = _pull_back_kan
    elif isinstance(unknowns.model, MLP):
        pull = _pull_back_mlp
    return torch.stack([_active(rows, unknowns) for rows in pull(unknowns, x, needs, adjoints)])


def _active(rows: Tensor, unknowns: Unknowns) -> Tensor:
    return rows if unknowns.active is None else rows[:, unknowns.active]


@torch.enable_grad()
def _pull_back_kan(unknowns: Unknowns, x: Tensor, needs: str, adjoints: Tensor) -> list[Tensor]:
    model = cast(MultKAN, unknowns.model)
    jet = model.lift(x, needs)
    tape: list[tuple[Tensor, Curves]] = []
    for layer in model.layers:
        nodes = jet.value
        curves = _watched(layer.curves(nodes, jet.orders))
        tape.append((nodes.detach(), curves))
        jet = layer.propagate(jet, curves)
    watched = [curve for _, curves in tape for curve in _all_curves(curves)]
    rows = []
    for adjoint in adjoints:
        seeds = iter(torch.autograd.grad(jet.channels, watched, adjoint, retain_graph=True))
        out = x.new_zeros(len(x), unknowns.size)
        for number, (layer, (nodes, curves)) in enumerate(zip(model.layers, tape, strict=True)):
            _write_layer(out, unknowns.slices, f"layers.{number}.", layer, nodes, curves, seeds)
        rows.append(out)
    return rows


def _watched(curves: Curves) -> Curves:
    """The same curves, as points where a backward pass leaves its adjoints."""
    splines, basis, symbols = curves
    return Curves(None if splines is None else _watch(splines), basis, [_watch(curve) for curve in symbols])


def _watch(tensor: Tensor) -> Tensor:
    return tensor if tensor.requires_grad else tensor.detach().requires_grad_()


def _all_curves(curves: Curves) -> list[Tensor]:
    return curves.symbols if curves.splines is None else [curves.splines, *curves.symbols]


def _write_layer(
    out: Tensor,
    slices: dict[str, slice],
    prefix: str,
    layer: KANLayer,
    nodes: Tensor,
    curves: Curves,
    seeds: Iterator[Tensor],
) -> None:
    if layer.splines is not None and curves.basis is not None:
        adjoint = next(seeds)
        if f"{prefix}splines.coef" in slices:
            start = slices[f"{prefix}splines.coef"].start
            _write_coefficients(out, start, layer.splines, curves.basis, adjoint)
        if f"{prefix}splines.scale_base" in slices:
            columns = torch.einsum("niq,niqo->noi", curves.basis.base, adjoint) * layer.splines.mask
            out[:, slices[f"{prefix}splines.scale_base"]] = columns.flatten(1)
    if layer.symbols is not None:
        for group, curve in zip(layer.symbols.groups, curves.symbols, strict=True):
            adjoint = next(seeds)
            if f"{prefix}symbols.affine" in slices:
                constants = layer.symbols.constants(group, nodes, curve.shape[1])
                place = out[:, slices[f"{prefix}symbols.affine"]].view(len(out), *layer.symbols.affine.shape)
                place[:, group.targets, group.sources] = torch.einsum("nqe,nqez->nez", adjoint, constants)


def _write_coefficients(out: Tensor, start: int, edges: SplineEdges, basis: EdgeBasis, adjoint: Tensor) -> None:
    """The Khatri-Rao product: k + 1 columns of each edge at each point."""
    adjoint = adjoint * (edges.mask * edges.scale_spline).T[:, None]
    local = adjoint.transpose(-1, -2) @ basis.values
    n_out, n_in, n_coef = edges.coef.shape
    edge = torch.arange(n_in, device=out.device)[:, None] + n_in * torch.arange(n_out, device=out.device)
    columns = start + edge[..., None] * n_coef + basis.columns[:, :, None, :]
    out.scatter_(1, columns.flatten(1), local.flatten(1))


@torch.enable_grad()
def _pull_back_mlp(unknowns: Unknowns, x: Tensor, needs: str, adjoints: Tensor) -> list[Tensor]:
    model = cast(MLP, unknowns.model)
    jet = model.lift(x, needs)
    tape: list[tuple[Tensor, Tensor]] = []
    for layer in model.layers:
        sources = layer.activate(jet)
        sums = _watch(layer.combine(sources).channels)
        tape.append((sources.channels.detach(), sums))
        jet = Jet(sums, jet.needs, jet.d)
    rows = []
    for adjoint in adjoints:
        seeds = torch.autograd.grad(
            jet.channels, [sums for _, sums in tape], adjoint, retain_graph=True, materialize_grads=True
        )
        columns = {}
        for number, ((sources, _), seed) in enumerate(zip(tape, seeds, strict=True)):
            columns[f"layers.{number}.weight"] = torch.einsum("nco,nci->noi", seed, sources).flatten(1)
            columns[f"layers.{number}.bias"] = seed[:, 0]
        rows.append(torch.cat([x.new_zeros(len(x), 0), *(columns[name] for name in unknowns.slices)], 1))
    return rows


def _pull_back_any(unknowns: Unknowns, x: Tensor, needs: str, adjoints: Tensor) -> list[Tensor]:
    """By torch.func, point by point, for any module."""
    model = unknowns.model
    tensors = dict(model.named_parameters())
    trained = {name: tensors[name] for name in unknowns.slices}

    def rows(point: Tensor, adjoint: Tensor) -> Tensor:
        def channels(values: dict[str, Tensor]) -> Tensor:
            return jet(lambda z: functional_call(model, values, (z,)), point[None], needs).channels[0]

        (gradient,) = vjp(channels, trained)[1](adjoint)
        return torch.cat([gradient[name].flatten() for name in unknowns.slices])

    return [vmap(rows)(x, adjoint) for adjoint in adjoints]
