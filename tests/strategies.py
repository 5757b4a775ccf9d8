"""Random small models that use everything a model can have, and points and jets for them."""

from dataclasses import replace
from itertools import pairwise

import torch
from hypothesis import strategies as st
from torch import Tensor

from kansci.config import LayerConfig, ModelConfig, Width
from kansci.jets import Jet, second_channels
from kansci.nn.edges import SplineEdges
from kansci.nn.lan import LAN, Grid, LANConfig
from kansci.nn.multkan import MultKAN
from kansci.nn.networks import Network
from kansci.nn.samples import sobol_points
from kansci.nn.symbols import SymbolicEdges
from kansci.splines import domain_of, extend_grid

ACTIVATIONS = ("silu", "tanh", "sin", "gaussian", "x**3", "zero")
SYMBOLS = ("", "x", "x**2", "exp", "sin", "tanh", "gaussian")

seeds = st.integers(0, 2**31 - 1)


@st.composite
def widths(draw: st.DrawFn) -> Width:
    """Up to three nodes: sums and products of two, three and four."""
    n_sum = draw(st.integers(0, 2))
    arities = draw(st.lists(st.integers(2, 4), min_size=n_sum == 0, max_size=2 - n_sum // 2))
    return Width(n_sum, tuple(arities))


@st.composite
def layer_configs(draw: st.DrawFn, n_in: int, out: Width, degrees: st.SearchStrategy[int]) -> LayerConfig:
    """Spline edges, symbolic edges, or both at once."""
    k = draw(degrees)
    parts = draw(st.sampled_from(("splines", "symbols", "both", "splines")))
    row = st.tuples(*[st.sampled_from(SYMBOLS)] * n_in)
    symbols = draw(st.tuples(*[row] * out.n_subnodes)) if parts != "splines" else ()
    base = draw(st.sampled_from(("silu", "zero", "x")))
    return LayerConfig(
        n_in,
        out,
        grid=draw(st.integers(1, 6)),
        k=k,
        base=base,
        splines=parts != "symbols",
        uniform=draw(st.booleans()),
        symbols=symbols,
    )


@st.composite
def models(
    draw: st.DrawFn,
    degrees: st.SearchStrategy[int] | None = None,
    dtype: torch.dtype = torch.float64,
    periodic: bool = True,
) -> MultKAN:
    """One to three layers of random edges, with masks, scales, affine maps and periodic inputs.

    Args:
        draw: hypothesis' own.
        degrees: of the splines, 1 to 9 by default.
        dtype: of the model.
        periodic: whether inputs may be periodic.
    """
    degrees = st.integers(1, 9) if degrees is None else degrees
    columns = [Width(draw(st.integers(1, 3))), *draw(st.lists(widths(), min_size=1, max_size=3))]
    layers = [draw(layer_configs(a.n_nodes, b, degrees)) for a, b in pairwise(columns)]
    if periodic and layers[0].splines and draw(st.booleans()):
        sources = draw(st.sets(st.integers(0, layers[0].n_in - 1), min_size=1))
        layers[0] = replace(layers[0], grid=layers[0].grid + layers[0].k, periodic=tuple(sorted(sources)))
    model = MultKAN.from_config(ModelConfig(tuple(layers)))
    fill(model, draw(seeds))
    return model.to(dtype)


@torch.no_grad()
def fill(model: MultKAN, seed: int) -> None:
    """Random tensors of moderate size, one edge in five masked, grids where the activations lie."""
    generator = torch.Generator().manual_seed(seed)

    def normal(like: Tensor, mean: float = 0.0, deviation: float = 0.3) -> Tensor:
        return mean + deviation * torch.randn(like.shape, generator=generator, dtype=like.dtype)

    def mask(like: Tensor) -> Tensor:
        return (torch.rand(like.shape, generator=generator) > 0.2).to(like.dtype)

    for layer in model.layers:
        for scale in (layer.subnode_scale, layer.node_scale):
            scale.copy_(normal(scale, 1.0, 0.2))
        for bias in (layer.subnode_bias, layer.node_bias):
            bias.copy_(normal(bias))
        if isinstance(edges := layer.splines, SplineEdges):
            edges.coef.copy_(normal(edges.coef))
            edges.scale_base.copy_(normal(edges.scale_base))
            edges.scale_spline.copy_(normal(edges.scale_spline, 1.0, 0.2))
            edges.mask.copy_(mask(edges.mask))
        if isinstance(symbols := layer.symbols, SymbolicEdges):
            symbols.affine.copy_(torch.tensor([0.6, 0.1, 0.4, 0.0]) + normal(symbols.affine, 0.0, 0.1))
            symbols.mask.copy_(mask(symbols.mask))
    ends = normal(torch.zeros(model.n_inputs, 2, dtype=torch.float64)).cumsum(1)
    model.set_domain(torch.stack([ends[:, 0], ends[:, 0] + 0.5 + ends[:, 1].abs()], 1), samples=64)
    for layer in model.layers:
        if isinstance(edges := layer.splines, SplineEdges) and not edges.config.uniform:
            edges.knots = _uneven(edges, generator)


def _uneven(edges: SplineEdges, generator: torch.Generator) -> Tensor:
    """Knots with intervals whose lengths differ by factors up to three; those of periodic inputs stay."""
    low, high = domain_of(edges.knots, edges.config.k)
    steps = 0.5 + torch.rand(edges.config.n_in, edges.config.grid, generator=generator, dtype=low.dtype)
    share = torch.cat([torch.zeros_like(low)[:, None], steps.cumsum(1) / steps.sum(1, keepdim=True)], 1)
    knots = extend_grid(torch.lerp(low[:, None], high[:, None], share), edges.config.k)
    periodic = torch.tensor([source in edges.config.periodic for source in range(edges.config.n_in)])
    return torch.where(periodic[:, None], edges.knots, knots)


@st.composite
def lans(draw: st.DrawFn, degrees: st.SearchStrategy[int] | None = None, dtype: torch.dtype = torch.float64) -> LAN:
    """Up to two hidden columns of random functions, with masks, scales and knots of any spacing.

    Args:
        draw: hypothesis' own.
        degrees: of the splines, 1 to 9 by default.
        dtype: of the model.
    """
    degrees = st.integers(1, 9) if degrees is None else degrees
    width = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    grids = tuple(Grid(draw(st.integers(1, 6)), draw(degrees), draw(st.booleans())) for _ in width[1:-1])
    model = LAN.from_config(LANConfig(tuple(width), draw(st.sampled_from(ACTIVATIONS)), grids))
    fill_lan(model, draw(seeds))
    return model.to(dtype)


@torch.no_grad()
def fill_lan(model: LAN, seed: int) -> None:
    """Random tensors of moderate size, one spline in five masked, grids where the activations lie."""
    generator = torch.Generator().manual_seed(seed)
    model.low.copy_(torch.randn(model.n_inputs, generator=generator, dtype=torch.float64))
    model.high.copy_(model.low + 0.5 + torch.rand(model.n_inputs, generator=generator, dtype=torch.float64))
    for layer in model.layers:
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64) / 2)
        layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator, dtype=torch.float64) / 4)
        layer.node_scale.normal_(1.0, 0.2, generator=generator)
        layer.node_bias.normal_(0.0, 0.3, generator=generator)
        if layer.splines is not None:
            layer.get_parameter("scale_base").normal_(1.0, 0.3, generator=generator)
            layer.splines.coef.normal_(0.0, 0.3, generator=generator)
            layer.splines.scale_spline.normal_(1.0, 0.2, generator=generator)
            layer.splines.mask.copy_(torch.rand(layer.splines.mask.shape, generator=generator) > 0.2)
    model._place_grids(sobol_points(*model.domain, 64))
    for layer in model.layers:
        if layer.splines is not None and not layer.splines.config.uniform:
            layer.splines.knots = _uneven(layer.splines, generator)


def points(model: Network, n: int = 8, seed: int = 0, stretch: float = 1.4) -> Tensor:
    """Random points over the domain of a model, stretched about its center."""
    generator = torch.Generator().manual_seed(seed)
    low, high = (end.nan_to_num(posinf=1.0, neginf=-1.0) for end in model.domain)
    x = torch.rand(n, model.n_inputs, generator=generator, dtype=torch.float64)
    return ((low + high) / 2 + stretch * (x - 0.5) * (high - low)).to(model.dtype)


@st.composite
def edges_and_points(draw: st.DrawFn) -> tuple[SplineEdges, Tensor]:
    """The first layer of a random model that has splines there."""
    model = draw(models().filter(lambda model: model.layers[0].splines is not None))
    edges = model.layers[0].splines
    assert edges is not None
    return edges, points(model, 6, draw(seeds)).T.contiguous()


def jet_of(x: Tensor, needs: str, seed: int = 0) -> Jet:
    """Sources with the values x (in, n) and any derivatives with respect to two variables."""
    channels = 1 + 2 * (needs != "value") + second_channels(needs, 2)
    generator = torch.Generator().manual_seed(seed)
    slopes = torch.randn(channels - 1, *x.shape, generator=generator, dtype=x.dtype)
    return Jet(torch.cat([x[None], slopes]), needs, 2)
