import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kansci.config import LayerConfig, Width
from kansci.functions import LIBRARY, Function, library_function
from kansci.nn.edges import SplineEdges, SymbolicEdges
from tests.helpers import assert_same
from tests.strategies import SYMBOLS, models, points, seeds

ORDERS = 3


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
    """Points within [-1.3, 1.3], none of them a knot."""
    generator = torch.Generator().manual_seed(seed)
    return 2.6 * torch.rand(n, d, generator=generator, dtype=torch.float64) - 1.3


@st.composite
def edges_and_points(draw: st.DrawFn) -> tuple[SplineEdges, Tensor]:
    """The first layer of a random model that has splines there."""
    model = draw(models().filter(lambda model: model.layers[0].splines is not None))
    edges = model.layers[0].splines
    assert edges is not None
    return edges, points(model, 6, draw(seeds))


@given(edges_and_points())
def test_the_value_of_each_edge_sums_to_the_subnodes(given_edges):
    edges, x = given_edges
    assert_same(edges.edge_values(x).sum(2), edges(x))


@pytest.mark.filterwarnings("ignore:torch.searchsorted")  # vmap's choice of memory layout
@given(edges_and_points())
def test_orders_are_the_derivatives_of_the_plain_forward(given_edges):
    edges, x = given_edges

    def sums(point: Tensor) -> Tensor:
        return edges(point[None])[0]

    curves = edges.curves(x, ORDERS)[0].transpose(1, 3)
    slopes = torch.vmap(torch.func.jacrev(sums))(x)
    assert_same(curves[:, :, 1], slopes)
    if edges.config.k > 1:
        assert_same(curves[:, :, 2], torch.vmap(torch.func.hessian(sums))(x).diagonal(dim1=-2, dim2=-1))


@given(edges_and_points())
def test_edges_are_linear_in_what_the_basis_belongs_to(given_edges):
    edges, x = given_edges
    curves, basis = edges.curves(x, ORDERS)
    rows = edges.weights[:, torch.arange(edges.config.n_in)[:, None], basis.columns]
    splines = torch.einsum("niqp,onip->niqo", basis.values, rows)
    bases = torch.einsum("niq,oi->niqo", basis.base, edges.base_weights)
    assert_same(splines + bases, curves.detach())


@given(edges_and_points())
def test_values_are_the_same_with_and_without_gradients(given_edges):
    edges, x = given_edges
    curves, basis = edges.curves(x, ORDERS)
    with torch.no_grad():
        again, other = edges.curves(x, ORDERS)
    assert_same(again, curves.detach())
    assert torch.equal(other.columns, basis.columns)
    assert_same(other.values, basis.values)
    assert_same(other.base, basis.base)


@pytest.mark.parametrize("options", [{}, {"uniform": False}, {"base": "zero", "k": 5}, {"periodic": (1,)}, {"k": 4}])
def test_gradients_of_all_orders_agree_with_finite_differences(options):
    edges = spline_edges(**options)
    x = places(4)

    def curves(x: Tensor, coef: Tensor, scale: Tensor) -> Tensor:
        state = {"coef": coef, "scale_base": scale}
        return torch.func.functional_call(_Curves(edges), {f"edges.{name}": v for name, v in state.items()}, (x,))

    inputs = [t.detach().clone().requires_grad_() for t in (x, edges.coef, edges.scale_base)]
    assert torch.autograd.gradcheck(curves, inputs)


class _Curves(torch.nn.Module):
    def __init__(self, edges: SplineEdges) -> None:
        super().__init__()
        self.edges = edges

    def forward(self, x: Tensor) -> Tensor:
        return self.edges.curves(x, ORDERS)[0]


def test_a_second_backward_pass_is_refused_instead_of_wrong():
    edges, x = spline_edges(), places().requires_grad_()
    (slope,) = torch.autograd.grad(edges.curves(x, 1)[0].square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_curves_of_many_coefficients_at_once():
    """vmap over the coefficients: an ensemble."""
    edges, x = spline_edges(), places()
    states = [{"edges.coef": torch.randn_like(edges.coef)} for _ in range(3)]
    stacked = {"edges.coef": torch.stack([state["edges.coef"] for state in states])}

    def call(state: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(_Curves(edges), state, (x,))

    together = torch.vmap(call)(stacked)
    assert_same(together, torch.stack([call(state) for state in states]))


@pytest.mark.parametrize("base", ["silu", "zero", "x"])
def test_a_masked_edge_is_zero_and_does_not_learn(base):
    edges = spline_edges(base=base)
    edges.mask[1, 0] = 0
    values = edges.edge_values(places())
    assert (values[:, 1, 0] == 0).all()
    assert (values[:, 0, 0] != 0).any()
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
    curves = edges.curves(ends, ORDERS)[0]
    silu = library_function("silu").jet(ends[0], 2)
    for order in range(ORDERS):
        assert_same(curves[0, :, order], silu[order][:, None] * edges.scale_base.T)
    assert_same(curves[1, :, 0], (silu[0] + (ends[1] - ends[0]) * silu[1])[:, None] * edges.scale_base.T)
    assert_same(curves[1, :, 1], curves[0, :, 1])
    assert (curves[1, :, 2] == 0).all()


@pytest.mark.parametrize("k", range(1, 10))
def test_periodic_edges_are_smooth_across_the_seam(k):
    edges = spline_edges(k=k, grid=k + 2, periodic=(0,))
    x = torch.zeros(6, 2, dtype=torch.float64)
    x[:, 0] = torch.tensor([-1, math.nextafter(1, 0), 1, 0.3, 0.3 + 2, 0.3 - 20], dtype=torch.float64)
    curves = edges.curves(x, ORDERS)[0].detach()
    for order in range(min(k, ORDERS)):
        low, high, seam, inside, after, before = curves[:, 0, order]
        scale = curves[:, 0, order].abs().max().item()
        for a, b in ((low, high), (low, seam), (inside, after), (inside, before)):
            assert (a - b).abs().max() < 1e-11 * scale
    assert (edges.base_weights[:, 0] == 0).all()
    assert (edges.base_weights[:, 1] != 0).all()


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
    assert edges.identifiable("scale_base").tolist() == [[True, False], [True, True], [True, True]]


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
    edges, x = spline_edges(**options), torch.full((4, 2), value, dtype=torch.float64)
    assert edges(x).isnan().all()
    assert edges.curves(x, ORDERS)[0][:, :, 0].isnan().all()
    with torch.no_grad():
        assert edges.curves(x, ORDERS)[0][:, :, 0].isnan().all()


@given(st.lists(st.tuples(*[st.sampled_from(SYMBOLS)] * 2), min_size=1, max_size=4), seeds)
def test_symbolic_edges_are_c_f_of_a_x_plus_b_plus_d(rows, seed):
    edges, x = symbolic_edges(*rows, seed=seed), places(seed=seed)
    edges.mask[0, 0] = 0
    found = {}
    for group, curves in zip(edges.groups, edges.curves(x, 1), strict=True):
        for target, source, values in zip(group.targets, group.sources, curves[:, 0].T, strict=True):
            found[target, source] = values
    named = {(t, s): name for t, row in enumerate(rows) for s, name in enumerate(row) if name}
    assert set(found) == set(named)
    for (target, source), name in named.items():
        a, b, c, d = edges.affine[target, source]
        expected = edges.mask[target, source] * (c * library_function(name)(a * x[:, source] + b) + d)
        assert_same(found[target, source], expected)


@given(st.sampled_from([name for name in SYMBOLS if name]), seeds)
def test_symbolic_derivatives_and_constants_agree_with_autograd(name, seed):
    edges = symbolic_edges((name, name), (name, name), seed=seed)
    edges.mask[0, 1] = 0.5
    x = places(5, seed=seed)
    (group,), (curves,) = edges.groups, edges.curves(x, ORDERS)

    def call(affine: Tensor, x: Tensor) -> Tensor:
        return torch.func.functional_call(_Group(edges), {"edges.affine": affine}, (x,))

    def derivative(f):
        return lambda affine, x: torch.func.jvp(lambda z: f(affine, z), (x,), (torch.ones_like(x),))[1]

    constants = edges.constants(group, x, ORDERS)
    for order in range(ORDERS):
        assert_same(curves[:, order].detach(), call(edges.affine, x).detach())
        jacobian = torch.func.jacrev(call)(edges.affine.detach(), x)
        own = jacobian[:, range(4), group.targets, group.sources]
        assert_same(constants[:, order].detach(), own)
        call = derivative(call)


class _Group(torch.nn.Module):
    def __init__(self, edges: SymbolicEdges) -> None:
        super().__init__()
        self.edges = edges

    def forward(self, x: Tensor) -> Tensor:
        return self.edges.curves(x, 1)[0][:, 0]


def test_each_function_is_called_once():
    edges = symbolic_edges(("sin", "exp"), ("sin", "sin"), ("", "exp"))
    assert [(group.function.name, len(group.targets)) for group in edges.groups] == [("sin", 3), ("exp", 2)]
    calls = []

    def counted(f: Function) -> Function:
        first, *others = f.derivatives
        return replace(f, derivatives=(lambda x: calls.append(f.name) or first(x), *others))

    edges.groups = [group._replace(function=counted(group.function)) for group in edges.groups]
    edges.curves(places(), 1)
    assert calls == ["sin", "exp"]


@pytest.mark.parametrize("name", [*LIBRARY, "x**(5/2)", "x**-3"])
def test_masked_symbolic_edges_are_zero_also_where_their_function_is_not_defined(name):
    edges = symbolic_edges((name,))
    edges.mask.zero_()
    x = torch.tensor([[-30.0], [0.0], [30.0]], dtype=torch.float64, requires_grad=True)
    (group,), (curves,) = edges.groups, edges.curves(x, ORDERS)
    assert (curves == 0).all()
    assert (edges.constants(group, x, ORDERS) == 0).all()
    for gradient in torch.autograd.grad(curves.sum(), [x, edges.affine], allow_unused=True, materialize_grads=True):
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
