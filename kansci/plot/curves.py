"""What pictures show of a model: which edges it has, what they are made of, and where they are looked at."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kansci.errors import DataError, ShapeError
from kansci.nn.dense import DenseLayer, DenseNetwork
from kansci.nn.layer import KANLayer
from kansci.nn.networks import Network
from kansci.nn.samples import sobol_points
from kansci.tracing import Trace, trace


class EdgeParts(NamedTuple):
    """The summands of every edge of a layer.

    Attributes:
        base: scale_base b(x).
        spline: scale_spline times the sum of coef_p B_p(x).
        symbolic: c f(a x + b) + d.
    """

    base: Float[Tensor, "n subnode in"]
    spline: Float[Tensor, "n subnode in"]
    symbolic: Float[Tensor, "n subnode in"]

    @property
    def total(self) -> Float[Tensor, "n subnode in"]:
        """The edges themselves."""
        return self.base + self.spline + self.symbolic


@torch.no_grad()
def edge_parts(layer: KANLayer, x: Float[Tensor, "n in"]) -> EdgeParts:
    """The parts of every edge at x; those that are absent or masked are 0."""
    zero = x.new_zeros(len(x), layer.config.out.n_subnodes, layer.config.n_in)
    base, spline, symbolic = zero, zero, zero.clone()
    if layer.splines is not None:
        edges = layer.splines
        without = edges.weights.clone()
        without[..., : edges.config.n_coef] = 0
        base = edges.edge_values(x.T, without).permute(2, 0, 1)
        spline = edges.edge_values(x.T).permute(2, 0, 1) - base
    if layer.symbols is not None:
        for group in layer.symbols.groups:
            symbolic[:, group.targets, group.sources] = layer.symbols.derivatives(group, x.T, 1)[0].T
        symbolic = torch.where(layer.symbols.mask == 0, zero, symbolic)
    return EdgeParts(base, spline, symbolic)


def has_spline(layer: KANLayer) -> Bool[np.ndarray, "subnode in"]:
    """Which edges have an unmasked base and spline."""
    if layer.splines is None:
        return np.zeros((layer.config.out.n_subnodes, layer.config.n_in), dtype=bool)
    return (layer.splines.mask != 0).cpu().numpy()


def has_symbol(layer: KANLayer) -> Bool[np.ndarray, "subnode in"]:
    """Which edges have an unmasked symbolic part."""
    if layer.symbols is None:
        return np.zeros((layer.config.out.n_subnodes, layer.config.n_in), dtype=bool)
    return (np.array(layer.config.symbols) != "") & (layer.symbols.mask != 0).cpu().numpy()


def look(model: Network, x: Float[Tensor, "n d"] | None) -> Trace:
    """Everything the model computes at x, by default at Sobol points of its domain.

    Raises:
        DataError: x holds no points.
        ShapeError: x is not (n, d) for this model.
    """
    points = sobol_points(*_box(model)) if x is None else x
    if points.ndim == 2 and len(points) == 0:
        raise DataError("expected at least one point in x, got none; leave x out for points of the domain")
    return trace(model, points)


def _box(model: Network) -> tuple[Float[Tensor, "d"], Float[Tensor, "d"]]:
    """The domain of the raw inputs, [-1, 1] where the first layer of a KAN has no splines."""
    if isinstance(model, DenseNetwork):
        return model.domain
    splines, first = model.layers[0].splines, model.layers[0].node_scale
    if splines is None:
        ones = torch.ones_like(first[:1]).expand(model.n_inputs)
        return -ones, ones
    low, high = splines.domain
    return low[: model.n_inputs], high[: model.n_inputs]


def edge_strengths(seen: Trace, layer: int) -> Float[np.ndarray, "subnode in"]:
    """Standard deviation of each edge of a layer relative to that of the subnode it leads to."""
    edges, subnodes = _deviation(seen.edges[layer]), _deviation(seen.subnodes[layer])[:, None]
    return np.divide(edges, subnodes, out=np.zeros_like(edges), where=subnodes > 0)


def edge_scores(seen: Trace, importance: Any) -> list[Float[np.ndarray, "_ _"]] | None:
    """Scores of the edges of each layer, from a record with `edges` or from arrays; None for None.

    Raises:
        ShapeError: there is not one array for each layer, of the shape of its edges.
    """
    if importance is None:
        return None
    given = [torch.as_tensor(own) for own in getattr(importance, "edges", importance)]
    wanted, found = [tuple(own.shape[1:]) for own in seen.edges], [tuple(own.shape) for own in given]
    if found != wanted:
        raise ShapeError(f"expected scores of shapes {wanted}, one array (subnodes, sources) a layer, got {found}")
    return [np.abs(np.nan_to_num(own.detach().double().cpu().numpy())) for own in given]


def edge_curves(layer: KANLayer, nodes: Float[Tensor, "n in"], points: int) -> Float[np.ndarray, "subnode in p"]:
    """Every edge at equidistant points over the range of its source node.

    Where an edge is not finite it is NaN, and where it varies by rounding alone it is constant.
    """
    return _steady(edge_parts(layer, _sweep(nodes, points)).total).transpose(1, 2, 0)


@torch.no_grad()
def node_curves(layer: DenseLayer, nodes: Float[Tensor, "n in"], points: int) -> Float[np.ndarray, "in p"]:
    """The same of the function of every node that a dense layer begins with."""
    return _steady(layer.curves(_sweep(nodes, points).T, 1)[0].T).T


def _sweep(nodes: Float[Tensor, "n in"], points: int) -> Float[Tensor, "p in"]:
    values = finite(nodes)
    ends = values.min(0).filled(0.0), values.max(0).filled(0.0)
    return torch.as_tensor(np.linspace(*ends, points), dtype=nodes.dtype, device=nodes.device)


def _steady(values: Float[Tensor, "p *which"]) -> Float[np.ndarray, "p *which"]:
    curves = finite(values)
    rounding = 100 * torch.finfo(values.dtype).eps * np.abs(curves).max(0)
    varies = curves.max(0) - curves.min(0) > rounding
    return np.ma.where(varies, curves, curves.mean(0)).filled(np.nan)


def is_identity(layer: KANLayer) -> Bool[np.ndarray, "subnode in"]:
    """Which edges only pass the value of their source on."""
    if layer.symbols is None:
        return np.zeros((layer.config.out.n_subnodes, layer.config.n_in), dtype=bool)
    a, b, c, d = layer.symbols.affine.detach().cpu().numpy().transpose(2, 0, 1)
    passes = (np.array(layer.config.symbols) == "x") & (a * c == 1) & (c * b + d == 0)
    return passes & has_symbol(layer) & ~has_spline(layer)


def finite(values: Tensor) -> np.ma.MaskedArray:
    """The values as float64, masked where they are not finite."""
    return np.ma.masked_invalid(values.detach().double().cpu().numpy())


def _deviation(values: Tensor) -> Float[np.ndarray, "..."]:
    return np.ma.filled(finite(values).std(0), 0.0)
