"""Jets of sums of edges: the kernels, tensor operations, and autograd through the values must agree."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint

from kansci.config import LayerConfig, Width
from kansci.jets import LEVELS, Jet, orders_of
from kansci.nn.basis import (
    Basis,
    CompiledBasis,
    PlainBasis,
    all_functions,
    compose,
    gather_weights,
    gathers,
    in_functions,
    pairs_of,
)
from kansci.nn.edges import SplineEdges
from kansci.solvers.system import gradients
from kansci.splines import extend_grid
from tests.helpers import WAYS, assert_same, taking
from tests.strategies import edges_and_points, jet_of, seeds
from tests.thorough import examples

every_level = pytest.mark.parametrize("needs", LEVELS)
every_way = pytest.mark.parametrize("way", WAYS)
ways = st.sampled_from(WAYS)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def edges_with(n_in: int = 2, n_out: int = 3, **options) -> SplineEdges:
    return SplineEdges(LayerConfig(n_in, Width(n_out), **options), torch.Generator().manual_seed(0))


@st.composite
def cases(draw: st.DrawFn) -> tuple[SplineEdges, Jet, Tensor]:
    """Random edges, jets of their sources, and seeds of the jets of their sums."""
    edges, x = draw(edges_and_points())
    needs = draw(st.sampled_from(LEVELS if edges.config.k >= 3 else LEVELS[:2]))
    sources = jet_of(x, needs, draw(seeds))
    return edges, sources, random(len(sources.channels), len(edges.coef), x.shape[1], seed=draw(seeds))


def both(edges: SplineEdges, sources: Jet) -> tuple[CompiledBasis, PlainBasis]:
    with torch.no_grad():
        return edges.compiled(sources, edges.knots, adjoint=True), edges.plain(sources, edges.knots)


def columns_of(basis: Basis, edges: SplineEdges, given_seeds: Tensor) -> Tensor:
    """All columns, (subnode, in, functions, n)."""
    n_out, n_in, n_coef = edges.coef.shape
    splines = torch.full((n_out, n_in, n_coef, given_seeds.shape[2]), torch.nan, dtype=given_seeds.dtype)
    base = None if edges.config.base == "zero" else torch.full_like(splines[:, :, 0], torch.nan)
    basis.columns(given_seeds, splines, base)
    whole = edges.untied(splines)
    return whole if base is None else torch.cat([whole, base[:, :, None]], 2)


def compare(edges: SplineEdges, sources: Jet, given_seeds: Tensor) -> None:
    """Everything that a basis knows, by the kernels and by tensor operations."""
    weights, bias = edges.weights.detach(), torch.linspace(-1, 1, len(edges.coef)).to(given_seeds)
    compiled, plain = both(edges, sources)
    for own, other in zip(compiled.sums(edges.tied(weights), bias), plain.sums(weights, bias), strict=True):
        assert_same(own, other)
    adjoint, squares = compiled.weight_adjoint(given_seeds), compiled.weight_squares(given_seeds)
    assert_same(edges.untied(adjoint), plain.weight_adjoint(given_seeds))
    assert_same(edges.untied(squares), plain.weight_squares(given_seeds))
    assert_same(columns_of(compiled, edges, given_seeds), columns_of(plain, edges, given_seeds))


@examples(30)
@given(cases())
def test_kernels_and_tensor_operations_agree(case):
    compare(*case)


@examples(10)
@given(cases())
def test_they_agree_in_single_precision(case):
    edges, sources, given_seeds = case
    compare(edges.float(), Jet(sources.channels.float(), sources.needs, sources.d), given_seeds.float())


@every_level
@pytest.mark.parametrize("n", [1, 31, 32, 33, 200])
@pytest.mark.parametrize(("n_in", "n_out", "grid"), [(3, 7, 5), (2, 1, 40), (70, 1, 3)])
def test_any_number_of_points_sources_and_intervals(needs, n, n_in, n_out, grid):
    edges = edges_with(n_in, n_out, grid=grid)
    sources = jet_of(1.2 * random(n_in, n, seed=1), needs)
    compare(edges, sources, random(len(sources.channels), n_out, n, seed=2))


@every_level
def test_results_do_not_depend_on_the_number_of_threads(needs):
    edges, sources = edges_with(2, 3), jet_of(random(2, 500), needs)
    given_seeds, found = random(len(sources.channels), 3, 500, seed=1), []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        basis, _ = both(edges, sources)
        weights = edges.weights.detach()
        found.append(
            [basis.sums(weights), basis.source_adjoint(weights, given_seeds), basis.weight_adjoint(given_seeds)]
        )
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def jets_by_autograd(edges: SplineEdges, sources: Jet) -> Tensor:
    """Channels of the sums, with the derivatives of each edge by autograd through the values."""
    channels, d = sources.channels, sources.d
    sums = edges(channels[0])
    parts = [sums[None]]
    slopes = torch.stack([_slope(row, channels)[0] for row in sums])
    parts.append(torch.einsum("oin,cin->con", slopes, channels[1 : 1 + d]))
    if sources.orders == 3:
        curvatures = torch.stack([_slope(row, channels)[0] for row in slopes])
        first = torch.einsum("oin,cin->con", slopes, channels[1 + d :])
        parts.append(first + torch.einsum("oin,cin->con", curvatures, sources.squares()))
    return torch.cat(parts)


def _slope(values: Tensor, inputs: Tensor) -> Tensor:
    if not values.requires_grad:
        return torch.zeros_like(inputs)
    return torch.autograd.grad(values.sum(), inputs, create_graph=True, materialize_grads=True)[0]


@examples(60)
@given(cases(), ways)
def test_jets_and_adjoints_are_those_of_autograd_through_the_values(case, way):
    edges, sources, given_seeds = case
    leaf = sources.channels.clone().requires_grad_()
    watched = Jet(leaf, sources.needs, sources.d)
    inputs = [leaf, edges.coef, *([edges.scale_base] if edges.scale_base.requires_grad else [])]
    with taking(way):
        found, _ = edges.sums(watched)
        adjoints = torch.autograd.grad(found.channels, inputs, given_seeds, materialize_grads=True)
        plain = jets_by_autograd(edges, watched)
        expected = gradients((given_seeds * plain).sum(), inputs)
    assert_same(found.channels.detach(), plain.detach())
    for own, other in zip(adjoints, expected, strict=True):
        assert_same(own, other)


@every_level
@every_way
def test_adjoints_have_derivatives_of_their_own(needs, way):
    """A second backward pass, through the first one."""
    edges = edges_with(k=5)
    bias = random(3, seed=3).requires_grad_()
    leaf = jet_of(0.9 * random(2, 6), needs).channels.requires_grad_()
    inputs, weight = [leaf, edges.coef, edges.scale_base, bias], random(3, seed=2)

    def second() -> list[Tensor]:
        sums = edges.sums(Jet(leaf, needs, 2), weight, bias)[0].channels
        first = torch.autograd.grad(sums.sin().sum(), inputs, create_graph=True)
        return list(torch.autograd.grad(torch.cat([own.flatten() for own in first]).square().sum(), inputs))

    with taking(way):
        found = second()
    with taking("all functions"):
        expected = second()
    for own, other in zip(found, expected, strict=True):
        assert_same(own, other)


@every_way
def test_only_the_adjoints_asked_for_are_taken(way):
    edges, sources = edges_with(), jet_of(random(2, 5), "laplacian")
    with taking(way):
        (alone,) = torch.autograd.grad(edges.sums(sources)[0].channels.square().sum(), edges.coef)
        leaf = sources.channels.clone().requires_grad_()
        watched = Jet(leaf, "laplacian", 2)
        coef, channels = torch.autograd.grad(edges.sums(watched)[0].channels.square().sum(), (edges.coef, leaf))
        assert_same(coef, alone)
        edges.requires_grad_(False)
        (alone,) = torch.autograd.grad(edges.sums(watched)[0].channels.square().sum(), leaf)
        assert_same(channels, alone)


@every_way
def test_scale_and_bias_act_on_the_sums(way):
    edges, sources, scale, bias = edges_with(), jet_of(random(2, 5), "hessian"), random(3), random(3, seed=1)
    with taking(way):
        plain, mapped = edges.sums(sources)[0], edges.sums(sources, scale, bias)[0]
    assert_same(mapped.channels, plain.affine(scale, bias).channels)


def test_the_kernels_are_used_where_they_apply():
    edges, x = edges_with(), random(2, 5)
    assert isinstance(edges.sums(Jet(x[None], "value", 2))[1], CompiledBasis)
    kinds = []
    torch.vmap(lambda own: kinds.append(edges.sums(Jet(own[None], "value", 2))[1]) or own)(x[None])
    assert [type(kind) for kind in kinds] == [PlainBasis]


def test_what_follows_tensor_operations_gets_them():
    """Tracers, forward mode and batches of adjoints cannot look into kernels."""
    edges, x = edges_with(), random(2, 6)
    traced = make_fx(edges)(x)
    moved = x + 0.1
    assert_same(traced(moved).detach(), edges(moved).detach())
    tangent = random(2, 6, seed=1)
    with forward_ad.dual_level():
        slope = forward_ad.unpack_dual(edges(forward_ad.make_dual(x, tangent))).tangent
    assert slope is not None
    assert_same(slope.detach(), torch.func.jvp(edges, (x,), (tangent,))[1].detach())
    leaf = x.clone().requires_grad_()
    sums, adjoints = edges(leaf), random(4, 3, 6, seed=2)
    expected = torch.stack([torch.autograd.grad(sums, leaf, own, retain_graph=True)[0] for own in adjoints])
    assert_same(torch.autograd.grad(sums, leaf, adjoints, is_grads_batched=True, retain_graph=True)[0], expected)
    batched = torch.vmap(lambda own: torch.autograd.grad(sums, leaf, own, retain_graph=True)[0])(adjoints)
    assert_same(batched, expected)


def test_checkpoints_have_derivatives_of_all_orders():
    edges, leaf = edges_with(), random(2, 6).requires_grad_()

    def second(call: Callable[[Tensor], Tensor]) -> Tensor:
        (slope,) = torch.autograd.grad(call(leaf).sin().sum(), leaf, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), leaf)[0]

    assert_same(second(lambda x: checkpoint(edges, x, use_reentrant=False)), second(edges))


def test_a_negated_view_is_read_with_its_sign():
    edges, x = edges_with(n_in=1), torch.tensor([[0.5 + 0.3j]], dtype=torch.complex128).conj().imag
    assert x.is_neg()
    assert_same(edges(x).detach(), edges(x.clone()).detach())


@every_level
def test_kept_bases_hold_no_graph(needs):
    leaf = jet_of(random(2, 6), needs).channels.requires_grad_()
    _, basis = edges_with().sums(Jet(leaf * 1, needs, 2))
    assert not any(own.requires_grad for own in vars(basis)["_arrays"].values())


def test_powers_that_single_precision_cannot_hold_are_left_to_torch():
    edges, x = edges_with(uniform=False, k=7, grid=3).float(), torch.rand(2, 20) * 2 - 1
    breaks = torch.tensor([[-1.0, -0.5, -0.5 + 1e-6, 1.0]] * 2)
    edges.knots = extend_grid(breaks, 7)
    assert edges(x).isfinite().all()


def test_tensors_of_several_kinds_are_left_to_torch():
    with pytest.raises(RuntimeError, match="expected scalar type Float but found Double"):
        edges_with().float().sums(Jet(random(1, 2, 5), "value", 2))
    edges = edges_with()
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert isinstance(edges.sums(Jet(torch.rand(1, 2, 5).double(), "value", 2))[1], PlainBasis)


def test_sources_changed_in_place_are_refused():
    edges, x = edges_with(), random(1, 2, 5)
    sums, _ = edges.sums(Jet(x, "value", 2))
    x += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        sums.channels.sum().backward()


def test_few_targets_and_fine_grids_are_gathered():
    cases = [(1, 9), (1, 8), (4, 33), (4, 9)]
    assert [gathers(n_out, n_functions) for n_out, n_functions in cases] == [True, False, True, False]


NUMBERS = torch.tensor([[[0, 2, 4], [1, 3, 0]], [[3, 3, 1], [4, 4, 2]]])  # 2 of 5 functions, 2 sources, 3 points


def test_functions_alive_stand_at_their_numbers():
    values = random(2, 2, 3)
    found = all_functions(values, in_functions(NUMBERS), 5)
    expected = torch.zeros(2, 5, 3, dtype=torch.float64)
    for source, alive, point in torch.cartesian_prod(torch.arange(2), torch.arange(2), torch.arange(3)).tolist():
        expected[source, NUMBERS[source, alive, point], point] = values[source, alive, point]
    assert torch.equal(found, expected)
    assert torch.equal(found.flatten(1).gather(1, in_functions(NUMBERS)), values.flatten(1))


def test_weights_are_gathered_by_their_numbers():
    weights = random(4, 2, 5)
    found = gather_weights(weights, NUMBERS)
    assert found.shape == (4, 2, 2, 3)
    for source, alive, point in torch.cartesian_prod(torch.arange(2), torch.arange(2), torch.arange(3)).tolist():
        assert torch.equal(found[:, source, alive, point], weights[:, source, NUMBERS[source, alive, point]])


def waves(y: Tensor, orders: int) -> Tensor:
    """sin(y), sin(2 y) and sin(3 y) with their derivatives, (in, orders, 3, n)."""
    frequency = torch.arange(1, 4, dtype=torch.float64)[:, None]
    return torch.stack([frequency**m * (frequency * y[:, None] + m * torch.pi / 2).sin() for m in range(orders)], 1)


@every_level
def test_compositions_are_those_of_jets(needs):
    sources, within = jet_of(random(2, 4), needs), torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0]]).double()
    found = compose(sources, within, waves(sources.channels[0], orders_of(needs)))
    for source in range(2):
        derivatives = waves(sources.channels[0], orders_of(needs))[source].clone()
        derivatives[2:] *= within[source]
        expected = sources.select([source] * 3).apply(derivatives)
        assert_same(found[:, source], expected.channels)


@every_level
def test_what_has_no_second_derivatives_has_no_pairs(needs):
    assert (len(pairs_of(needs, 2)) > 0) == (orders_of(needs) == 3)


@every_level
@every_way
def test_memory_is_what_tensors_hold(needs, way):
    sources = jet_of(random(20, 500), needs)
    with taking(way):
        _, basis = edges_with(n_in=20).sums(sources)
    held = vars(basis).get("_arrays", vars(basis)).values()
    assert basis.nbytes == sum(own.nbytes for own in held if isinstance(own, Tensor))
    assert basis.nbytes > sources.channels.nbytes
