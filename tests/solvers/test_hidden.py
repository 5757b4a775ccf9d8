import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kansci.nn.edges import SplineEdges
from kansci.nn.lan import LAN
from kansci.nn.mlp import MLP
from kansci.nn.multkan import MultKAN
from kansci.nn.networks import SplineNetwork
from kansci.solvers.hidden import NEAR, TIGHT, Reach, escapes, follow, is_far, jet_and_reach
from kansci.tracing import trace
from tests.helpers import assert_same_jet
from tests.strategies import lans, models, points

X = 2 * torch.rand(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1


def network() -> MultKAN:
    return MultKAN([2, 3, 1], grid=6)


def splines_of(model: SplineNetwork) -> SplineEdges:
    """The edges behind the hidden nodes."""
    splines = model.layers[1].splines
    assert splines is not None
    return splines


def stretched(reach: Reach, factor: float) -> Reach:
    """The same reach around the same middle, but wider."""
    ends = [((a + b) / 2, factor * (b - a) / 2) for a, b in zip(reach.low, reach.high, strict=True)]
    return Reach([middle - half for middle, half in ends], [middle + half for middle, half in ends])


@given(st.one_of(models(), lans()))
def test_jets_are_those_of_the_model_and_the_reach_that_of_its_trace(model):
    x = points(model)
    found, reach = jet_and_reach(model, x, "gradient")
    assert_same_jet(found, model.jet(x, "gradient"))
    nodes = trace(model, x).nodes[1:-1]
    assert len(reach.low) == len(nodes)
    for low, high, values in zip(reach.low, reach.high, nodes, strict=True):
        assert torch.allclose(low, values.amin(0))
        assert torch.allclose(high, values.amax(0))


def test_other_models_reach_nothing():
    model = MLP([2, 3, 1])
    _, reach = jet_and_reach(model, X, "value")
    assert reach == Reach([], [])
    assert not escapes(model, reach)
    assert not is_far(model, reach)
    assert follow(model, reach) == 0


def test_reaches_join_to_their_hull():
    a, b = (Reach([torch.tensor([low])], [torch.tensor([high])]) for low, high in ((0.0, 2.0), (-1.0, 1.0)))
    joined = a.join(b)
    assert (joined.low[0].item(), joined.high[0].item()) == (-1, 2)


def test_activations_within_the_domain_do_not_escape():
    model = network()
    _, reach = jet_and_reach(model, X, "value")
    assert not escapes(model, reach)
    assert escapes(model, stretched(reach, 2.0))
    assert not is_far(model, stretched(reach, 2.0))
    assert is_far(model, stretched(reach, 20.0))
    assert is_far(model, stretched(reach, torch.nan))


def test_activations_at_the_ends_of_the_domain_escape_before_others_are_outside():
    model = network()
    low, high = splines_of(model).domain
    ends = Reach([low], [high])
    assert escapes(model, ends)
    assert not escapes(model, stretched(ends, 1 - 3 * NEAR))
    follow(model, ends)
    assert not escapes(model, ends)


@pytest.mark.parametrize("model", [MultKAN([2, 3, 1], grid=6, base="zero"), LAN([2, 3, 1], grid=6)], ids=["KAN", "LAN"])
def test_grids_grow_around_what_escapes_and_keep_the_function(model):
    """Straight edges, which are the same beyond their domain, are kept exactly, and so are a LAN's own bases."""
    with torch.no_grad():
        splines_of(model).coef.copy_(torch.linspace(-1, 2, 9).expand(1, 3, 9))
    before = model(X)
    _, reach = jet_and_reach(model, X, "value")
    wide = stretched(reach, 1.5)
    worst = follow(model, wide)
    low, high = splines_of(model).domain
    assert not escapes(model, wide)
    assert ((low < wide.low[0]) & (high > wide.high[0])).all()
    assert worst < 1e-8
    assert (model(X) - before).abs().max() < 1e-8


def test_nothing_moves_without_need():
    model = network()
    before = splines_of(model).knots.clone()
    _, reach = jet_and_reach(model, X, "value")
    assert follow(model, reach) == 0
    assert torch.equal(splines_of(model).knots, before)


def test_tight_grids_come_close_to_the_activations():
    model = network()
    _, reach = jet_and_reach(model, X, "value")
    small = stretched(reach, 0.6)
    follow(model, small, tight=True)
    low, high = splines_of(model).domain
    span = small.high[0] - small.low[0]
    assert (low - small.low[0]).tolist() == pytest.approx((-TIGHT * span).tolist())
    assert (high - small.high[0]).tolist() == pytest.approx((TIGHT * span).tolist())


def test_nodes_without_edges_stay_as_they_are():
    model = network()
    splines_of(model).mask[:, 1] = 0
    before = splines_of(model).domain[0].clone()
    _, reach = jet_and_reach(model, X, "value")
    wide = stretched(reach, 3.0)
    follow(model, wide)
    moved = splines_of(model).domain[0] != before
    assert moved.tolist() == [True, False, True]
    assert not escapes(model, wide)
