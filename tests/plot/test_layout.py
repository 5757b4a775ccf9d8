"""Places in the picture of a network: nothing overlaps, whatever the network."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kansci.config import Width
from kansci.plot.layout import WIDEST, place_network

WIDTHS = st.builds(Width, st.integers(1, 7), st.lists(st.integers(2, 3), max_size=2).map(tuple))


@st.composite
def networks(draw):
    columns = [Width(draw(st.integers(1, 9))), *draw(st.lists(WIDTHS, min_size=1, max_size=3))]
    random = np.random.default_rng(draw(st.integers(0, 99)))
    share = draw(st.sampled_from([0.0, 0.4, 1.0]))
    edges = [random.random((b.n_subnodes, a.n_nodes)) < share for a, b in pairwise(columns)]
    return columns, edges


@given(networks())
def test_every_edge_has_a_box_in_the_order_of_sources_then_targets(network):
    columns, edges = network
    for row, mask in zip(place_network(columns, edges).rows, edges, strict=True):
        pairs = list(zip(row.sources, row.targets, strict=True))
        assert pairs == sorted(pairs) and len(pairs) == mask.sum()
        assert mask[row.targets, row.sources].all()
        assert (np.diff(row.boxes[:, 0]) > 0).all()


@given(networks())
def test_boxes_do_not_overlap(network):
    for row in place_network(*network).rows:
        for k, center in enumerate(row.boxes):
            distance = np.abs(row.boxes[k + 1 :] - center).max(1)
            assert (distance > 1.05 * row.size).all()


@given(networks())
def test_no_line_passes_through_a_box(network):
    for row in place_network(*network).rows:
        share = np.linspace(0, 1, 50)[1:-1, None]
        for line in [*row.below, *row.above]:
            points = np.concatenate([a + share * (b - a) for a, b in pairwise(line)])
            inside = np.abs(points[:, None] - row.boxes).max(-1) < 0.499 * row.size
            assert not inside.any()


@given(networks())
def test_lines_join_their_nodes_to_their_boxes(network):
    layout = place_network(*network)
    for number, row in enumerate(layout.rows):
        assert np.array_equal(row.below[:, 0], layout.nodes[number][row.sources])
        assert np.array_equal(row.above[:, -1], layout.subnodes[number][row.targets])
        assert np.allclose(row.boxes - row.below[:, -1], [0, row.size / 2])
        assert np.allclose(row.above[:, 0] - row.boxes, [0, row.size / 2])


@given(networks())
def test_lines_below_the_boxes_do_not_cross(network):
    for row in place_network(*network).rows:
        assert (np.diff(row.below[:, 0, 0]) >= 0).all() and (np.diff(row.below[:, 1, 0]) > 0).all()


@given(networks())
def test_layers_lie_above_one_another_within_the_borders(network):
    layout = place_network(*network)
    for number, row in enumerate(layout.rows):
        below, above = layout.nodes[number][0, 1], layout.subnodes[number][0, 1]
        assert below < above <= layout.nodes[number + 1][0, 1]
        assert ((row.boxes[:, 1] > below) & (row.boxes[:, 1] < above)).all()
    assert all((x >= 0).all() and (x <= layout.width).all() for x in (nodes[:, 0] for nodes in layout.nodes))


def test_products_stand_above_the_middle_of_their_subnodes():
    layout = place_network([Width(2), Width(1, (2, 3))], [np.ones((6, 2), dtype=bool)])
    subnodes, nodes = layout.subnodes[0], layout.nodes[1]
    assert nodes[:, 0] == pytest.approx([subnodes[0, 0], subnodes[1:3, 0].mean(), subnodes[3:, 0].mean()])
    assert (nodes[:, 1] > subnodes[0, 1]).all()


def test_sums_alone_are_their_subnodes():
    layout = place_network([Width(2), Width(5)], [np.ones((5, 2), dtype=bool)])
    assert np.array_equal(layout.nodes[1], layout.subnodes[0])


def test_large_networks_keep_their_size():
    columns = [Width(n) for n in (10, 20, 5, 1)]
    edges = [np.ones((b.n_nodes, a.n_nodes), dtype=bool) for a, b in pairwise(columns)]
    layout = place_network(columns, edges)
    assert layout.width == WIDEST
    assert len(set(layout.rows[0].boxes[:, 1])) == 2
    assert layout.rows[0].size > 1.5 * WIDEST / 200
