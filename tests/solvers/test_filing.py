import dataclasses
import json
import math
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kansci.errors import CheckpointError, ConfigError, SweepWarning
from kansci.nn.mlp import MLP
from kansci.nn.multkan import MultKAN
from kansci.solvers.attempt import Outcome
from kansci.solvers.data import Dataset
from kansci.solvers.filing import Filed, Folder, describe, plain

SETTINGS = {"seed": 3, "width": [2, 5, 1]}
RESULTS = {
    "status": "done",
    "loss": math.pi,
    "mass_standard_error": math.inf,
    "note": "é\n",
    "steps": 10**18,
    "b": None,
}


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path, {"function": "run"})


def file_of(folder: Folder, suffix: str = ".json") -> Path:
    (found,) = folder.path.glob(f"*{suffix}")
    return found


def test_run_comes_back(folder):
    assert folder.read(SETTINGS) is None
    model = folder.write(SETTINGS, Outcome(RESULTS, MultKAN([2, 5, 1])))
    assert folder.read(SETTINGS) == Filed(RESULTS, model)
    assert folder.read({"width": (2, 5, 1), "seed": np.int64(3)}) == Filed(RESULTS, model)
    for other in ({**SETTINGS, "seed": 4}, {**SETTINGS, "seed": 3.0}, {**SETTINGS, "seed": "3"}, {"seed": 3}):
        assert folder.read(other) is None
    assert Folder(folder.path, {"function": "walk"}).read(SETTINGS) is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(settings=st.dictionaries(st.text(), values, max_size=3), number=st.floats(), text=st.text())
def test_any_settings_and_numbers_come_back(tmp_path_factory, settings, number, text):
    folder = Folder(tmp_path_factory.mktemp("runs"), {"function": "run"})
    folder.write(settings, Outcome({"status": text, "x": number}))
    found = folder.read(settings)
    assert found is not None
    assert repr(found.results) == repr({"status": text, "x": number})


def contents(folder: Folder) -> Counter[bytes]:
    return Counter(path.read_bytes() for path in folder.path.iterdir())


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def change_a_digit(path: Path) -> None:
    path.write_text(path.read_text().replace("3.14", "3.15"))


def replace(path: Path) -> None:
    path.write_text("[]")


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("suffix", "harm"),
    [(".json", damage), (".json", change_a_digit), (".json", replace), (".h5", damage), (".h5", remove)],
)
def test_what_is_damaged_is_told_and_kept(folder, suffix, harm):
    folder.write(SETTINGS, Outcome(RESULTS, MultKAN([2, 5, 1])))
    before = Counter[bytes]()
    for _ in range(2):
        folder.write(SETTINGS, Outcome(RESULTS, MultKAN([2, 5, 1])))
        harm(file_of(folder, suffix))
        before = contents(folder)
        with pytest.warns(SweepWarning, match=r"the run is made again.* kept as .*\.damaged"):
            assert folder.read(SETTINGS) is None
        assert contents(folder) == before
        assert folder.read(SETTINGS) is None
    folder.write(SETTINGS, Outcome(RESULTS, MultKAN([2, 5, 1])))
    assert contents(folder) > before
    assert folder.read(SETTINGS) is not None


def test_run_with_other_settings_is_not_taken_for_this_one(folder):
    folder.write(SETTINGS, Outcome(RESULTS))
    first = file_of(folder)
    folder.write({"seed": 4}, Outcome(RESULTS))
    (second,) = set(folder.path.glob("*.json")) - {first}
    second.replace(first)
    with pytest.warns(SweepWarning, match=r"it is a run of run with \{'seed': 4\}"):
        assert folder.read(SETTINGS) is None


def test_other_files_are_left_alone(folder):
    (folder.path / "notes.json").write_text("mine")
    folder.write(SETTINGS, Outcome(RESULTS))
    assert folder.read(SETTINGS) == Filed(RESULTS, None)
    assert (folder.path / "notes.json").read_text() == "mine"


def test_file_says_what_it_is(folder):
    folder.write(SETTINGS, Outcome(RESULTS, MLP([1, 3, 1])))
    content = json.loads(file_of(folder).read_text())
    assert content["settings"] == SETTINGS
    assert content["results"]["loss"] == math.pi
    assert content["function"] == "run"
    assert file_of(folder, ".h5").name == content["model"]


def test_model_that_cannot_be_saved_is_a_complaint(folder):
    assert folder.write(SETTINGS, Outcome(RESULTS, torch.nn.Linear(1, 1))) is None
    assert "some are filed without their models" in folder.complaints[0]
    assert folder.read(SETTINGS) == Filed(RESULTS, None)


def test_full_disk_is_a_complaint(folder, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        folder.write(SETTINGS, Outcome(RESULTS))
    assert "No space left on device" in folder.complaints[0]
    assert list(folder.path.iterdir()) == []


def test_path_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="expected a folder that can be written"):
        Folder(tmp_path / "file", {})


@dataclasses.dataclass(frozen=True)
class Penalty:
    l1: float
    layers: tuple[int, ...] = ()


def double(x):
    return 2 * x


def test_settings_as_text():
    assert plain(Penalty(0.1, (1, 2))) == {"type": "Penalty", "l1": 0.1, "layers": [1, 2]}
    assert plain([MultKAN, double]) == [{"function": "MultKAN"}, {"function": "double"}]
    assert plain(
        {"a": np.arange(2.0), "b": torch.tensor(3), "c": torch.float32, "d": Path("x"), "e": np.bool_(True)}
    ) == {
        "a": [0.0, 1.0],
        "b": 3,
        "c": "torch.float32",
        "d": "x",
        "e": True,
    }


def test_data_are_known_by_their_numbers():
    data = Dataset([0.0, 1.0], [1.0, 2.0])
    assert plain(data) == plain(Dataset(torch.tensor([0.0, 1.0]), [1.0, 2.0]))
    for other in (Dataset([0.0, 1.0], [1.0, 3.0]), Dataset([0.0, 1.0], [1.0, 2.0], weight=[1.0, 1.0])):
        assert plain(other) != plain(data)


@pytest.mark.parametrize("value", [object(), lambda x: x, {1: 2}, {"a": {1, 2}}, [object()], MultKAN([1, 1])])
def test_what_cannot_be_told_from_others_is_refused(value):
    with pytest.raises(ConfigError, match="by which runs are filed"):
        plain(value)


def test_what_is_bound_to_a_function_belongs_to_it():
    assert describe(double) == f"{__name__}.double"
    assert describe(partial(double, 3)) != describe(partial(double, 4))
    assert describe(partial(partial(double, x=3))) == describe(partial(double, x=3))
    with pytest.raises(ConfigError, match="expected x to be"):
        describe(partial(double, x=object()))
