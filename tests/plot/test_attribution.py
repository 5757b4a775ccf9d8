"""The picture of an attribution: bars, their lengths, and names."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from kansci.errors import ConfigError, ShapeError
from kansci.plot import draw_attribution


class Scores:
    def __init__(self, inputs):
        self.inputs = inputs


class Record:
    def __init__(self, inputs):
        self.per_output = Scores(inputs)


def draw(scores: Any, **options) -> Any:
    return draw_attribution(scores, **options)


def names(ax):
    return [text.get_text() for text in ax.get_yticklabels()]


@pytest.mark.parametrize(
    "of", [list, np.array, torch.tensor, lambda s: Record(torch.tensor([s]))], ids=["list", "array", "tensor", "record"]
)
def test_bars_are_as_long_as_scores_and_the_first_is_above(of):
    ax = draw(of([0.5, 0.0, 0.25]))
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.5, 0.0, 0.25])
    heights = ax.transData.transform([(0, bar.get_y()) for bar in ax.patches])[:, 1]
    assert (np.diff(heights) < 0).all()
    assert names(ax) == ["$x_{1}$", "$x_{2}$", "$x_{3}$"] and ax.get_legend() is None


def test_outputs_have_bars_side_by_side():
    ax = draw([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], names=["a", "b"], output_names=["u", "v", "w"])
    assert [own.get_label() for own in ax.containers] == ["u", "v", "w"]
    spans = sorted((bar.get_y(), bar.get_y() + bar.get_height()) for bar in ax.patches)
    assert all(end <= start + 1e-12 for (_, end), (start, _) in pairwise(spans))


def test_names_of_many_inputs_are_thinned():
    ax = draw(np.ones(100))
    assert len(ax.patches) == 100 and 20 <= len(names(ax)) <= 50
    assert ax.figure.get_size_inches()[1] <= 8


@pytest.mark.parametrize("scores", [[], np.ones((2, 2, 2))])
def test_what_are_no_scores_is_refused(scores):
    with pytest.raises(ShapeError, match="expected scores"):
        draw(scores)


@pytest.mark.parametrize("options", [{"names": ["a"]}, {"names": "ab"}, {"output_names": ["u", "v"]}])
def test_names_must_fit(options):
    with pytest.raises(ConfigError, match=r"expected \d names"):
        draw([1.0, 2.0], **options)
