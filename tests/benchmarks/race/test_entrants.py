import pytest
import torch

from tests.benchmarks.race import entrants, tasks
from tests.benchmarks.race.__main__ import run, select
from tests.benchmarks.race.entrants import ENTRANTS, METHODS, Entrant, Scaled
from tests.benchmarks.race.tasks import TASKS, Regression

TASK = {task.name: task for task in TASKS}
OURS = [entrant for entrant in ENTRANTS if entrant.library in ("kansci", "MLP")]
PEERS = [
    pytest.param(entrant, task, id=f"{task.name} {entrant.library} {entrant.method}")
    for task in (TASK["bessel"], TASK["unit"])
    for entrant in ENTRANTS
    if entrant not in OURS and isinstance(task, entrant.tasks)
]


@pytest.fixture
def toy(monkeypatch):
    """A task of few points, and short trials."""
    monkeypatch.setattr(entrants, "TRIAL", 0.01)
    monkeypatch.setattr(tasks, "TRAIN_POINTS", 64)
    monkeypatch.setattr(tasks, "TEST_POINTS", 16)
    return Regression("toy", "x", torch.sin, ((-1.0, 1.0),), (1, 2, 1), (2, 4))


@pytest.mark.parametrize("entrant", OURS, ids=lambda entrant: f"{entrant.library} {entrant.method}")
def test_kansci_leaves_a_track(entrant, toy):
    found = run(entrant, toy, 0.05)
    assert found.ended in ("time", "max_steps", "converged", "stalled")
    assert 0 < found.parameters <= toy.network.parameters
    assert len(found.seconds) == len(found.errors) > 0
    assert list(found.seconds) == sorted(found.seconds)
    assert 0 < found.final < 10


@pytest.mark.benchmark
@pytest.mark.parametrize(("entrant", "task"), PEERS)
def test_peers_leave_a_track(entrant, task):
    found = run(entrant, task, 0.1)
    assert found.ended in ("time", "stalled")
    assert 0 < found.parameters <= 1.1 * task.network.parameters
    assert len(found.seconds) == len(found.errors) > 0
    assert 0 < found.final < 10


def test_failure_is_a_result():
    def train(task, track):
        print("not to be seen")
        track.start(3)
        raise ValueError("no such\n   thing")

    before = torch.get_default_dtype(), torch.get_rng_state()
    found = run(Entrant("some", "method", train), TASK["product"], 1.0)
    assert found.ended == "failed: ValueError: no such thing"
    assert (found.parameters, found.seconds, found.errors) == (3, (), ())
    assert torch.get_default_dtype() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_everybody_starts_alike(capsys):
    draws = []

    def train(task, track):
        print("not to be seen")
        draws.append(torch.rand(3))
        torch.set_default_dtype(torch.float32)
        return "time"

    for _ in range(2):
        run(Entrant("some", "method", train), TASK["product"], 1.0)
    assert draws[0].dtype == torch.float64
    assert torch.equal(*draws)
    assert capsys.readouterr().out == ""


def test_scaled_network_sees_the_unit_box():
    task = TASK["feynman"]
    seen = Scaled(torch.nn.Identity(), task)(torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64))
    assert seen.tolist() == [[-1.0, 0.0, 1.0]]


def test_each_method_of_ours_takes_part_once():
    names = [(entrant.library, entrant.method) for entrant in OURS]
    assert names == [(library, method) for library in ("kansci", "MLP") for method in METHODS]


def test_unknown_names_are_refused():
    assert select("problems", ("b",), {"a": 1, "b": 2}) == [2]
    assert select("problems", (), {"a": 1, "b": 2}) == [1, 2]
    with pytest.raises(SystemExit, match="expected problems out of a, b, got c"):
        select("problems", ("c",), {"a": 1, "b": 2})
