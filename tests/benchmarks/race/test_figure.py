import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.race.figure import draw_race, spread
from tests.benchmarks.race.table import best_runs, head, row
from tests.benchmarks.race.track import Run

RUNS = [
    Run("kansci", "lm", 60, "converged", (0.1, 1.0), (0.1, 1e-8)),
    Run("kansci", "adam", 60, "time", (0.1, 5.0), (0.5, 1e-2)),
    Run("pykan", "LBFGS", 65, "time", (0.5, 5.5), (math.inf, 1e-3)),
    Run("DeepXDE", "Adam + L-BFGS", 0, "failed: ImportError: no such module", (), ()),
]
KEY = {"kansci": "kansci 1.0", "pykan": "pykan 2.0", "DeepXDE": "DeepXDE 3.0"}


@pytest.fixture
def figure():
    return draw_race({"a": "first", "b": "second"}, {"a": RUNS, "b": RUNS[1:2]}, 5.0, KEY, ["a note"])


def test_figure_has_a_panel_for_each_problem_and_a_key(figure):
    panels = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title() for ax in panels] == ["first", "second"]
    key = [text.get_text() for text in figure.axes[2].texts]
    assert key == ["kansci 1.0", "pykan 2.0", "DeepXDE 3.0", "a note"]


def test_best_runs_are_named_in_the_order_of_their_errors(figure):
    first, second = figure.axes[:2]
    named = sorted((text.get_position()[1], text.get_text()) for text in first.texts)
    assert [text for _, text in named] == ["kansci lm", "pykan", "DeepXDE"]
    assert [text.get_text() for text in second.texts] == ["kansci"]


def test_figure_can_be_written(figure):
    file = io.BytesIO()
    figure.savefig(file, format="svg")
    assert b"<svg" in file.getvalue()


def test_best_run_of_a_library_has_the_smallest_error_in_the_end():
    assert [(run.library, run.method) for run in best_runs(RUNS)] == [
        ("kansci", "lm"),
        ("pykan", "LBFGS"),
        ("DeepXDE", "Adam + L-BFGS"),
    ]


def test_rows_are_aligned_with_the_head():
    times = row("a", RUNS[1])
    assert [times[:end].split()[-1] for end in (head().index(each) + 4 for each in ("1e-2", "1e-4"))] == ["5.00", "-"]
    assert row("a", RUNS[-1]).endswith("inf  failed: ImportError: no such module")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6).map(sorted))
def test_labels_keep_a_distance_and_their_order(places):
    found = spread(places, 0.1)
    assert np.diff(found).min(initial=1.0) > 0.1 - 1e-9
    assert found[-1] < 1 + 1e-9
    if np.diff(places).min(initial=1.0) > 0.1:
        np.testing.assert_allclose(found, places)
