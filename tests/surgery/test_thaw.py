import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kansci.config import Edge
from kansci.errors import ConfigError, DataError, DomainError, ShapeError
from kansci.nn.multkan import MultKAN
from kansci.surgery.grow import deepen
from kansci.surgery.perturb import perturb
from kansci.surgery.selection import symbolic_edges
from kansci.surgery.thaw import thaw
from kansci.symbolic.kanpiler import auxiliary_features, kanpile
from kansci.tracing import trace
from tests.helpers import assert_kept, assert_same, trained_columns, unchanged
from tests.strategies import models, points, seeds
from tests.thorough import examples


def interval(low, high, n=200):
    return torch.linspace(low, high, n, dtype=torch.float64)[:, None]


@examples(15)
@given(models(st.integers(3, 7), periodic=False), seeds)
def test_thawed_networks_are_the_same_function_on_the_data(model, seed):
    x = points(model, 60, seed, stretch=0.9)
    with unchanged(model):
        thawed = thaw(model, x, tolerance=1e-6)
    assert not any(symbolic_edges(layer).any() for layer in thawed.layers)
    before, after = trace(model, x), trace(thawed, x)
    for old, new in zip(before.edges, after.edges, strict=True):
        assert_same(new, old, 1e-3)
    assert_kept(thawed, thawed, x)


def test_only_the_error_asked_for_is_made_in_one_layer():
    @given(models(st.integers(3, 7), periodic=False), st.sampled_from([1e-3, 1e-6, 1e-8]), seeds)
    def check(model, tolerance, seed):
        single = MultKAN.from_layers([model.layers[0]])
        x = points(single, 60, seed, stretch=0.9)
        before = trace(single, x).edges[0]
        error = (trace(thaw(single, x, tolerance=tolerance), x).edges[0] - before).square().mean(0).sqrt()
        limit = before.std(0, correction=0).maximum(1e-6 * before.abs().amax(0))
        assert (error <= 1.01 * tolerance * limit + 1e-13 * before.abs().max()).all()

    check()


def test_other_edges_are_kept_exactly():
    """Splines of the same layer are refined; symbolic edges that are not named stay."""
    model = perturb(kanpile(["exp(x) + sin(y)", "cos(x)*y"], ["x", "y"]), edges="all", scale=0.3)
    x = points(model, 100, stretch=1.0)
    thawed = thaw(model, x, [Edge(0, 0, 0)])
    assert thawed.config.layers[0].symbols[0] == ("", "sin")
    assert thawed.layers[0].config.grid > 5
    before, after = trace(model, x).edges[0], trace(thawed, x).edges[0]
    assert_same(after[:, 0, 0], before[:, 0, 0], 1e-7)
    after[:, 0, 0] = before[:, 0, 0]
    assert_same(after, before)


def test_thawed_edges_can_be_trained():
    model = kanpile("exp(sin(x)*y)", ["x", "y"])
    x = points(model, 2000, stretch=1.0)
    thawed = thaw(model, x, tolerance=1e-4)
    columns = trained_columns(thawed, x)
    assert list(columns) == [f"layers.{number}.splines.coef" for number in range(len(model.layers))]
    assert (columns["layers.0.splines.coef"].amax(0)[:, 1:-1] > 0).all()


def test_masked_edges_stay_masked():
    model = kanpile(["exp(x) + sin(y)"], ["x", "y"])
    assert model.layers[0].symbols is not None
    model.layers[0].symbols.mask[0, 1] = 0
    x = torch.rand(50, 2, dtype=torch.float64)
    thawed = thaw(model, x)
    assert thawed.layers[0].splines is not None
    assert thawed.layers[0].splines.mask.tolist() == [[1, 0]]
    assert_same(thawed(x).detach(), model(x).detach(), 1e-8)
    with pytest.raises(ConfigError, match=r"not masked, got Edge\(layer=0, target=0, source=1\)"):
        thaw(model, x, [Edge(0, 0, 1)])


@pytest.mark.parametrize("formula", ["log(x)", "sqrt(x)**3", "1/x", "tan(x)", "asin(x/1.5)", "atanh(x/1.55)"])
def test_grids_keep_away_from_singular_points(formula):
    """The margin of a tenth would reach beyond 0, pi/2 or 1.55."""
    x = interval(0.1, 1.45)
    thawed = thaw(kanpile(formula, ["x"]), x, tolerance=1e-6)
    low, high = thawed.domain
    assert -0.04 < low.item() < 0.1
    assert 1.45 < high.item() < 1.6
    assert thawed.layers[0].config.grid < 1000


def test_a_deepened_network_becomes_one_of_splines():
    model = MultKAN([2, 3, 1], seed=2)
    x = points(model, 100, stretch=1.0)
    thawed = thaw(deepen(model, 2), x)
    assert_same(thawed(x).detach(), model(x).detach(), 1e-9)
    assert thawed.layers[1].symbols is None
    assert [layer.config.grid for layer in thawed.layers] == [5, 5, 5]


def test_single_precision():
    model = kanpile("sin(x)", ["x"]).to(torch.float32)
    x = interval(-2, 2).to(torch.float32)
    thawed = thaw(model, x)
    assert thawed.dtype == torch.float32
    assert_same(thawed(x).detach(), model(x).detach())


def test_features_and_constants():
    features = auxiliary_features("x*y", ["x", "y"])
    model = perturb(deepen(MultKAN([3, 2, 1], features=features), 1))
    x = torch.rand(80, 2, dtype=torch.float64)
    x[:, 1] = 0.5
    assert_same(thaw(model, x)(x).detach(), model(x).detach(), 1e-8)


def test_what_splines_cannot_follow_is_refused():
    model = kanpile("x + abs(y)", ["x", "y"])
    with pytest.raises(
        ConfigError,
        match=r"to tolerance=1e-08, got an error of .* with 640 intervals of Edge\(layer=0, target=0, source=1\)",
    ):
        thaw(model, 2 * torch.rand(99, 2, dtype=torch.float64) - 1)


def test_points_outside_a_grid_that_other_edges_need_are_refused():
    model = perturb(kanpile(["sin(x)"], ["x"]), domain=(-1, 1), scale=0.1)
    with pytest.raises(ConfigError, match="expected edges that splines can follow"):
        thaw(model, interval(-3, 3))


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (interval(1, 2), {"tolerance": 0.0}, ConfigError, "above 0, got 0.0"),
        (interval(-1, 2), {}, DomainError, "finite at x, got infinity in layer 0"),
        (torch.zeros(3, 2).double(), {}, ShapeError, r"\(n, 1\)"),
        (torch.full((3, 1), torch.nan).double(), {}, DataError, "finite numbers"),
        (interval(1, 2), {"edges": [Edge(0, 1, 0)]}, ConfigError, "subnodes below 1"),
    ],
)
def test_bad_arguments_are_refused(x, options, error, message):
    with pytest.raises(error, match=message):
        thaw(kanpile("log(x)", ["x"]), x, **options)
