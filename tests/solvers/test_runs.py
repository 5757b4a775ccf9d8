import math
import sys

import pytest

from kansci.errors import ConfigError, MissingDependencyError
from kansci.solvers.runs import SHOWN, Run, Sweep

SWEEP = Sweep(
    (
        Run({"seed": 0, "width": [2, 5, 1], "loss": "mse"}, {"status": "converged", "loss": 0.5, "a": math.nan}),
        Run({"seed": 1, "width": [2, 5, 1], "loss": "mse"}, {"status": "failed", "error": "ValueError:\nno"}),
        Run({"seed": 0, "width": [2, [3, 1], 1], "loss": "mse"}, {"status": "max_steps", "loss": 0.25, "a": 1}),
    )
)


def test_records_are_flat_and_lose_nothing():
    assert SWEEP.records[0]["seed"] == 0
    assert SWEEP.records[0]["loss"] == "mse"
    assert SWEEP.records[0]["result_loss"] == 0.5
    assert SWEEP.records[1]["error"] == "ValueError:\nno"


def test_frame_can_be_grouped_by_what_was_a_list():
    frame = SWEEP.frame()
    assert len(frame) == 3
    assert frame.groupby("width")["result_loss"].min().to_dict() == {"[2, 5, 1]": 0.5, "[2, [3, 1], 1]": 0.25}


def test_frame_without_pandas_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'kansci\[sweep\]'"):
        SWEEP.frame()


def test_best_looks_at_results_that_are_finite():
    assert SWEEP.best() is SWEEP[2]
    assert SWEEP.best("loss", largest=True) is SWEEP[0]
    assert SWEEP.best("a") is SWEEP[2]
    with pytest.raises(ConfigError, match=r"among \['a', 'loss'\], got 'seed'"):
        SWEEP.best("seed")


def test_sequence_of_runs():
    assert [run.status for run in SWEEP[1:]] == ["failed", "max_steps"]
    assert isinstance(SWEEP[1:], Sweep)
    assert len(list(SWEEP)) == len(SWEEP) == 3


def test_table_shows_what_varies():
    assert repr(SWEEP).splitlines() == [
        "Sweep(3 runs: 1 converged, 1 failed, 1 max_steps)",
        "seed           width     status  loss    a           error",
        "----  --------------  ---------  ----  ---  --------------",
        "   0       [2, 5, 1]  converged   0.5  nan               -",
        "   1       [2, 5, 1]     failed     -    -  ValueError: no",
        "   0  [2, [3, 1], 1]  max_steps  0.25    1               -",
    ]


def test_long_table_is_cut():
    long = Sweep(SWEEP.runs * SHOWN)
    assert len(repr(long).splitlines()) == SHOWN + 4
    assert repr(long).endswith(f"... {2 * SHOWN} more")
