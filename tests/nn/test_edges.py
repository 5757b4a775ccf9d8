import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kansci.config import LayerConfig, Width
from kansci.functions import LIBRARY, Function, library_function
from kansci.jets import LEVELS, Jet, orders_of
from kansci.nn.edges import SplineEdges
from kansci.nn.symbols import SymbolicEdges
from kansci.splines import uniform_knots
from tests.helpers import assert_same, assert_same_jet
from tests.strategies import SYMBOLS, edges_and_points, jet_of, models, seeds

ORDERS = 3
quiet_vmap = pytest.mark.filterwarnings("ignore:torch.searchsorted")  # vmap's choice of memory layout


def spline_edges(**options) -> SplineEdges:
    """Edges from 2 sources to 3 subnodes on [-1, 1]."""
    config = LayerConfig(2, Width(3), **options)
    return SplineEdges(config, torch.Generator().manual_seed(0)).double()


def symbolic_edges(*rows: tuple[str, ...], seed: int = 0) -> SymbolicEdges:
    edges = SymbolicEdges(LayerConfig(len(rows[0]), Width(len(rows)), symbols=rows)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        edges.affine += 0.3 * torch.randn(edges.affine.shape, generator=generator, dtype=torch.float64)
    return edges


def places(n: int = 12, d: int = 2, seed: int = 0) -> Tensor:
    """Points (d, n) within [-1.3, 1.3], none of them a knot."""
    generator = torch.Generator().manual_seed(seed)
    return 2.6 * torch.rand(d, n, generator=generator, dtype=torch.float64) - 1.3


def curves(edges: SplineEdges, x: Tensor, orders: int = ORDERS) -> Tensor:
    """phi, phi' and phi'' of each edge in units of its source, (orders, subnode, in, n)."""
    found = []
    for source in range(edges.config.n_in):
        jet = Jet.lift(x.T, ("value", "gradient", "diagonal")[orders - 1])
        only = torch.zeros_like(edges.mask)
        only[:, source] = 1
        with torch.no_grad():
            basis = edges.plain(jet, edges.knots)
            sums = basis.sums(edges.weights * only[..., None])
        found.append(sums[[0, 1 + source, 1 + len(x) + source][:orders]])
    return torch.stack(found, 2)


@given(edges_and_points())
def test_the_value_of_each_edge_sums_to_the_subnodes(given_edges):
    edges, x = given_edges
    assert_same(edges.edge_values(x).sum(1), edges(x).detach())
    assert_same(edges.edge_values(x), curves(edges, x, 1)[0])


@quiet_vmap
@given(edges_and_points())
def test_orders_are_the_derivatives_of_the_plain_forward(given_edges):
    edges, x = given_edges

    def sums(point: Tensor) -> Tensor:
        return edges(point[:, None])[:, 0]

    found = curves(edges, x)
    slopes = torch.vmap(torch.func.jacrev(sums), in_dims=1, out_dims=2)(x)
    assert_same(found[1], slopes.detach())
    if edges.config.k > 1:
        second = torch.vmap(torch.func.hessian(sums), in_dims=1, out_dims=3)(x)
        assert_same(found[2], second.diagonal(dim1=1, dim2=2).transpose(1, 2).detach())


@given(edges_and_points(), st.sampled_from(LEVELS), seeds)
def test_jets_of_sums_are_sums_of_jets(given_edges, needs, seed):
    edges, x = given_edges
    sources, (n_out, n_in) = jet_of(x, needs, seed), edges.mask.shape
    own = curves(edges, x, orders_of(needs))
    expected = [sources.select([i] * n_out).apply(own[:, :, i]).channels for i in range(n_in)]
    found, _ = edges.sums(sources)
    assert (found.needs, found.d) == (needs, 2)
    assert_same(found.channels.detach(), torch.stack(expected).sum(0))


@given(edges_and_points(), st.sampled_from(LEVELS))
def test_edges_are_linear_in_what_the_basis_holds(given_edges, needs):
    edges, x = given_edges
    found, basis = edges.sums(jet_of(x, needs))
    assert edges.n_functions == edges.weights.shape[2]
    doubled = basis.sums(2 * edges.tied(edges.weights.detach()))
    assert_same(2 * found.channels.detach(), doubled)


@given(edges_and_points())
def test_all_splines_are_those_that_coefficients_belong_to(given_edges):
    edges, x = given_edges
    splines = edges.splines_at(x)
    assert splines.shape == (edges.config.n_in, edges.config.n_coef, x.shape[1])
    without = edges.weights.clone()
    without[..., edges.config.n_coef :] = 0
    expected = torch.einsum("oip,ipn->oin", edges.weights[..., : edges.config.n_coef], splines)
    assert_same(edges.edge_values(x, without), expected.detach())
    assert_same(splines.sum(1), torch.ones_like(x))
    tied = torch.arange(edges.config.n_coef) >= edges.n_free[:, None]
    assert (splines[tied] == 0).all()


@given(edges_and_points(), st.sampled_from(LEVELS))
def test_values_are_the_same_with_and_without_gradients(given_edges, needs):
    edges, x = given_edges
    sources = jet_of(x, needs)
    plain, _ = edges.sums(sources)
    watched, _ = edges.sums(Jet(sources.channels.clone().requires_grad_(), needs, 2))
    with torch.no_grad():
        without, _ = edges.sums(sources)
    assert_same(watched.channels.detach(), plain.channels.detach())
    assert torch.equal(without.channels, plain.channels)


@pytest.mark.parametrize("needs", LEVELS)
@pytest.mark.parametrize("options", [{}, {"uniform": False}, {"base": "zero", "k": 5}, {"periodic": (1,)}, {"k": 4}])
def test_gradients_of_all_orders_agree_with_finite_differences(options, needs):
    edges = spline_edges(**options)

    def sums(channels: Tensor, coef: Tensor, scale: Tensor) -> Tensor:
        state = {"edges.coef": coef, "edges.scale_base": scale}
        return torch.func.functional_call(_Sums(edges, needs), state, (channels,))

    inputs = [t.detach().clone().requires_grad_() for t in (jet_of(places(4), needs).channels, *edges.parameters())]
    assert torch.autograd.gradcheck(sums, inputs[:3])


class _Sums(torch.nn.Module):
    def __init__(self, edges: SplineEdges, needs: str) -> None:
        super().__init__()
        self.edges, self.needs = edges, needs

    def forward(self, channels: Tensor) -> Tensor:
        return self.edges.sums(Jet(channels, self.needs, 2))[0].channels


@pytest.mark.parametrize("grid", [5, 40])
def test_sums_of_many_coefficients_at_once(grid):
    """vmap over the coefficients: an ensemble."""
    edges, x = spline_edges(grid=grid), places()
    states = [{"coef": torch.randn_like(edges.coef)} for _ in range(3)]
    stacked = {"coef": torch.stack([state["coef"] for state in states])}

    def call(state: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(edges, state, (x,))

    together = torch.vmap(call)(stacked)
    assert_same(together, torch.stack([call(state) for state in states]))


@pytest.mark.parametrize("base", ["silu", "zero", "x"])
def test_a_masked_edge_is_zero_and_does_not_learn(base):
    edges = spline_edges(base=base)
    edges.mask[1, 0] = 0
    values = edges.edge_values(places())
    assert (values[1, 0] == 0).all()
    assert (values[0, 0] != 0).any()
    edges(places()).sum().backward()
    assert edges.coef.grad is not None
    assert (edges.coef.grad[1, 0] == 0).all()
    assert (edges.coef.grad[0, 0] != 0).any()


def test_scales_and_masks_multiply():
    edges = spline_edges()
    plain = edges.edge_values(places())
    with torch.no_grad():
        edges.mask.fill_(0.5)
        edges.scale_base.mul_(3)
        edges.scale_spline.mul_(3)
    assert_same(edges.edge_values(places()), 1.5 * plain)


@pytest.mark.parametrize("k", range(1, 10))
def test_the_base_function_is_continued_linearly(k):
    edges = spline_edges(k=k)
    with torch.no_grad():
        edges.coef.zero_()
    ends = torch.tensor([[-1.0, 1.0], [-3.0, 5.0]], dtype=torch.float64)
    value, slope, curvature = curves(edges, ends.T.contiguous())
    silu = library_function("silu").jet(ends[0], 2)
    scale = edges.scale_base.detach()
    for found, expected in zip((value, slope, curvature), silu, strict=True):
        assert_same(found[..., 0], scale * expected)
    assert_same(value[..., 1], scale * (silu[0] + (ends[1] - ends[0]) * silu[1]))
    assert_same(slope[..., 1], slope[..., 0])
    assert (curvature[..., 1] == 0).all()


@given(st.floats(-5, 5), st.floats(0.3, 5), st.integers(1, 40), st.booleans())
def test_the_ends_of_the_domain_are_inside(low, width, grid, single):
    """Second derivatives there are those of the edge, not of its continuation."""
    edges = spline_edges(grid=grid)
    ends = torch.tensor([low, low + width], dtype=torch.float64).expand(2, 2)
    edges.knots = uniform_knots(ends[:, 0], ends[:, 1], grid, 3)
    edges, ends = (edges.float(), ends.float()) if single else (edges, ends)
    assert (curves(edges, ends)[2] != 0).all()
    edges.mask[:, 1] = 0
    found = edges.sums(Jet.lift(ends.T, "diagonal"))[0].channels[3]
    assert_same(found.detach(), curves(edges, ends)[2, :, 0])


@pytest.mark.parametrize("k", range(1, 10))
def test_periodic_edges_are_smooth_across_the_seam(k):
    edges = spline_edges(k=k, grid=k + 2, periodic=(0,))
    x = torch.zeros(2, 6, dtype=torch.float64)
    x[0] = torch.tensor([-1, math.nextafter(1, 0), 1, 0.3, 0.3 + 2, 0.3 - 20], dtype=torch.float64)
    for own in curves(edges, x)[: min(k, ORDERS), :, 0]:
        low, high, seam, inside, after, before = own.T
        scale = own.abs().max().item()
        for a, b in ((low, high), (low, seam), (inside, after), (inside, before)):
            assert (a - b).abs().max() < 1e-11 * scale
    assert (edges.weights[:, 0, -1] == 0).all()
    assert (edges.weights[:, 1, -1] != 0).all()
    assert edges.has_base.tolist() == [0, 1]


def test_periodic_edges_use_their_first_coefficients_twice():
    edges = spline_edges(periodic=(0,))
    assert edges.n_free.tolist() == [5, 8]
    before = edges.edge_values(places())
    with torch.no_grad():
        edges.coef[:, 0, 5:] = 100
    assert torch.equal(edges.edge_values(places()), before)
    free = edges.identifiable("coef")
    assert free[:, 0].tolist() == [[True] * 5 + [False] * 3] * 3
    assert free[:, 1].all()
    assert edges.identifiable("scale_base").tolist() == [[False, True]] * 3


def test_edges_that_do_nothing_are_not_identifiable():
    edges = spline_edges()
    with torch.no_grad():
        edges.mask[0, 1] = 0
        edges.scale_spline[2, 0] = 0
    assert edges.identifiable("coef").all(2).tolist() == [[True, False], [True, True], [False, True]]
    for parameter in ("scale_base", "scale_spline"):
        assert edges.identifiable(parameter).tolist() == [[True, False], [True, True], [True, True]]
    without = spline_edges(base="zero")
    assert without.identifiable("scale_spline").all()
    assert not without.identifiable("scale_base").any()


def test_initialization_is_that_of_the_paper():
    """coef ~ N(0, 0.1^2), scale_base ~ U(-s, s) with s^2 = 6 / (n_in + n_out), scale_spline = 1 and fixed."""
    edges = SplineEdges(LayerConfig(60, Width(40)), torch.Generator().manual_seed(0))
    assert edges.coef.std().item() == pytest.approx(0.1, rel=0.02)
    assert abs(edges.coef.mean().item()) < 0.1 * 4 / math.sqrt(edges.coef.numel())
    assert edges.coef.abs().max() > 0.35
    bound = math.sqrt(6 / 100)
    assert 0.99 * bound < edges.scale_base.abs().max() < bound
    assert edges.scale_base.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)
    assert (edges.scale_spline == 1).all()
    assert [name for name, p in edges.named_parameters() if p.requires_grad] == ["coef", "scale_base"]


def test_domain_is_set_by_the_knots():
    low, high = spline_edges().domain
    assert (low.tolist(), high.tolist()) == ([-1, -1], [1, 1])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("options", [{}, {"uniform": False}, {"periodic": (0, 1)}, {"base": "zero"}])
def test_what_is_not_finite_passes_through_as_nan(value, options):
    edges, x = spline_edges(**options), torch.full((2, 4), value, dtype=torch.float64)
    assert edges(x).isnan().all()
    for needs in LEVELS:
        found = edges.sums(jet_of(x, needs))[0].channels
        assert found[0].isnan().all()
        assert found.isnan().all() or not math.isnan(value)


@given(st.lists(st.tuples(*[st.sampled_from(SYMBOLS)] * 2), min_size=1, max_size=4), seeds)
def test_symbolic_edges_are_c_f_of_a_x_plus_b_plus_d(rows, seed):
    edges, x = symbolic_edges(*rows, seed=seed), places(seed=seed)
    edges.mask[0, 0] = 0
    found = {}
    for group in edges.groups:
        values = edges.derivatives(group, x, 1)[0]
        found.update(zip(zip(group.targets, group.sources, strict=True), values, strict=True))
    named = {(t, s): name for t, row in enumerate(rows) for s, name in enumerate(row) if name}
    assert set(found) == set(named)
    for (target, source), name in named.items():
        a, b, c, d = edges.affine[target, source]
        expected = edges.mask[target, source] * (c * library_function(name)(a * x[source] + b) + d)
        assert_same(found[target, source].detach(), expected.detach())


@given(st.sampled_from([name for name in SYMBOLS if name]), seeds)
def test_symbolic_derivatives_and_constants_agree_with_autograd(name, seed):
    edges = symbolic_edges((name, name), (name, name), seed=seed)
    edges.mask[0, 1] = 0.5
    x = places(5, seed=seed)
    (group,) = edges.groups
    found = edges.derivatives(group, x, ORDERS).detach()

    def call(affine: Tensor, x: Tensor) -> Tensor:
        return torch.func.functional_call(_Group(edges), {"edges.affine": affine}, (x,))

    def derivative(f):
        return lambda affine, x: torch.func.jvp(lambda z: f(affine, z), (x,), (torch.ones_like(x),))[1]

    constants = edges.constant_derivatives(group, x, ORDERS).detach()
    for order in range(ORDERS):
        assert_same(found[order], call(edges.affine, x).detach())
        jacobian = torch.func.jacrev(call)(edges.affine.detach(), x)
        own = jacobian[range(4), :, group.targets, group.sources]
        assert_same(constants[:, order], own.permute(2, 0, 1))
        call = derivative(call)


class _Group(torch.nn.Module):
    def __init__(self, edges: SymbolicEdges) -> None:
        super().__init__()
        self.edges = edges

    def forward(self, x: Tensor) -> Tensor:
        return self.edges.derivatives(self.edges.groups[0], x, 1)[0]


@given(st.sampled_from([name for name in SYMBOLS if name]), st.sampled_from(LEVELS), seeds)
def test_symbolic_jets_compose_sources_with_functions(name, needs, seed):
    edges = symbolic_edges((name, name), ("", name), seed=seed)
    sources = jet_of(places(5, seed=seed), needs, seed)
    (group,), (found,) = edges.groups, edges.jets(sources)
    assert (group.targets, group.sources) == ([0, 0, 1], [0, 1, 1])
    for number, (target, source) in enumerate(zip(group.targets, group.sources, strict=True)):
        a, b, c, d = edges.affine[target, source].detach()[:, None]
        outer = torch.stack(library_function(name).jet(a * sources.channels[0, source] + b, sources.orders - 1))
        outer = outer[:, None]
        expected = sources.select([source]).affine(a, b).apply(outer).affine(c, d)
        assert_same_jet(found.select([number]), expected)


def test_each_function_is_called_once():
    edges = symbolic_edges(("sin", "exp"), ("sin", "sin"), ("", "exp"))
    assert [(group.function.name, len(group.targets)) for group in edges.groups] == [("sin", 3), ("exp", 2)]
    calls = []

    def counted(f: Function) -> Function:
        first, *others = f.derivatives
        return replace(f, derivatives=(lambda x: calls.append(f.name) or first(x), *others))

    edges.groups = [group._replace(function=counted(group.function)) for group in edges.groups]
    edges.jets(jet_of(places(), "value"))
    assert calls == ["sin", "exp"]


@pytest.mark.parametrize("name", [*LIBRARY, "x**(5/2)", "x**-3"])
def test_masked_symbolic_edges_are_zero_also_where_their_function_is_not_defined(name):
    edges = symbolic_edges((name,))
    edges.mask.zero_()
    x = torch.tensor([[-30.0, 0.0, 30.0]], dtype=torch.float64, requires_grad=True)
    (group,) = edges.groups
    found = edges.derivatives(group, x, ORDERS)
    assert (found == 0).all()
    assert (edges.constant_derivatives(group, x, ORDERS) == 0).all()
    for gradient in torch.autograd.grad(found.sum(), [x, edges.affine], allow_unused=True, materialize_grads=True):
        assert (gradient == 0).all()


def test_gauge_constants_are_not_identifiable():
    edges = symbolic_edges(("exp", "sin"), ("x", ""))
    edges.mask[0, 1] = 0
    letters = [
        ["".join(c for c, free in zip("abcd", edge, strict=True) if free) for edge in row]
        for row in edges.identifiable("affine")
    ]
    assert letters == [["acd", ""], ["cd", ""]]


def test_random_models_have_every_kind_of_edge():
    seen = set()

    @given(models())
    def look(model):
        for layer in model.layers:
            seen.add(("both", bool(layer.config.splines and layer.config.symbols)))
            seen.add(("periodic", bool(layer.config.periodic)))
            seen.add(("uniform", layer.config.uniform))
            seen.update(("arity", arity) for arity in layer.config.out.arities)
            seen.add(("base", layer.config.base))
            if layer.splines is not None:
                seen.add(("mask", bool((layer.splines.mask == 0).any())))

    look()
    switches = {(name, state) for name in ("both", "periodic", "uniform", "mask") for state in (True, False)}
    assert switches <= seen
    assert {
        ("arity", 2),
        ("arity", 3),
        ("arity", 4),
        ("base", "silu"),
        ("base", "zero"),
        ("base", "x"),
    } <= seen
