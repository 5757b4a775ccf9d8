"""The picture of a front: what is on it, where its knee is, and what the formulas are called."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import sympy

from kansci import MultKAN, kanpile
from kansci.errors import ConfigError, DataError
from kansci.plot import draw_pareto
from kansci.plot.pareto import label_text


def draw(front: Any, **options) -> Any:
    return draw_pareto(front, **options)


def places(ax, gid):
    (found,) = [own for own in ax.collections if own.get_gid() == gid]
    return [tuple(place) for place in np.asarray(found.get_offsets()).tolist()]


FRONT = [(1, 0.5), (3, 0.4), (5, 1e-9), (9, 9e-10)]


def test_what_is_no_better_than_a_simpler_one_is_not_on_the_front():
    ax = draw([(4, 0.45), *reversed(FRONT), (5, 1e-8), (9, 9e-10)])
    assert places(ax, "front") == FRONT
    assert sorted(places(ax, "others")) == [(4, 0.45), (5, 1e-8), (9, 9e-10)]


@pytest.mark.parametrize("scale", [1.0, 1e6, 1e-6])
def test_knee_is_where_more_complexity_no_longer_pays(scale):
    assert places(draw([(own, scale * error) for own, error in FRONT]), "chosen") == [(5, scale * 1e-9)]


def test_the_chosen_one_is_marked_instead():
    assert places(draw(FRONT, chosen=1), "chosen") == [FRONT[1]]
    with pytest.raises(ConfigError, match="expected chosen from 0 to 3, got 4"):
        draw(FRONT, chosen=4)


@pytest.mark.parametrize("front", [[(3, 0.1)], [(3, 0.1), (5, 0.01)], [(1, 0.2), (2, 0.2), (3, 0.2)], [(1, 0.0)]])
def test_short_and_flat_fronts_have_a_knee_too(front):
    assert len(places(draw(front), "chosen")) == 1


def test_an_error_of_zero_is_drawn():
    ax = draw([(1, 0.5), (2, 0.0)])
    low, high = ax.get_ylim()
    assert all(low < error < high for _, error in places(ax, "front"))
    assert places(draw([(1, 1e-30), (2, 0.0), (3, 0.0)]), "front") == [(1, 1e-30), (2, pytest.approx(1e-31))]


def test_a_front_that_only_falls_at_its_end_has_its_knee_there():
    assert places(draw([(0, 2.0), (2, 1.2), (3, 0.6), (6, 1e-20)]), "chosen") == [(6, 1e-20)]


def test_labels_do_not_overlap():
    texts = draw([(own, 1 - 1e-3 * own, f"a long label of number {own}") for own in range(40)]).texts
    boxes = [text.get_window_extent() for text in texts]
    assert 2 <= len(boxes) < 40
    assert all(not box.overlaps(other) for number, box in enumerate(boxes) for other in boxes[:number])


class Entry(NamedTuple):
    complexity: int
    loss: float
    model: Any


def test_records_are_read_by_their_attributes():
    ax = draw([Entry(1, 0.5, MultKAN([1, 1])), Entry(2, 0.1, kanpile("sin(2*x)", ["x"]))])
    assert places(ax, "front") == [(1, 0.5), (2, 0.1)]
    (label,) = [text.get_text() for text in ax.texts]
    assert "sin" in label
    assert "t" in draw([Entry(2, 0.1, kanpile("sin(2*x)", ["x"]))], names=["t"]).texts[0].get_text()


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("as it is", "as it is"),
        (None, ""),
        (sympy.Float("3.14159265") * sympy.Symbol("x"), "$3.14 x$"),
        (sympy.Float("1.0008") * sympy.Symbol("x") + sympy.Float("1e-13"), "$x$"),
        (sympy.Float("1.3512") * sympy.exp(sympy.Symbol("x") - sympy.Float("0.301")), "$e^{x}$"),
        (sympy.Float("123456.0") + sympy.Symbol("x"), "$x + 1.23 \\cdot 10^{5}$"),
        ([sympy.Symbol("x"), sympy.Symbol("y")], "$x$, $y$"),
        (sum(sympy.Symbol(f"x{n}") ** 2 for n in range(60)), ""),
        (MultKAN([1, 1]), ""),
    ],
    ids=str,
)
def test_labels_are_short_mathematics(label, text):
    assert label_text(label) == text


@pytest.mark.parametrize("front", [[(1,)], [(1, 2, 3, 4)], [3.0]])
def test_what_has_no_complexity_and_error_is_refused(front):
    with pytest.raises(ConfigError, match=r"expected .*complexity"):
        draw(front)


def test_empty_front_is_refused():
    with pytest.raises(DataError, match="at least one"):
        draw([])


def test_noise_is_a_line():
    (line,) = [own for own in draw(FRONT, noise=1e-3).get_lines() if own.get_gid() == "noise"]
    assert set(line.get_ydata()) == {1e-3}
