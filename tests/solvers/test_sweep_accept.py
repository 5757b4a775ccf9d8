"""Sweeps on several processes: the same numbers to the bit, whatever happens to the processes."""

import math
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kansci.errors import SweepWarning
from kansci.nn.multkan import MultKAN
from kansci.solvers.fit import fit
from kansci.solvers.residual import Residual
from kansci.solvers.runs import Sweep
from kansci.solvers.solution import Solution
from kansci.solvers.solve import solve
from kansci.solvers.sweep import sweep

pytestmark = pytest.mark.slow

SETTINGS = {
    "seed": range(3),
    "width": [[2, 5, 1], [2, [4, 2], 1]],
    "problem": ["fit", "poisson"],
    "method": ["lm", "ssbroyden"],
}


def make_run() -> Callable[..., Solution]:
    """A function that other processes get by value, whether or not they find this file."""
    x = np.random.default_rng(0).uniform(-1, 1, (500, 2))
    y = np.exp(np.sin(np.pi * x[:, 0]) + x[:, 1] ** 2)
    t = torch.linspace(-1, 1, 50, dtype=torch.float64)
    one = torch.ones_like(t)
    walls = torch.cat([torch.stack(pair, 1) for pair in ((t, one), (t, -one), (one, t), (-one, t))])

    def run(seed: int, width: list[Any], problem: str, method: str) -> Solution:
        options: dict[str, Any] = {"steps": 20, "method": method, "progress": False, "seed": seed}
        if problem == "fit":
            return fit(MultKAN(width, seed=seed), (x, y), **options)
        points = 2 * torch.rand(400, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 1
        source = 2 * math.pi**2 * (math.pi * points).sin().prod(1)
        inside = Residual(
            lambda jet, _, f: jet.laplacian[:, 0] + f, points, targets=source, needs="laplacian", weight=0.01
        )
        boundary = Residual(lambda jet, _: jet.value[:, 0], walls)
        return solve(MultKAN(width, k=4, seed=seed), [inside, boundary], **options)

    return run


def assert_same(first: Sweep, second: Sweep) -> None:
    """To the bit, but for the seconds."""
    for one, other in zip(first, second, strict=True):
        assert {**one.record, "seconds": 0} == {**other.record, "seconds": 0}
        ours, theirs = one.model.state_dict(), other.model.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)


FEW = {"seed": [0], "width": [[2, 5, 1]], "problem": ["fit", "poisson"], "method": "lm"}


@pytest.mark.parametrize(("settings", "threads", "count"), [(SETTINGS, 1, 24), (FEW, 2, 2)])
def test_two_workers_give_what_one_gives(settings, threads, count):
    serial = sweep(make_run(), settings, threads=threads, workers=1)
    parallel = sweep(make_run(), settings, threads=threads, workers=2)
    assert len(serial) == count
    assert "failed" not in {run.status for run in serial}
    assert_same(parallel, serial)


@pytest.fixture
def client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.distributed
@pytest.mark.timeout(600)
def test_killed_worker_of_a_cluster_costs_no_run(client, tmp_path):
    def kill_one() -> None:
        while len(list(tmp_path.glob("*.json"))) < 6:
            time.sleep(0.01)
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

    before = set(client.run(os.getpid).values())
    killer = threading.Thread(target=kill_one)
    killer.start()
    on_cluster = sweep(make_run(), SETTINGS, folder=tmp_path, backend="dask")
    killer.join()
    client.wait_for_workers(2)
    assert len(before & set(client.run(os.getpid).values())) == 1
    assert_same(on_cluster, sweep(make_run(), SETTINGS, workers=1))


def test_killed_process_fails_its_own_run_only(tmp_path):
    place: Path = tmp_path

    def run(seed: int) -> dict[str, int]:
        (place / f"{seed}-{os.getpid()}").touch()
        if seed == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"double": 2 * seed}

    with pytest.warns(SweepWarning, match="1 of 12 failed"):
        result = sweep(run, {"seed": range(12)}, workers=2)
    assert [each.results.get("double") for each in result] == [None if seed == 5 else 2 * seed for seed in range(12)]
    assert "TerminatedWorkerError" in str(result[5].results["error"])
    assert len(list(place.glob("5-*"))) == 2
