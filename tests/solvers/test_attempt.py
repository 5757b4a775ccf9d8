import math
import os
import signal
import sys

import numpy as np
import pytest
import torch

from kansci.nn.multkan import MultKAN
from kansci.solvers.attempt import attempt, read_result
from kansci.solvers.interrupt import Interrupt
from kansci.solvers.solution import Estimate, History, Solution

MODEL = MultKAN([1, 1])
SOLUTION = Solution(
    MODEL, History.of([]), "converged", {"mass": Estimate(2.0, math.inf), "loss": Estimate(7.0, 0.5)}, 1e-3, 0.25
)


@pytest.fixture(autouse=True)
def same_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_numbers_of_a_solution():
    results, model = read_result(SOLUTION)
    assert model is MODEL
    assert results == {
        "status": "converged",
        "loss": 0.25,
        "steps": 0,
        "error_estimate": 1e-3,
        "mass": 2.0,
        "mass_standard_error": math.inf,
        "parameter_loss": 7.0,
        "loss_standard_error": 0.5,
    }


def test_own_numbers_beside_a_solution_or_a_model():
    results, model = read_result((SOLUTION, {"rmse": 0.5}))
    assert (results["rmse"], results["loss"], model) == (0.5, 0.25, MODEL)
    assert read_result((MODEL, {"rmse": 0.5})) == ({"status": "done", "rmse": 0.5}, MODEL)


@pytest.mark.parametrize(
    "value", [3, np.int64(3), torch.tensor(3), True, np.bool_(True), 0.1, np.float32(0.5), "x", None]
)
def test_numbers_become_those_of_python(value):
    results, _ = read_result({"value": value})
    assert type(results["value"]) in (int, float, bool, str, type(None))
    assert results["value"] == value


@pytest.mark.parametrize("result", [7, None, [MODEL], {"x": object()}, {"x": torch.zeros(1)}, (MODEL, 3), {"x": [1]}])
def test_another_result_is_an_error(result):
    with pytest.raises(TypeError, match="expected"):
        read_result(result)


def test_threads_are_those_asked_for():
    outcome = attempt(lambda: {"threads": torch.get_num_threads()}, {}, threads=3)
    assert outcome.results["threads"] == 3


def test_settings_are_copied():
    settings = {"width": [2, 1]}
    attempt(lambda width: {"length": len(width.append(1) or width)}, settings, threads=1)
    assert settings == {"width": [2, 1]}


def leave():
    sys.exit("enough")


def divide():
    return {"x": 1 / 0}


@pytest.mark.parametrize(
    ("run", "error"), [(divide, "ZeroDivisionError: division by zero"), (leave, "SystemExit: enough")]
)
def test_an_error_is_an_outcome_with_its_place(run, error):
    outcome = attempt(run, {}, threads=1)
    assert outcome.results["status"] == "failed"
    assert f"{error} (test_attempt.py, line " in str(outcome.results["error"])
    assert "seconds" in outcome.results


def test_ctrl_c_ends_a_run_at_once_but_lets_a_solve_finish_its_step():
    def press() -> dict[str, int]:
        os.kill(os.getpid(), signal.SIGINT)
        return {}

    def press_in_a_solve() -> dict[str, int]:
        with Interrupt():
            return press()

    with pytest.raises(KeyboardInterrupt):
        attempt(press, {}, threads=1)
    outcome = attempt(press_in_a_solve, {}, threads=1)
    assert outcome.is_cut_short
    assert outcome.results["status"] == "done"
