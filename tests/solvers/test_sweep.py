import os
import signal
import warnings
from functools import partial

import pytest
import torch

from kansci.errors import CheckpointError, ConfigError, SweepWarning
from kansci.nn.multkan import MultKAN
from kansci.solvers.data import Dataset
from kansci.solvers.fit import fit
from kansci.solvers.interrupt import Interrupt
from kansci.solvers.runs import Sweep
from kansci.solvers.sweep import sweep as loud_sweep

sweep = partial(loud_sweep, progress=False)
DATA = Dataset.from_function(lambda x: (x[:, 0] * x[:, 1]).sin(), [(0, 2), (0, 1)], 80, n_test=20)


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def total(**settings):
    return {"total": sum(settings.values())}


def values(result: Sweep) -> list[dict]:
    """What does not depend on the clock."""
    return [{name: value for name, value in run.results.items() if name != "seconds"} for run in result]


def assert_same_models(first: Sweep, second: Sweep) -> None:
    for one, other in zip(first, second, strict=True):
        ours, theirs = one.model.state_dict(), other.model.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)


def test_all_combinations_the_last_setting_varying_fastest():
    result = sweep(total, {"a": range(2), "b": [0.5], "c": torch.tensor([1.0, 2.0]), "d": 7})
    assert [(run.settings["a"], float(run.settings["c"])) for run in result] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert [record["total"] for record in result.records] == [8.5, 9.5, 9.5, 10.5]


def test_chosen_combinations():
    assert [run.results["total"] for run in sweep(total, [{"a": 1}, {"a": 2, "b": 3}])] == [1, 5]


def test_text_and_dicts_are_one_value():
    (run,) = sweep(lambda name, options: {"x": f"{name} {options}"}, {"name": "lm", "options": {"a": [1]}})
    assert run.results["x"] == "lm {'a': [1]}"


@pytest.mark.parametrize("settings", [{"a": []}, [], {1: [2]}, "ab", [3]])
def test_bad_settings(settings):
    with pytest.raises(ConfigError, match="expected settings as a dict"):
        sweep(total, settings)


@pytest.mark.parametrize("options", [{"threads": 0}, {"workers": 0}])
def test_bad_counts(options):
    with pytest.raises(ConfigError, match="expected one thread or more"):
        sweep(total, {"a": [1]}, **options)


def test_settings_that_run_does_not_take_are_refused_before_anything_is_run():
    ran = []

    def run(seed):
        ran.append(seed)

    with pytest.raises(ConfigError, match="unexpected keyword argument 'grid'"):
        sweep(run, [{"seed": 1}, {"seed": 1, "grid": 3}])
    assert not ran


def test_models_of_a_kind_are_fitted_to_data():
    choices = {"width": [[2, 1], [2, 2, 1]], "seed": [4], "grid": 3, "steps": 3, "method": "lm"}
    result = sweep(MultKAN, choices, data=DATA)
    expected = fit(MultKAN([2, 2, 1], grid=3, seed=4, domain=DATA.domain), DATA, steps=3, seed=4, progress=False)
    assert result[1].results["loss"] == expected.loss
    assert result[1].results["error_estimate"] == expected.error_estimate
    assert torch.equal(result[1].model(DATA.x), expected.model(DATA.x))


def test_settings_of_models_and_fits_are_checked():
    with pytest.raises(ConfigError, match="missing a required argument: 'width'"):
        sweep(MultKAN, {"seed": [1]}, data=DATA)
    with pytest.raises(ConfigError, match="unexpected keyword argument 'depth'"):
        sweep(MultKAN, {"width": [[2, 1]], "depth": [3]}, data=DATA)


def test_domain_that_is_bound_or_unknown_to_the_model_is_not_set():
    bound = partial(MultKAN, width=[2, 1], domain=(-3, 3))
    assert sweep(bound, {"steps": [1]}, data=DATA)[0].model.domain[0].tolist() == [-3, -3]
    unbounded = sweep(lambda seed: torch.nn.Linear(2, 1).double(), {"seed": 1, "steps": 1}, data=DATA)
    assert unbounded[0].status != "failed"


def test_an_error_stops_no_other_run():
    def invert(x):
        return {"y": 1 / x}

    with pytest.warns(SweepWarning, match=r"1 of 3 failed, the first \{'x': 0\}: ZeroDivisionError.*test_sweep.py"):
        result = sweep(invert, {"x": [1, 0, 2]})
    assert [run.status for run in result] == ["done", "failed", "done"]
    assert result.records[1]["error"].startswith("ZeroDivisionError: ")


def test_finished_runs_are_not_made_again(tmp_path):
    calls = []

    def noted(seed):
        calls.append(seed)
        if seed == 2 and len(calls) < 4:
            raise ValueError
        model = MultKAN([1, 1], seed=seed)
        return model, {"first": float(next(model.parameters()).flatten()[0])}

    with pytest.warns(SweepWarning, match="1 of 3 failed"):
        first = sweep(noted, {"seed": range(3)}, folder=tmp_path)
    second = sweep(noted, {"seed": range(4)}, folder=tmp_path)
    assert calls == [0, 1, 2, 2, 3]
    assert second.records[:2] == first.records[:2]
    assert_same_models(second[:2], first[:2])
    third = sweep(noted, {"seed": range(4)}, folder=tmp_path)
    assert third.records == second.records
    sweep(noted, {"seed": range(4)}, folder=tmp_path, version="2")
    assert calls == [0, 1, 2, 2, 3, 0, 1, 2, 3]


def test_other_data_are_other_runs(tmp_path):
    for data in (DATA, DATA.split, Dataset(DATA.x, DATA.y, domain=DATA.domain)):
        if isinstance(data, Dataset):
            sweep(MultKAN, {"width": [[2, 1]], "steps": 1}, data=data, folder=tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_settings_that_cannot_be_filed_are_refused_with_a_folder_only(tmp_path):
    settings = {"f": [lambda x: x]}
    with pytest.raises(ConfigError, match=r"expected f to be .* by which runs are filed"):
        sweep(lambda f: {"y": f(1)}, settings, folder=tmp_path)
    assert sweep(lambda f: {"y": f(1)}, settings)[0].results["y"] == 1


def test_model_that_cannot_be_filed_is_kept_in_memory(tmp_path):
    with pytest.warns(SweepWarning, match="some are filed without their models"):
        result = sweep(lambda n: torch.nn.Linear(n, n), {"n": [1, 2]}, folder=tmp_path)
    assert result[1].model.in_features == 2


def test_removed_model_is_an_error_of_its_run_alone(tmp_path):
    result = sweep(lambda seed: MultKAN([1, 1], seed=seed), {"seed": range(2)}, folder=tmp_path)
    next(tmp_path.glob("*.h5")).unlink()
    broken = 0
    for run in result:
        try:
            assert isinstance(run.model, MultKAN)
        except CheckpointError:
            broken += 1
    assert broken == 1


@pytest.mark.parametrize("patient", [False, True])
def test_ctrl_c_keeps_what_is_done(tmp_path, patient):
    pressed = []

    def press(seed):
        if seed == 1 and not pressed:
            pressed.append(seed)
            with Interrupt() if patient else warnings.catch_warnings():
                os.kill(os.getpid(), signal.SIGINT)
        return {"seed_squared": seed**2}

    with pytest.warns(SweepWarning, match="are missing"):
        result = sweep(press, {"seed": range(3)}, folder=tmp_path)
    assert [run.status for run in result] == ["done", "done" if patient else "missing", "missing"]
    assert len(list(tmp_path.glob("*.json"))) == 1
    assert [run.results["seed_squared"] for run in sweep(press, {"seed": range(3)}, folder=tmp_path)] == [0, 1, 4]


def test_threads_are_given_back():
    before = torch.get_num_threads()
    assert sweep(lambda a: {"threads": torch.get_num_threads()}, {"a": 1}, threads=3)[0].results["threads"] == 3
    assert torch.get_num_threads() == before


def test_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    sweep(MultKAN, {"width": [[2, 1]], "seed": [0, 1], "steps": 1}, data=DATA)
    assert torch.equal(torch.get_rng_state(), before)


def test_two_workers_make_the_same_runs(tmp_path):
    """Bit for bit, and a run that fails fails here and there."""
    externals = pytest.importorskip("joblib.externals.loky")

    def run(seed, method):
        if method == "none":
            raise ValueError("no method")
        solution = fit(MultKAN([2, 2, 1], seed=seed, domain=DATA.domain), DATA, steps=8, method=method, progress=False)
        return solution, {"threads": torch.get_num_threads(), "worker": os.getpid() != parent}

    parent = os.getpid()
    settings = {"seed": range(2), "method": ["lm", "bfgs", "none"]}
    try:
        with pytest.warns(SweepWarning, match="2 of 6 failed"):
            parallel = sweep(run, settings, workers=2, folder=tmp_path)
    finally:
        externals.get_reusable_executor().shutdown(wait=True)
    with pytest.warns(SweepWarning, match="2 of 6 failed"):
        serial = sweep(run, settings, workers=1)
    done = [number for number, each in enumerate(serial) if each.status != "failed"]
    assert len(done) == 4
    for number in done:
        assert values(parallel)[number] == {**values(serial)[number], "worker": True}
        assert_same_models(parallel[number : number + 1], serial[number : number + 1])
    assert [run.results.get("error") for run in parallel] == [run.results.get("error") for run in serial]
