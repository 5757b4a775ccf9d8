import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from kansci.errors import ConfigError, MissingDependencyError
from kansci.solvers import workers
from kansci.solvers.attempt import Outcome
from kansci.solvers.workers import Crew, Outcomes, carry_out

PLAN = {number: {"x": number} for number in range(6)}


class Mortal(Crew):
    """Two workers, of which a deadly run kills one; both runs at hand are lost then."""

    size = 2

    def __init__(self, deadly: set[int], patience: int = 99) -> None:
        self.deadly, self.patience, self.calls, self.losses = deadly, patience, list[list[int]](), 0

    @property
    def is_gone(self) -> bool:
        return self.losses >= self.patience

    def together(self, plan: Mapping[int, Mapping[str, Any]]) -> Outcomes:
        self.calls.append(list(plan))
        for first in range(0, len(plan), 2):
            at_hand = list(plan)[first : first + 2]
            if self.deadly & set(at_hand):
                self.losses += 1
                raise RuntimeError("a worker was killed")
            yield from ((number, Outcome({"status": "done"})) for number in at_hand)


def statuses(crew: Crew) -> dict[int, Any]:
    return {number: outcome.results["status"] for number, outcome in workers._surviving(crew, PLAN)}


def test_a_deadly_run_costs_no_other():
    crew = Mortal({3})
    assert statuses(crew) == {0: "done", 1: "done", 2: "done", 3: "failed", 4: "done", 5: "done"}
    assert crew.calls == [[0, 1, 2, 3, 4, 5], [2], [3], [4, 5]]


def test_many_deadly_runs_come_to_an_end():
    crew = Mortal(set(PLAN))
    assert set(statuses(crew).values()) == {"failed"}
    assert len(crew.calls) == 3 + len(PLAN)


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_without_workers_the_rest_is_missing(patience):
    done = statuses(Mortal({2, 3}, patience))
    assert list(done) == {1: [0, 1], 2: [0, 1], 3: [0, 1, 2]}[patience]


def whereabouts(x: int) -> dict[str, int]:
    return {"thread": threading.get_ident()}


def run_all(run: Any, **options: Any) -> dict[int, Outcome]:
    return dict(carry_out(run, PLAN, **{"threads": 1, "workers": None, "backend": None, **options}))


def test_backend_that_there_is_not():
    with pytest.raises(ConfigError, match="got 'no such'"):
        run_all(dict, workers=2, backend="no such")
    with pytest.raises(ConfigError, match="expected backend to be a name or a Dask client, got int"):
        run_all(dict, backend=3)


@pytest.mark.parametrize(("module", "options"), [("joblib", {"workers": 2}), ("distributed", {"backend": "dask"})])
def test_missing_library(monkeypatch, module, options):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf"expected {module} .*pip install 'kansci\[sweep\]'"):
        run_all(dict, **options)


@pytest.mark.parametrize("count", [None, 1])
def test_one_worker_needs_no_library(monkeypatch, count):
    monkeypatch.setitem(sys.modules, "joblib", None)
    assert len(run_all(whereabouts, workers=count)) == len(PLAN)


def test_dask_without_a_cluster():
    with pytest.raises(ConfigError, match="expected a Dask cluster"):
        run_all(dict, backend="dask")


def test_joblib_decides_where_it_has_been_asked():
    joblib = pytest.importorskip("joblib")
    with joblib.parallel_config(backend="threading", n_jobs=3):
        outcomes = run_all(whereabouts)
        here = run_all(whereabouts, workers=1)
    ours = threading.get_ident()
    assert ours not in {outcome.results["thread"] for outcome in outcomes.values()}
    assert {outcome.results["thread"] for outcome in here.values()} == {ours}


@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield cluster, client


def doze(x: int) -> dict[str, int]:
    time.sleep(0.01 if x < 3 else 2)
    return {"y": 2 * x}


def test_cluster_that_loses_all_workers_is_given_up(cluster, monkeypatch):
    cluster, client = cluster
    monkeypatch.setattr(workers, "LOOK", 0.05)
    monkeypatch.setattr(workers, "PATIENCE", 0.2)
    timer = threading.Timer(0.5, cluster.scale, [0])
    timer.start()
    outcomes = run_all(doze, backend=client)
    timer.join()
    assert {number: outcome.results["y"] for number, outcome in outcomes.items()} == {0: 0, 1: 2, 2: 4}
