"""Pictures of structure: what stands where, and that all of it can be read."""

from itertools import combinations
from typing import cast

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle

import kansci as ks
from kansci.errors import ConfigError, ShapeError
from kansci.plot import draw_hessian, draw_structure

X = 2 * torch.rand(200, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def assert_readable(ax) -> None:
    """No letters touch others, and all are inside the figure."""
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    frame = ax.figure.bbox
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 <= box.y1 <= frame.y1 for box in boxes)


def test_the_map_shows_groups_and_numbers():
    found = ks.detect_separability(lambda x: x[:, 0] * x[:, 2] + x[:, 1] * x[:, 3], X[:, :4])
    ax = draw_hessian(found)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["$x_{1}$", "$x_{3}$", "$x_{2}$", "$x_{4}$"]
    frames = [(p.get_x(), p.get_width()) for p in ax.patches if isinstance(p, Rectangle)]
    assert frames == [(-0.5, 2), (1.5, 2)]
    shown = np.ma.getdata(cast("np.ndarray", ax.images[0].get_array()))
    assert shown[0, 1] == pytest.approx(float(found.hessian[0, 2]))
    assert len(ax.texts) == 12
    assert_readable(ax)


def test_any_matrix_is_drawn_into_given_axes():
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    assert draw_hessian(torch.zeros(20, 20), ax=ax) is ax
    assert not ax.texts


def test_maps_that_are_none():
    with pytest.raises(ShapeError, match=r"expected a matrix of shape \(d, d\), got \(2, 3\)"):
        draw_hessian(np.zeros((2, 3)))
    with pytest.raises(ConfigError, match="expected 2 names, one for each input, got 1"):
        draw_hessian(np.zeros((2, 2)), ["x"])


@pytest.mark.parametrize(
    "f, d, texts",
    [
        (lambda x: (x[:, 0] - 2 * x[:, 1]).tanh() + x[:, 2], 3, ["$x_{1} - 2 x_{2}$"]),
        (lambda x: 3 + x[:, 0] * x[:, 1], 2, [r"$x_{1} x_{2}$ $+\,3$"]),
        (lambda x: x[:, 0] * x[:, 1] + x[:, 1] * x[:, 2] + x[:, 0] * x[:, 2], 3, []),
    ],
)
def test_the_tree_names_its_scalars(f, d, texts):
    ax = draw_structure(ks.structure_tree(f, X[:, :d]))
    shown = [text.get_text() for text in ax.texts]
    assert [text for text in shown if text not in {f"$x_{{{k + 1}}}$" for k in range(d)}] == texts
    assert_readable(ax)


def test_signs_of_sums_and_products():
    ax = draw_structure(ks.structure_tree(lambda x: (x[:, 0] + x[:, 1].sin()) * x[:, 2], X[:, :3]))
    signs = [group.get_gid() for group in ax.collections]
    assert {"tree-sums", "tree-products"} <= set(signs)


def test_a_constant_has_no_tree():
    with pytest.raises(ConfigError, match="nothing to draw"):
        draw_structure(ks.structure_tree(lambda x: 0 * x[:, 0], X))
