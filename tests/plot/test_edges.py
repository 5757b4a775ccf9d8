"""The picture of one edge: its curve, its parts, its knots, its formula."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from kansci.config import Edge, LayerConfig, Width
from kansci.errors import ConfigError, ShapeError
from kansci.functions import LIBRARY
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.plot import draw_edge
from kansci.plot.style import BOTH, SPLINE, SYMBOLIC
from kansci.symbolic.suggest import Suggestion
from kansci.tracing import trace


def network(width, **options) -> Any:
    return MultKAN(width, **options)


def draw(model, edge, *arguments, **options) -> Any:
    return draw_edge(model, edge, *arguments, **options)


def line(ax, gid):
    (found,) = [line for line in ax.get_lines() if line.get_gid() == gid]
    return found


def symbolic_model(name, affine=(1.0, 0.0, 1.0, 0.0), splines=False) -> Any:
    config = LayerConfig(1, Width(1), splines=splines, symbols=((name,),))
    model: Any = MultKAN.from_layers([KANLayer(config, torch.Generator().manual_seed(0))])
    with torch.no_grad():
        model.layers[0].symbols.affine[0, 0] = torch.tensor(affine, dtype=torch.float64)
    return model


@pytest.mark.parametrize("edge", [Edge(0, 3, 1), Edge(1, 0, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_curve_is_the_edge_over_domain_and_data(edge, dtype):
    model = network([2, [1, 2], 1], dtype=dtype)
    x = 1.5 * torch.tensor([[-1.0, -1.0], [0.3, 0.2], [1.0, 1.0]], dtype=dtype)
    seen = trace(model, x)
    places, values = line(draw(model, edge, x), "edge").get_data()
    low, high = (end[edge.source] for end in model.layers[edge.layer].splines.domain)
    at = seen.nodes[edge.layer][:, edge.source]
    assert places.min() == pytest.approx(float(min(low, at.min())))
    assert places.max() == pytest.approx(float(max(high, at.max())))
    expected = seen.edges[edge.layer][:, edge.target, edge.source]
    assert np.interp(at, places, values) == pytest.approx(expected.numpy(), abs=1e-4)


def test_knots_are_ticks():
    ax = draw(network([1, 1], grid=4, domain=(0.0, 8.0)), Edge(0, 0, 0))
    assert ax.get_xticks(minor=True).tolist() == [0, 2, 4, 6, 8]
    assert len(ax.xaxis.get_minorticklocs()) == 5


def test_parts_add_up_to_the_edge():
    ax = draw(symbolic_model("sin", splines=True), Edge(0, 0, 0))
    parts = [line(ax, name).get_ydata() for name in ("base", "spline", "symbolic")]
    assert np.allclose(sum(parts), line(ax, "edge").get_ydata())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["base", "spline", "symbolic"]


def test_an_edge_of_one_part_is_one_line():
    ax = draw(network([1, 1], base="zero"), Edge(0, 0, 0))
    assert [line.get_gid() for line in ax.get_lines()] == ["edge"]
    assert ax.get_legend() is None


def test_colors_are_those_of_the_network():
    models = network([1, 1]), symbolic_model("sin"), symbolic_model("sin", splines=True)
    lines = [line(draw(model, Edge(0, 0, 0)), "edge") for model in models]
    assert [to_hex(line.get_color()) for line in lines] == [SPLINE, SYMBOLIC, BOTH]


def test_a_masked_edge_is_zero():
    model = network([1, 1])
    with torch.no_grad():
        model.layers[0].splines.mask.zero_()
    assert not line(draw(model, Edge(0, 0, 0)), "edge").get_ydata().any()


def test_symbolic_edges_carry_their_formula():
    model = symbolic_model("sin", (3.14159, -0.5, 2.0, 0.12345))
    title = draw(model, Edge(0, 0, 0)).get_title(loc="left")
    assert title == r"$2 \sin{\left(3.14 x - 0.5 \right)} + 0.123$"
    assert not draw(network([1, 1]), Edge(0, 0, 0)).get_title(loc="left")


@pytest.mark.parametrize("name", [*LIBRARY, "x**(5/3)"])
def test_every_function_can_be_typeset(name):
    ax = draw(symbolic_model(name, (0.5, 0.25, -1.5, 10.0)), Edge(0, 0, 0))
    assert ax.get_title(loc="left").startswith("$")
    ax.figure.canvas.draw()


def test_the_density_is_that_of_the_activations():
    x = torch.cat([torch.zeros(30, 1), torch.ones(10, 1)]).double()
    (bars,) = draw(network([1, 1]), Edge(0, 0, 0), x).patches
    heights, ends, _ = bars.get_data()
    assert heights[0] == 3 * heights[-1] > 0 and not heights[1:-1].any()
    assert (ends[0], ends[-1]) == (0, 1)


def test_the_density_lies_below_the_curve():
    ax = draw(network([1, 1]), Edge(0, 0, 0))
    low, high = ax.get_ylim()
    top = max(ax.patches[0].get_data().values)
    assert (line(ax, "edge").get_ydata() > low + top * (high - low)).all()


def test_periodic_inputs_are_shown_within_their_period():
    model = network([1, 1], periodic=[0], domain=(0.0, 1.0))
    x = torch.tensor([[-0.75], [3.5]], dtype=torch.float64)
    places = line(draw(model, Edge(0, 0, 0), x), "edge").get_xdata()
    assert (places.min(), places.max()) == (0, 1)


def test_axes_are_labeled():
    model = network([2, 3, 1])
    first = draw(model, Edge(0, 2, 1), names=["a", "b"])
    assert (first.get_xlabel(), first.get_ylabel()) == ("b", r"$\varphi_{0,2,1}$")
    assert draw(model, Edge(1, 0, 2)).get_xlabel() == "$x_{1,2}$"


@pytest.mark.parametrize("edge", [Edge(2, 0, 0), Edge(-1, 0, 0), Edge(0, 5, 0), Edge(0, 0, 2), Edge(1, -1, 0)])
def test_an_edge_that_is_not_there_is_refused(edge):
    with pytest.raises(ConfigError, match=r"expected a (layer|target) from 0 to"):
        draw(network([2, [1, 2], 1]), edge)
    assert not plt.get_fignums()


def test_wrong_points_are_refused():
    with pytest.raises(ShapeError, match=r"\(n, 2\)"):
        draw(network([2, 1]), Edge(0, 0, 0), torch.zeros(3, 1, dtype=torch.float64))
    assert not plt.get_fignums()


def test_draws_in_the_axes_given():
    figure, axes = plt.subplots(1, 2)
    assert draw(network([2, 1]), Edge(0, 0, 1), ax=axes[1]) is axes[1]
    assert plt.get_fignums() == [figure.number] and not axes[0].get_lines()


def test_candidates_are_drawn_over_the_edge_without_stretching_the_axes():
    model, edge = network([2, 2, 1]), Edge(0, 1, 0)
    before = draw(model, edge).get_ylim()
    affine = (2.0, 0.5, 3.0, -1.0)
    candidates = [Suggestion("sin", affine, 0.1, 2, 0.0), Suggestion("log", (1.0, 0.0, 1e6, 0.0), 0.2, 2, 0.0)]
    ax = draw(model, edge, candidates=candidates)
    sine, log = (own for own in ax.get_lines() if own.get_gid() == "candidate")
    x, y = sine.get_data()
    assert np.allclose(np.asarray(y, float), 3 * np.sin(2 * np.asarray(x, float) + 0.5) - 1)
    assert np.ma.getmaskarray(log.get_ydata(orig=True)).any()
    assert ax.get_ylim() == before
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "sin  1.0e-01" in labels and "log  2.0e-01" in labels
