"""The picture of a solve: loss, terms and stages."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

from kansci.errors import ConfigError
from kansci.plot import draw_history
from kansci.solvers.solution import History, Solution


def draw(record, **options) -> Any:
    return draw_history(record, **options)


def history(stage=(0, 0, 1, 1, 2), names=("pde", "boundary")):
    n = len(stage)
    loss = 10.0 ** -np.arange(n, dtype=float)
    terms = {name: loss * share for share, name in enumerate(names, 1)}
    return History(np.arange(1, n + 1), np.array(stage, dtype=int), 0.5 * np.arange(n), loss, terms, loss)


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def marks(ax):
    return [x for c in ax.collections if c.get_gid() == "stages" for (x, _), _ in c.get_segments()]


@pytest.mark.parametrize(("against", "label"), [("step", "step"), ("seconds", "time [s]")])
def test_loss_and_terms_are_drawn_against_steps_or_seconds(against, label):
    record = history()
    ax = draw(record, against=against)
    assert (ax.get_xlabel(), ax.get_yscale()) == (label, "log")
    for name, values in {"loss": record.loss, **record.terms}.items():
        x, y = lines(ax)[name].get_data()
        assert np.array_equal(x, getattr(record, against)) and np.array_equal(y, values)


def test_stages_are_marked_between_their_steps():
    assert marks(draw(history())) == [2.5, 4.5]
    assert marks(draw(history(), against="seconds")) == [0.75, 1.75]
    assert marks(draw(history(stage=(0, 0)))) == []


def test_a_single_term_is_the_loss():
    ax = draw(history(stage=(0, 0), names=("data",)))
    assert list(lines(ax)) == ["loss"] and ax.get_legend() is None


def test_terms_differ_in_color_or_dashes():
    ax = draw(history(names=[f"term {number}" for number in range(15)]))
    looks = {(line.get_color(), line.get_linestyle()) for line in ax.get_lines()}
    assert len(looks) == 16


def test_values_that_are_not_positive_are_gaps():
    record = history()
    record.terms["pde"][1:3] = 0.0, np.nan
    shown = lines(draw(record))["pde"].get_ydata()
    assert np.isnan(shown).tolist() == [False, True, True, False, False]


def test_takes_a_solution():
    solution = Solution(None, history(), "converged")
    assert list(lines(draw(solution))) == ["pde", "boundary", "loss"]


def test_no_steps_are_empty_axes():
    ax = draw(history(stage=()))
    ax.figure.canvas.draw()
    assert not lines(ax)["loss"].get_xdata().size


def test_unknown_abscissa_is_refused():
    with pytest.raises(ConfigError, match="step, seconds"):
        draw(history(), against="epochs")
    assert not plt.get_fignums()


def test_draws_in_the_axes_given():
    figure, ax = plt.subplots()
    assert draw(history(), ax=ax) is ax
    assert plt.get_fignums() == [figure.number] and figure.axes == [ax]
