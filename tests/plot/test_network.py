"""The picture of a network: what is drawn, where, and how strongly."""

import copy
import io
import time
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba

from kansci.config import LayerConfig, Width
from kansci.errors import ConfigError, DataError, DtypeError, ShapeError
from kansci.nn.lan import LAN
from kansci.nn.layer import KANLayer
from kansci.nn.mlp import MLP
from kansci.nn.multkan import MultKAN
from kansci.plot import draw_network
from kansci.plot.style import BOTH, SPLINE, SYMBOLIC
from kansci.symbolic.kanpiler import auxiliary_features
from kansci.tracing import trace

WIDTHS = [
    [2, 5, 1],
    [4, 2, 1, 1],
    [2, [3, 2], 1],
    [3, [2, [2, 3]], 2],
    [2, 10, 1],
    [2, 5, 5, 1],
    [10, 20, 5, 1],
]


def network(width, **options) -> Any:
    return MultKAN(width, **options)


def stack(*layers) -> Any:
    return MultKAN.from_layers(layers)


def draw(model, *arguments, **options) -> Any:
    return draw_network(model, *arguments, **options)


def collection(ax, gid):
    (found,) = [group for group in ax.collections if group.get_gid() == gid]
    return found


def shapes(ax, gid):
    return [path.vertices for path in collection(ax, gid).get_paths()]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def symbolic_layer(names, splines=False) -> Any:
    config = LayerConfig(len(names[0]), Width(len(names)), splines=splines, symbols=names)
    return KANLayer(config, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("width", WIDTHS, ids=str)
def test_every_edge_is_two_lines_a_box_and_a_curve(width):
    model = network(width)
    ax = draw(model)
    for number, layer in enumerate(model.layers):
        n_edges = layer.config.n_in * layer.config.out.n_subnodes
        assert len(shapes(ax, f"boxes-{number}")) == n_edges
        assert len(shapes(ax, f"curves-{number}")) == n_edges
        assert len(shapes(ax, f"edges-{number}")) == 2 * n_edges


def test_masked_edges_are_not_drawn():
    model = network([3, 4, 1], sparse=True)
    ax = draw(model)
    for number, layer in enumerate(model.layers):
        assert len(shapes(ax, f"boxes-{number}")) == int(layer.splines.mask.sum())


def test_a_layer_may_be_masked_altogether():
    model = network([2, 3, 1])
    with torch.no_grad():
        model.layers[0].splines.mask.zero_()
    ax = draw(model)
    assert not shapes(ax, "boxes-0")
    assert len(shapes(ax, "boxes-1")) == 3


@pytest.mark.parametrize("width", WIDTHS, ids=str)
def test_curves_fill_the_height_of_their_boxes_and_stay_inside(width):
    ax = draw(network(width))
    for number in range(len(width) - 1):
        for box, curve in zip(shapes(ax, f"boxes-{number}"), shapes(ax, f"curves-{number}"), strict=True):
            low, high = box.min(0), box.max(0)
            assert (curve > low).all() and (curve < high).all()
            assert np.ptp(curve[:, 1]) > 0.6 * (high - low)[1]


def test_a_curve_is_that_of_its_edge():
    model = network([1, 1])
    ax = draw(model)
    (curve,) = shapes(ax, "curves-0")
    x = torch.linspace(-1, 1, len(curve), dtype=torch.float64)[:, None]
    expected = model(x).detach().numpy().ravel()
    assert np.corrcoef(curve[:, 1], expected)[0, 1] > 0.9999


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_edge_is_a_level_line(dtype):
    model = network([1, 1], base="zero", dtype=dtype)
    with torch.no_grad():
        model.layers[0].splines.coef.fill_(0.7)
    ax = draw(model)
    (box,), (curve,) = shapes(ax, "boxes-0"), shapes(ax, "curves-0")
    assert np.allclose(curve[:, 1], box[:, 1].min() / 2 + box[:, 1].max() / 2)


def test_opacity_follows_the_standard_deviation():
    model = network([4, 3, 1], seed=1)
    x = 2 * torch.rand(500, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
    seen = trace(model, x)
    strength = (seen.edges[0].std(0) / seen.subnodes[0].std(0)[:, None]).T.flatten().numpy()
    for gid in ("boxes-0", "curves-0"):
        group = collection(draw(model, x), gid)
        opacity = (group.get_edgecolor() if gid == "boxes-0" else group.get_colors())[:, 3]
        assert np.allclose(opacity, 0.1 + 0.9 * np.tanh(3 * strength))
        assert (np.argsort(opacity) == np.argsort(strength)).all()


def test_colors_tell_splines_from_symbols():
    layers = [symbolic_layer((("sin", ""), ("", "exp")), splines=True), symbolic_layer((("x**2", "exp"),))]
    with torch.no_grad():
        layers[0].splines.mask[1, 1] = 0
    ax = draw(stack(*layers))
    first = [tuple(color[:3]) for color in collection(ax, "curves-0").get_colors()]
    assert first == [to_rgba(color)[:3] for color in (BOTH, SPLINE, SPLINE, SYMBOLIC)]
    assert {tuple(c[:3]) for c in collection(ax, "curves-1").get_colors()} == {to_rgba(SYMBOLIC)[:3]}


def test_symbolic_edges_are_named_if_wanted():
    model = stack(symbolic_layer((("sin", "x**2"),)))
    assert texts(draw(model)) == ["sin", "$x^{2}$", "$x_{1}$", "$x_{2}$", "$y$"]
    assert texts(draw(model, function_names=False)) == ["$x_{1}$", "$x_{2}$", "$y$"]


def test_identity_edges_are_lines_without_a_box():
    ax = draw(stack(symbolic_layer((("x", "sin"),))))
    assert len(shapes(ax, "identities-0")) == len(shapes(ax, "boxes-0")) == len(shapes(ax, "curves-0")) == 1
    assert len(shapes(ax, "edges-0")) == 4


def test_edges_that_are_not_finite_everywhere_are_drawn_where_they_are():
    model = stack(symbolic_layer((("log", "sqrt"),)))
    ax = draw(model)
    for curve, box in zip(shapes(ax, "curves-0"), shapes(ax, "boxes-0"), strict=True):
        shown = curve[np.isfinite(curve).all(1)]
        assert 10 < len(shown) < len(curve)
        assert (shown > box.min(0)).all() and (shown < box.max(0)).all()
    assert (collection(ax, "curves-0").get_colors()[:, 3] > 0.5).all()


def test_signs_mark_sums_of_several_edges_and_products():
    model = network([2, [3, [2, 3]], 1])
    ax = draw(model)
    sums = [len(c.get_offsets()) for c in ax.collections if c.get_gid() == "sums"]
    assert sums == [8, 1]
    assert len(collection(ax, "products").get_offsets()) == 2


def test_products_stand_above_their_subnodes():
    ax = draw(network([2, [0, 1], 1]))
    subnodes = next(c for c in ax.collections if c.get_gid() == "sums").get_offsets()
    (product,) = collection(ax, "products").get_offsets()
    assert product[0] == pytest.approx(subnodes[:, 0].mean())
    assert (product[1] > subnodes[:, 1]).all()


def test_names_stand_below_inputs_and_above_outputs():
    ax = draw(network([2, 3, 2]), names=["a", "b"], output_names=["u", "v"])
    assert texts(ax) == ["a", "b", "u", "v"]
    nodes = collection(ax, "inputs").get_offsets()
    x, y = np.array([text.get_position() for text in ax.texts]).T
    assert np.array_equal(x[:2], nodes[:, 0]) and (y[:2] < nodes[:, 1]).all()
    assert (y[2:] > max(box[:, 1].max() for box in shapes(ax, "boxes-1"))).all()


def test_names_by_default():
    assert texts(draw(network([2, 1]))) == ["$x_{1}$", "$x_{2}$", "$y$"]
    assert texts(draw(network([1, 2]))) == ["$x_{1}$", "$y_{1}$", "$y_{2}$"]


def test_features_have_their_own_names():
    features = auxiliary_features({"r2": "x**2 + y**2"}, ["x", "y"])
    model = network([3, 2, 1], features=features)
    assert texts(draw(model)) == ["x", "y", "r2", "$y$"]
    assert texts(draw(model, names=["p", "q"])) == ["p", "q", "r2", "$y$"]
    assert texts(draw(model, names=["p", "q", "s"]))[:3] == ["p", "q", "s"]


def test_long_names_are_turned_and_stay_in_the_picture():
    long = "(x - 1)*(x + 1)*(y - 1)*(y + 1)"
    ax = draw(network([3, 2, 1]), names=["x", "y", long])
    ax.figure.canvas.draw()
    *_, turned, _ = ax.texts
    assert [text.get_rotation() for text in ax.texts] == [0, 0, 90, 0]
    assert turned.get_window_extent().y0 > 0


@pytest.mark.parametrize("options", [{"names": ["a"]}, {"names": "ab"}, {"output_names": []}])
def test_wrong_names_are_refused_before_anything_is_drawn(options):
    with pytest.raises(ConfigError, match=r"expected \d names of (in|out)puts"):
        draw(network([2, 1]), **options)
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(4, 3, dtype=torch.float64), ShapeError, r"\(n, 2\)"),
        (torch.zeros(0, 2, dtype=torch.float64), DataError, "at least one point"),
        (torch.zeros(4, 2, dtype=torch.float32), DtypeError, "float64"),
    ],
)
def test_wrong_points_are_refused_before_anything_is_drawn(x, error, message):
    with pytest.raises(error, match=message):
        draw(network([2, 1]), x)
    assert not plt.get_fignums()


def test_draws_in_the_axes_given():
    figure, (left, right) = plt.subplots(1, 2)
    assert draw(network([2, 1]), ax=right) is right
    assert plt.get_fignums() == [figure.number]
    assert not left.collections and len(figure.axes) == 2


def test_makes_one_figure_with_one_axes_where_none_is_given():
    ax = draw(network([2, 1]))
    assert plt.get_fignums() == [ax.figure.number]
    assert ax.figure.axes == [ax] and not ax.child_axes and not ax.images


def test_lines_and_letters_shrink_with_the_axes():
    model = network([2, 5, 1])
    sizes = [draw(model, scale=scale).texts[0].get_fontsize() for scale in (1.0, 0.5)]
    assert sizes[1] == pytest.approx(sizes[0] / 2)
    small = draw(model, ax=plt.figure(figsize=(2, 2)).add_axes((0, 0, 1, 1)))
    assert small.texts[0].get_fontsize() < 0.6 * sizes[0]
    assert collection(small, "edges-0").get_linewidths()[0] < 0.5


def test_number_of_artists_does_not_grow_with_the_number_of_edges():
    few, many = (len(draw(network(width)).get_children()) for width in ([2, 2, 1], [2, 40, 1]))
    assert few == many


def test_is_all_vectors_with_letters_as_text():
    ax = draw(network([2, 5, 1]), names=["alpha", "beta"])
    file = io.StringIO()
    with plt.rc_context({"svg.fonttype": "none"}):
        ax.figure.savefig(file, format="svg")
    assert "<image" not in file.getvalue()
    assert all(f">{name}</text>" in file.getvalue() for name in ("alpha", "beta"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_leaves_the_model_as_it_was(dtype):
    model = network([2, [2, 1], 1], dtype=dtype)
    before = copy.deepcopy(model.state_dict())
    draw(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_one_point_is_enough():
    ax = draw(network([2, 2, 1]), torch.zeros(1, 2, dtype=torch.float64))
    assert np.allclose(collection(ax, "curves-0").get_colors()[:, 3], 0.1)


def test_given_scores_are_the_opacity():
    model = network([2, 3, 1])
    scores = [np.array([[0.0, 1.0], [0.1, 0.2], [5.0, np.nan]]), torch.tensor([[0.3, 0.2, 0.1]])]
    ax = draw(model, importance=scores)
    found = [sorted(collection(ax, f"boxes-{number}").get_edgecolor()[:, 3]) for number in (0, 1)]
    for opacity, own in zip(found, scores, strict=True):
        assert opacity == pytest.approx(sorted(0.1 + 0.9 * np.tanh(3 * np.nan_to_num(np.asarray(own)).ravel())))


def test_records_with_scores_of_edges_are_read():
    model = network([2, 1])
    ax = draw(model, importance=SimpleNamespace(edges=[torch.tensor([[1.0, 0.0]])]))
    assert sorted(collection(ax, "boxes-0").get_edgecolor()[:, 3]) == pytest.approx([0.1, 0.1 + 0.9 * np.tanh(3)])


@pytest.mark.parametrize("scores", [[], [np.ones((1, 2))] * 2, [np.ones((2, 1))]])
def test_scores_must_be_those_of_the_edges(scores):
    with pytest.raises(ShapeError, match="expected scores of shapes"):
        draw(network([2, 1]), importance=scores)
    assert not plt.get_fignums()


@pytest.mark.parametrize("kind", [LAN, MLP])
def test_scores_of_dense_networks_are_lines(kind):
    faint, dark = (
        collection(draw(kind([2, 3, 1]), importance=[np.full((3, 2), own), np.full((1, 3), own)]), "edges-0")
        for own in (0.0, 2.0)
    )
    assert faint.get_colors()[:, 3].max() < 0.1 and dark.get_colors()[:, 3].min() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("width", "seconds"), [([2, 5, 1], 1.0), ([100, 10, 10, 1], 10.0)], ids=str)
def test_time_to_draw(width, seconds):
    draw(network([1, 1]))
    start = time.perf_counter()
    draw(network(width)).figure.savefig(io.BytesIO(), format="svg")
    assert time.perf_counter() - start < seconds
