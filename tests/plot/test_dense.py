"""The picture of a dense network: which lines and boxes there are, and how strong."""

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba

from kansci.errors import ConfigError, DataError
from kansci.nn.lan import LAN
from kansci.nn.mlp import MLP
from kansci.plot import draw_network
from kansci.plot.dense import line_strengths
from kansci.plot.style import GRAY, INK, SPLINE, SYMBOLIC
from kansci.tracing import trace

WIDTHS = [[2, 5, 1], [3, 1, 4, 2], [2, 40, 40, 1]]
networks = pytest.mark.parametrize("network", [LAN, MLP])


def draw(model, *arguments, **options) -> Any:
    return draw_network(model, *arguments, **options)


def collection(ax, gid):
    (found,) = [group for group in ax.collections if group.get_gid() == gid]
    return found


def shapes(ax, gid):
    return [path.vertices for path in collection(ax, gid).get_paths()]


def two_paths() -> Any:
    """y = 8 f_1(2 x_1) - 4 f_2(x_1 - x_2), with f the identity, on [-1, 1]^2."""
    model = LAN([2, 2, 1], activation="x")
    weights = [[[2.0, 0.0], [1.0, -1.0]], [[8.0, -4.0]]]
    with torch.no_grad():
        model.get_parameter("layers.1.splines.coef").zero_()
        for layer, weight in zip(model.layers, weights, strict=True):
            layer.weight.copy_(torch.tensor(weight))
    return model


@networks
@pytest.mark.parametrize("width", WIDTHS, ids=str)
def test_every_weight_is_a_line_and_every_hidden_node_a_curve_in_a_box(network, width):
    ax = draw(network(width))
    for number, (n_in, n_out) in enumerate(pairwise(width)):
        assert len(shapes(ax, f"edges-{number}")) == n_in * n_out
    for number, size in enumerate(width[1:-1], 1):
        boxes, curves = shapes(ax, f"boxes-{number}"), shapes(ax, f"curves-{number}")
        assert len(boxes) == len(curves) == size
        for box, curve in zip(boxes, curves, strict=True):
            assert (curve > box.min(0)).all() and (curve < box.max(0)).all()
            assert np.ptp(curve[:, 1]) > 0.6 * np.ptp(box[:, 1])
        places = np.sort([box[:, 0].min() for box in boxes])
        assert (np.diff(places) > np.ptp(boxes[0][:, 0])).all()


def test_lines_run_from_the_top_of_a_node_to_the_bottom_of_another():
    ax = draw(LAN([2, 3, 3, 1]))
    below, above = (np.array(shapes(ax, f"boxes-{number}")) for number in (1, 2))
    lines = np.array(shapes(ax, "edges-1"))
    assert np.allclose(lines[:, 0, 1], below[..., 1].max())
    assert np.allclose(lines[:, 1, 1], above[..., 1].min())


def test_a_curve_is_that_of_its_node():
    model = LAN([1, 1, 1])
    (curve,) = shapes(draw(model), "curves-1")
    low, high = sorted(trace(model, torch.tensor([[-1.0], [1.0]]).double()).nodes[1].flatten().tolist())
    x = torch.linspace(low, high, len(curve), dtype=torch.float64)[None]
    values = model.layers[1].curves(x, 1).detach().numpy().ravel()
    assert np.corrcoef(curve[:, 1], values)[0, 1] > 0.999


def test_strengths_are_shares_along_the_strongest_path():
    """8 f_1 varies as 16 x_1, 4 f_2 as 4 (x_1 - x_2)."""
    model = two_paths()
    x = torch.cartesian_prod(*[torch.linspace(-1, 1, 21, dtype=torch.float64)] * 2)
    first, second = line_strengths(trace(model, x))
    assert second == pytest.approx(np.array([[1.0, 2**0.5 / 4]]))
    assert first == pytest.approx(np.array([[1.0, 0.0], [2**0.5 / 4, 2**0.5 / 4]]))


def test_strong_lines_are_wide_and_dark_and_drawn_last():
    lines = collection(draw(two_paths()), "edges-0")
    widths, opacity = np.asarray(lines.get_linewidths()), lines.get_colors()[:, 3]
    assert (np.diff(widths) >= 0).all() and (np.diff(opacity) >= 0).all()
    assert widths[-1] > 2 * widths[1]
    assert opacity[-1] > 0.9
    assert opacity[0] < 0.1


def test_colors_tell_signs_of_weights_and_what_is_learned():
    model = two_paths()
    colors = collection(draw(model), "edges-1").get_colors()[:, :3]
    assert [tuple(color) for color in colors] == [to_rgba(SYMBOLIC)[:3], to_rgba(INK)[:3]]
    for network, expected in ((model, SPLINE), (MLP([2, 3, 1]), GRAY)):
        ax = draw(network)
        found = collection(ax, "boxes-1").get_edgecolor()
        assert {tuple(color[:3]) for color in found} == {to_rgba(expected)[:3]}
        assert np.array_equal(found, collection(ax, "curves-1").get_colors())


@networks
def test_names_and_outputs(network):
    ax = draw(network([2, 3, 2]), names=["a", "b"], output_names=["u", "v"])
    assert [text.get_text() for text in ax.texts] == ["a", "b", "u", "v"]
    assert len(collection(ax, "sums").get_offsets()) == 2
    with pytest.raises(ConfigError, match="expected 2 names of inputs"):
        draw(network([2, 3, 2]), names=["a"])


@networks
def test_networks_without_hidden_nodes_are_lines(network):
    ax = draw(network([2, 1]))
    assert len(shapes(ax, "edges-0")) == 2
    assert not [group for group in ax.collections if str(group.get_gid()).startswith("boxes")]


@networks
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_leaves_the_model_as_it_was(network, dtype):
    model = network([2, 3, 1], dtype=dtype)
    before = copy.deepcopy(model.state_dict())
    draw(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_one_point_is_enough_and_none_too_few():
    ax = draw(LAN([2, 3, 1]), torch.zeros(1, 2).double())
    assert (collection(ax, "edges-0").get_colors()[:, 3] < 0.1).all()
    with pytest.raises(DataError, match="at least one point"):
        draw(LAN([2, 3, 1]), torch.zeros(0, 2).double())
