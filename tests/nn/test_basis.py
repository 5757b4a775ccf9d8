"""The bilinear map of weights and basis, its adjoints, and the two ways to take each."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kansci.config import LayerConfig, Width
from kansci.jets import LEVELS, Jet, orders_of
from kansci.nn.basis import (
    EdgeBasis,
    all_functions,
    compose,
    compose_adjoint,
    contract,
    contract_adjoint,
    gather_weights,
    gathers,
    in_functions,
    in_functions_after,
    order_seeds,
    outer,
    source_adjoint,
    weigh,
)
from kansci.nn.edges import SplineEdges
from kansci.solvers.system import gradients
from tests.helpers import ALWAYS, NEVER, assert_same, gathering
from tests.strategies import edges_and_points, jet_of, seeds

every_level = pytest.mark.parametrize("needs", LEVELS)
every_way = pytest.mark.parametrize("limit", [ALWAYS, NEVER])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@st.composite
def cases(draw: st.DrawFn) -> tuple[SplineEdges, Jet, Tensor]:
    """Random edges, jets of their sources, and seeds of the jets of their sums."""
    edges, x = draw(edges_and_points())
    needs = draw(st.sampled_from(LEVELS if edges.config.k >= 3 else LEVELS[:2]))
    sources = jet_of(x, needs, draw(seeds))
    return edges, sources, random(len(sources.channels), len(edges.coef), x.shape[1], seed=draw(seeds))


def jets_by_autograd(edges: SplineEdges, sources: Jet) -> Tensor:
    """Channels of the sums, with the derivatives of each edge by autograd through the plain forward."""
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


def basis_of(edges: SplineEdges, sources: Jet) -> EdgeBasis:
    return edges.basis(sources, adjoint=True)


@given(cases())
def test_both_ways_are_the_same(case):
    edges, sources, given_seeds = case
    basis, weights = basis_of(edges, sources), edges.weights.detach()
    found = []
    for limit in (ALWAYS, NEVER):
        with gathering(limit):
            assert gathers(len(weights), basis.n_functions) == (limit == ALWAYS)
            sums = contract(weights, basis)
            found.append((sums, source_adjoint(given_seeds, weights, basis), contract_adjoint(given_seeds, basis)))
    for a, b in zip(*found, strict=True):
        for own, other in zip(a, b, strict=True):
            assert_same(own, other)


@given(cases(), st.sampled_from([ALWAYS, NEVER]))
def test_sums_are_products_of_weights_and_basis(case, limit):
    edges, sources, _ = case
    basis, weights = basis_of(edges, sources), edges.weights.detach()
    with gathering(limit):
        assert_same(contract(weights, basis), torch.einsum("op,cpn->con", weights.flatten(1), basis.dense))


@given(cases(), st.sampled_from([ALWAYS, NEVER]))
def test_values_and_adjoints_are_those_of_the_plain_forward(case, limit):
    edges, sources, given_seeds = case
    leaf = sources.channels.clone().requires_grad_()
    watched = Jet(leaf, sources.needs, sources.d)
    inputs = [leaf, edges.coef, *([edges.scale_base] if edges.scale_base.requires_grad else [])]
    with gathering(limit):
        found, _ = edges.sums(watched)
        adjoints = torch.autograd.grad(found.channels, inputs, given_seeds)
    plain = jets_by_autograd(edges, watched)
    assert_same(found.channels.detach(), plain.detach())
    expected = gradients((given_seeds * plain).sum(), inputs)
    for own, other in zip(adjoints, expected, strict=True):
        assert_same(own, other)


@given(cases(), st.sampled_from([ALWAYS, NEVER]), seeds)
def test_the_adjoint_in_the_weights_is_the_one_of_a_linear_map(case, limit, seed):
    edges, sources, given_seeds = case
    basis, weights = basis_of(edges, sources), random(*edges.weights.shape, seed=seed)
    with gathering(limit):
        left = given_seeds * contract(weights, basis)
        right = weights * contract_adjoint(given_seeds, basis)
    assert_same(left.sum(), right.sum(), scale=left.abs().sum().item())


@every_level
@every_way
def test_the_adjoint_in_the_sources_agrees_with_finite_differences(needs, limit):
    edges = SplineEdges(LayerConfig(2, Width(3), grid=6, k=5), torch.Generator().manual_seed(0))
    sources = jet_of(0.7 * random(2, 4), needs)
    basis, weights, step = basis_of(edges, sources), edges.weights.detach(), 1e-6
    given_seeds, direction = random(len(sources.channels), 3, 4, seed=1), random(*sources.channels.shape, seed=2)
    with gathering(limit):
        found = (source_adjoint(given_seeds, weights, basis) * direction).sum()
        moved = [edges.basis(Jet(sources.channels + shift * direction, needs, 2)) for shift in (step, -step)]
        ends = [(given_seeds * contract(weights, own)).sum() for own in moved]
    assert_same(found, (ends[0] - ends[1]) / (2 * step), 1e-6)


@every_way
def test_only_the_adjoints_asked_for_are_taken(limit):
    edges = SplineEdges(LayerConfig(2, Width(3)), torch.Generator().manual_seed(0))
    sources = jet_of(random(2, 5), "laplacian")
    with gathering(limit):
        (alone,) = torch.autograd.grad(edges.sums(sources)[0].channels.square().sum(), edges.coef)
        leaf = sources.channels.clone().requires_grad_()
        watched = Jet(leaf, "laplacian", 2)
        coef, channels = torch.autograd.grad(edges.sums(watched)[0].channels.square().sum(), (edges.coef, leaf))
        assert_same(coef, alone)
        edges.requires_grad_(False)
        (alone,) = torch.autograd.grad(edges.sums(watched)[0].channels.square().sum(), leaf)
        assert_same(channels, alone)


def test_few_targets_and_fine_grids_are_gathered():
    cases = [(1, 9), (1, 8), (4, 33), (4, 9)]
    assert [gathers(n_out, n_functions) for n_out, n_functions in cases] == [True, False, True, False]


@given(edges_and_points(), st.sampled_from([ALWAYS, NEVER]))
def test_the_plain_forward_is_differentiable_in_both_ways(given_edges, limit):
    edges, x = given_edges
    x = x.requires_grad_()
    plain = torch.einsum("oip,ipn->on", edges.effective_coef, edges.splines_at(x))
    inputs, given_seeds = [edges.coef, x], random(*plain.shape)
    edges.scale_base.requires_grad_(False).zero_()
    with gathering(limit):
        found = edges(x)
    assert_same(found.detach(), plain.detach())
    for own, other in zip(*(torch.autograd.grad(f, inputs, given_seeds) for f in (found, plain)), strict=True):
        assert_same(own, other)


NUMBERS = torch.tensor([[[0, 2, 4], [1, 3, 0]], [[3, 3, 1], [4, 4, 2]]])  # 2 of 5 functions, 2 sources, 3 points


def test_functions_alive_stand_at_their_numbers():
    values = random(2, 2, 3)
    found = all_functions(values, in_functions(NUMBERS), 5)
    expected = torch.zeros(2, 5, 3, dtype=torch.float64)
    for source, alive, point in torch.cartesian_prod(torch.arange(2), torch.arange(2), torch.arange(3)).tolist():
        expected[source, NUMBERS[source, alive, point], point] = values[source, alive, point]
    assert torch.equal(found, expected)
    assert torch.equal(found.flatten(1).gather(1, in_functions(NUMBERS)), values.flatten(1))


def test_functions_that_follow_each_other_need_no_numbers():
    first = torch.tensor([[0, 2, 4], [1, 3, 0]])
    numbers = first[:, None] + torch.arange(3)[:, None]
    assert torch.equal(in_functions_after(first, 3), in_functions(numbers))
    assert in_functions_after(first[:, :0], 3).shape == (2, 0)


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


def basis_with(sources: Jet, derivatives: Tensor, within: Tensor) -> EdgeBasis:
    numbers = torch.arange(3)[:, None].expand(len(within), 3, within.shape[1])
    return EdgeBasis(sources, torch.ones(len(within), 1).double(), numbers, within, derivatives, 3)


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
def test_the_adjoint_of_compositions_agrees_with_autograd(needs):
    sources = jet_of(random(2, 4), needs)
    seeded = random(len(sources.channels), 2, 3, 4, seed=1)
    leaf = sources.channels.clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for source in range(2):
        each = Jet(leaf, needs, 2).select([source] * 3)
        total = total + (seeded[:, source] * each.apply(waves(leaf[0], orders_of(needs))[source]).channels).sum()
    basis = basis_with(sources, waves(sources.channels[0], orders_of(needs) + 1), torch.ones(2, 4).double())
    assert_same(compose_adjoint(basis, basis.derivatives, seeded), torch.autograd.grad(total, leaf)[0])


@every_level
def test_seeds_of_the_orders_are_what_derivatives_of_edges_are_weighted_with(needs):
    """<seeds, sum_i phi_i(y_i)> is linear in phi, phi' and phi''."""
    within = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0]]).double()
    sources = jet_of(random(2, 4), needs)
    seeded = random(len(sources.channels), 3, 4, seed=1)
    basis = basis_with(sources, random(2, orders_of(needs), 3, 4, seed=2), within)
    orders = order_seeds(seeded, basis)
    assert len(orders) == orders_of(needs)
    composed = compose(sources, within, basis.derivatives)
    assert_same(weigh(orders, basis.derivatives), torch.einsum("con,cian->oian", seeded, composed))
    assert torch.equal(orders[0], seeded[0][:, None])


def test_weighing_and_outer_products_are_sums():
    a, y = random(4, 3, 5), random(4, 2, 5, seed=1)
    assert_same(outer(a, y), torch.einsum("con,cin->oin", a, y))
    derivatives, own = random(2, 4, 6, 5), random(4, 3, 2, 5, seed=1)
    assert_same(weigh(list(own), derivatives), torch.einsum("qoin,iqan->oian", own, derivatives))


@every_level
def test_memory_is_counted(needs):
    edges = SplineEdges(LayerConfig(2, Width(3)), torch.Generator().manual_seed(0))
    basis = basis_of(edges, jet_of(random(2, 5), needs))
    held = [basis.sources.channels, basis.splines, basis.derivatives, basis.dense]
    assert basis.nbytes == sum(tensor.nbytes for tensor in held)
