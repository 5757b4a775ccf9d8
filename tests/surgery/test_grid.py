import logging
import math
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kansci.config import ModelConfig
from kansci.errors import ConfigError, DataError, ShapeError
from kansci.nn.edges import SplineEdges
from kansci.nn.lan import LAN
from kansci.nn.multkan import MultKAN
from kansci.splines import uniform_knots
from kansci.surgery.grid import adapt_grid, move_knots, refine
from tests.helpers import assert_same
from tests.strategies import lans, models, points, seeds

every_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


def grids(model: MultKAN) -> list[int]:
    return [layer.config.grid for layer in model.layers if layer.splines is not None]


def only_splines(model: MultKAN, grid: int) -> MultKAN:
    """The same kinds of layers with splines on grids that a single number can refine."""
    layers = tuple(replace(layer, grid=grid, periodic=()) for layer in model.config.layers)
    return MultKAN.from_config(ModelConfig(layers))


def splines_of(model: MultKAN, number: int = 0) -> SplineEdges:
    splines = model.layers[number].splines
    assert splines is not None
    return splines


@given(models(), st.integers(1, 4), seeds)
def test_refining_to_a_multiple_keeps_the_function_everywhere(model, factor, seed):
    """Each layer on its own, because their grids differ: also outside, periodic, and on knots of any spacing."""
    for layer in model.layers:
        single = MultKAN.from_layers([layer])
        x = points(single, 20, seed, stretch=1.6)
        finer = refine(single, factor * layer.config.grid)
        assert grids(finer) == ([] if layer.splines is None else [factor * layer.config.grid])
        scale = single(points(single, 100)).abs().max().item()
        assert_same(finer(x).detach(), single(x).detach(), scale=scale)


@given(lans(), st.integers(1, 4), seeds)
def test_refining_a_lan_to_a_multiple_keeps_the_function_everywhere(model, factor, seed):
    own = {layer.splines.config.grid for layer in model.layers if layer.splines is not None}
    grid = factor * math.lcm(*own)
    finer = refine(model, grid)
    assert {layer.splines.config.grid for layer in finer.layers if layer.splines is not None} == (
        {grid} if own else own
    )
    x = points(model, 20, seed, stretch=1.6)
    scale = max(model(x).abs().max().item(), model(points(model, 100)).abs().max().item())
    assert_same(finer(x).detach(), model(x).detach(), 1e-11, scale=scale)


def test_grids_of_a_lan_follow_the_data():
    model = LAN([2, 4, 1], grid=40, seed=1)
    x = points(model, 500, stretch=0.3)
    adapted = adapt_grid(model, x)
    assert_same(adapted(x).detach(), model(x).detach(), 1e-2)
    before, after = (own.layers[1].splines for own in (model, adapted))
    assert before is not None
    assert after is not None
    assert not after.config.uniform
    assert ((after.domain[1] - after.domain[0]) < 0.5 * (before.domain[1] - before.domain[0])).all()
    refined = refine(adapted, 80)
    assert_same(refined(x).detach(), adapted(x).detach())


@pytest.mark.parametrize("k", range(1, 10))
def test_refining_again_and_again_keeps_the_function(k):
    model = MultKAN([2, [2, 1], 1], k=k, grid=2)
    x = points(model, 50)
    finer = model
    for grid in (4, 12, 48):
        finer = refine(finer, grid)
    assert_same(finer(x).detach(), model(x).detach())
    if k >= 3:
        assert_same(finer.jet(x).laplacian.detach(), model.jet(x).laplacian.detach())


@every_dtype
def test_refining_keeps_everything_else(dtype):
    model = MultKAN([2, [2, 1], 1], seed=1, dtype=dtype)
    splines_of(model).mask[0, 1] = 0
    splines_of(model).scale_base.requires_grad_(False)
    model.layers[1].node_scale.requires_grad_(True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for finer in (refine(model, 10), refine(model, 7, tolerance=1.0)):
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        assert grids(model) == [5, 5]
        after = dict(finer.state_dict())
        assert all(tensor.dtype == dtype for tensor in after.values())
        kept = [name for name in before if not name.endswith(("coef", "knots"))]
        assert all(torch.equal(after[name], before[name]) for name in kept)
        trained = {name: p.requires_grad for name, p in model.named_parameters()}
        assert trained == {name: p.requires_grad for name, p in finer.named_parameters()}
        assert finer.layers[0].splines is not model.layers[0].splines
        assert splines_of(finer).config == finer.layers[0].config


@every_dtype
def test_a_change_of_one_model_leaves_the_other_alone(dtype):
    model = MultKAN([2, 2, 1], dtype=dtype)
    x, finer = points(model), refine(model, 5)
    before = model(x)
    with torch.no_grad():
        for parameter in finer.parameters():
            parameter.add_(1)
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("k", [1, 2, 3, 5, 7])
def test_projection_converges_with_order_k_plus_one(k):
    """A fine spline that resolves sin 4x, brought to grids that do not contain its knots."""
    source = MultKAN([1, 1], grid=16 * 27, k=k, base="zero")
    x = torch.linspace(-1, 1, 2000, dtype=torch.float64)[:, None]
    edges = splines_of(source)
    greville = edges.knots[:, 1:-1].unfold(1, k, 1).mean(2)
    with torch.no_grad():
        edges.coef.copy_((4 * greville).sin()[None])
    errors = []
    for grid in (10, 20, 40):
        found = refine(source, grid, tolerance=1.0)
        errors.append((found(x) - source(x)).detach().square().mean().sqrt())
    orders = torch.log2(torch.stack(errors[:-1]) / torch.stack(errors[1:]))
    assert (orders > k + 0.8).all(), orders


def test_refining_to_another_number_is_refused_where_it_would_change_the_function():
    model = MultKAN([1, 1], grid=20)
    with pytest.raises(ConfigError, match=r"from 20 to 3 intervals: the projection error .* tolerance=0.01; use"):
        refine(model, 3)
    assert grids(refine(model, 3, tolerance=2.0)) == [3]


@pytest.mark.parametrize("grid", [0, -5, 2.5, True])
def test_bad_grids_are_refused(grid, unchecked):
    with pytest.raises(ConfigError, match=f"expected grid .* got {grid}"):
        refine(MultKAN([2, 1]), grid)


def test_symbolic_layers_have_no_grid():
    @settings(max_examples=5)
    @given(models().filter(lambda model: not grids(model)))
    def check(model):
        x = points(model)
        assert torch.equal(refine(model, 7)(x), model(x))
        assert torch.equal(adapt_grid(model, x)(x), model(x))

    check()


@settings(max_examples=40)
@given(models(st.integers(2, 9)), st.sampled_from([0.0, 0.5, 1.0]), seeds)
def test_adapted_edges_agree_within_the_reported_error(model, uniformity, seed):
    """On points of the projection's own density: the middles of many parts of each interval."""
    for layer in model.layers:
        if layer.splines is None:
            continue
        single = MultKAN.from_layers([layer])
        x = points(single, 200, seed, stretch=0.8)
        logger, records = logging.getLogger("kansci.surgery.grid"), _Records()
        logger.addHandler(records)
        logger.setLevel(logging.INFO)
        adapted = adapt_grid(single, x, uniformity=uniformity, tolerance=torch.inf)
        logger.removeHandler(records)
        (reported,) = records.errors
        old, new = splines_of(single), splines_of(adapted)
        places = _dense_places(new)
        before, after = old.edge_values(places), new.edge_values(places)
        error = (after - before).square().mean(-1).sqrt()
        deviation = before.std(-1)
        floor = 1e-3 * deviation.max() + 1e-7 * before.abs().max()
        assert (error <= 2 * reported * deviation.clamp(min=floor) + 1e-12).all()


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.errors: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.errors += [float(text) for text in re.findall(r"error (\S+)$", record.getMessage())]


def _dense_places(edges: SplineEdges) -> Tensor:
    k = edges.config.k
    grid = edges.knots[:, k : edges.knots.shape[1] - k]
    share = (torch.arange(40, dtype=grid.dtype) + 0.5) / 40
    return torch.lerp(grid[:, :-1, None], grid[:, 1:, None], share).flatten(1)


@pytest.mark.parametrize("uniformity", [0.0, 0.5, 1.0])
def test_adapted_models_stay_close_to_the_function_on_the_data(uniformity):
    model = MultKAN([2, [2, 1], 1], grid=8, k=4)
    x = points(model, 500, stretch=0.7) ** 3
    adapted = adapt_grid(model, x, uniformity=uniformity)
    difference = (adapted(x) - model(x)).detach().square().mean().sqrt()
    assert 0 < difference < 1e-2 * model(x).detach().std()
    low, high = adapted.domain
    spread = x.amax(0) - x.amin(0)
    torch.testing.assert_close(low, x.amin(0) - 0.05 * spread)
    torch.testing.assert_close(high, x.amax(0) + 0.05 * spread)
    assert [layer.config.uniform for layer in adapted.layers] == [uniformity == 1] * 2


def test_quantiles_put_equal_numbers_of_points_into_the_intervals():
    model = MultKAN([1, 1], grid=5, k=2)
    x = torch.linspace(0, 1, 501, dtype=torch.float64)[:, None] ** 3
    knots = splines_of(adapt_grid(model, x, uniformity=0.0, margin=0.0, tolerance=1.0)).knots[0, 2:-2]
    counts = torch.histogram(x[:, 0], knots).hist
    assert ((counts - 100).abs() < 5).all()


def test_adapted_models_are_new_and_can_be_refined_exactly():
    model = MultKAN([2, 2, 1], grid=6)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapted = adapt_grid(model, points(model, 300) * 0.5, tolerance=1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    x = points(model, 50)
    assert_same(refine(adapted, 18)(x).detach(), adapted(x).detach())
    assert_same(refine(adapted, 7, tolerance=1.0).domain[0], adapted.domain[0])


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_grids_follow_data_of_any_unit(scale):
    model = MultKAN([1, 2, 1], domain=(0.0, scale), grid=8, k=4)
    x = scale * torch.linspace(0.2, 0.6, 200, dtype=torch.float64)[:, None]
    adapted = adapt_grid(model, x, margin=0.0)
    assert [end.item() / scale for end in adapted.domain] == pytest.approx([0.2, 0.6])
    assert (adapted(x) - model(x)).abs().max() < 1e-2 * model(x).std()


def test_sources_that_do_not_vary_keep_their_domain():
    """A constant column would give a grid of no width."""
    model = MultKAN([2, 2, 1], domain=[(0.0, 1.0), (-3.0, 3.0)])
    x = torch.stack([torch.linspace(0, 0.5, 50), torch.full((50,), 2.0)], 1).double()
    low, high = adapt_grid(model, x).domain
    assert (low[1].item(), high[1].item()) == (-3.0, 3.0)
    assert high[0] == pytest.approx(0.525)


def test_periodic_inputs_keep_their_period():
    model = MultKAN([2, 2, 1], grid=8, periodic=[1])
    adapted = adapt_grid(model, points(model, 300) * 0.5, tolerance=1.0)
    old, new = splines_of(model), splines_of(adapted)
    assert_same(new.knots[1], old.knots[1])
    assert not torch.allclose(new.knots[0], old.knots[0])
    x = points(model, 50) * 0.4
    assert_same(adapted(x + torch.tensor([0.0, 4.0])).detach(), adapted(x).detach())


def test_edges_that_are_switched_off_do_no_harm():
    model = MultKAN([1, 1, 1], base="zero")
    with torch.no_grad():
        splines_of(model).scale_spline.zero_()
        splines_of(model, 1).mask.zero_()
        model.layers[1].node_bias.fill_(0.3)
    x = points(model, 100)
    assert (adapt_grid(model, 0.5 * x)(x) == 0.3).all()


def test_a_base_function_that_no_spline_can_correct_is_refused():
    model = MultKAN([1, 1], base="x")
    with torch.no_grad():
        splines_of(model).scale_spline.zero_()
    with pytest.raises(ConfigError, match=r"adapting the grid .* error 1.0e\+00 exceeds"):
        adapt_grid(model, 0.5 * points(model, 100, stretch=1.0), margin=0.0)


@every_dtype
def test_a_layer_of_constants_can_be_adapted(dtype):
    model = MultKAN([1, 2, 1], base="zero", dtype=dtype)
    with torch.no_grad():
        splines_of(model).coef.fill_(0.3)
    x = points(model, 100)
    assert_same(adapt_grid(model, x * 0.5)(x).detach(), model(x).detach(), 300 * torch.finfo(dtype).eps)


def test_move_knots_reports_its_error_and_changes_the_layer_in_place():
    model = MultKAN([1, 1], grid=12)
    layer = model.layers[0]
    x = torch.linspace(-1, 1, 1000, dtype=torch.float64)[:, None]
    before = model(x).detach()
    error = move_knots(layer, uniform_knots(torch.tensor([-1.0]), torch.tensor([1.0]), 5, 3).double(), grid=5)
    after = model(x).detach()
    assert (after - before).square().mean().sqrt() / before.std() == pytest.approx(error, rel=0.2)
    assert error > 1e-3
    assert layer.config.grid == 5


def test_move_knots_needs_splines():
    layer = MultKAN.from_config(ModelConfig((_symbolic(),))).layers[0]
    with pytest.raises(ConfigError, match="expected a layer with spline edges"):
        move_knots(layer, torch.zeros(1, 12).double())


def _symbolic():
    from kansci.config import LayerConfig, Width

    return LayerConfig(1, Width(1), splines=False, symbols=(("sin",),))


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (torch.zeros(5, 3).double(), {}, ShapeError, r"\(n, 2\)"),
        (torch.zeros(0, 2).double(), {}, DataError, "at least one row"),
        (torch.full((5, 2), torch.nan).double(), {}, DataError, "NaN or infinity in 5 rows: 0, 1, 2, 3, 4"),
        (torch.rand(5, 2).double(), {"uniformity": 1.5}, ConfigError, "between 0 .* and 1 .* got 1.5"),
        (torch.rand(5, 2).double(), {"uniformity": torch.nan}, ConfigError, "got nan"),
        (torch.rand(5, 2).double(), {"margin": -0.1}, ConfigError, "0 or more, got -0.1"),
    ],
)
def test_bad_arguments_are_refused(x, options, error, message):
    with pytest.raises(error, match=message):
        adapt_grid(MultKAN([2, 1]), x, **options)
