"""Solves that are killed again and again end as if nothing had happened.

Each kill is a SIGKILL at a random time after the first checkpoint of a chain of processes, the last of which ends;
KANSCI_KILLS says how many kills there are of each solve.
"""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import pytest
import torch

import kansci as ks
from kansci import checkpoint, sealed

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KANSCI_KILLS", "5"))
ROOT = Path(__file__).parents[2]
LONGEST = 0.4  # time to a kill, in units of the time that a solve takes
INTERVALS = [(1, 0.0), (3, 0.0), (0, 0.0), (0, 0.3)]  # steps, or none and seconds, between checkpoints

logger = logging.getLogger(__name__)


class Whole(NamedTuple):
    """A solve that was never killed."""

    bits: dict[str, Any]
    seconds: float


@pytest.fixture(params=["poisson", "batches"], scope="module")
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def whole(name, tmp_path_factory) -> Whole:
    result = tmp_path_factory.mktemp("whole") / "result.json"
    assert start(name, "none", (0, 1.0), result).wait() == 0
    found = json.loads(result.read_text())
    return Whole(found["bits"], found["seconds"])


def start(name: str, path: Path | str, interval: tuple[int, float], result: Path) -> subprocess.Popen:
    """A process that is about to solve."""
    command = [sys.executable, "-m", "tests.solvers.long_solves", name, path, *interval, result]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, env=environment, stdout=subprocess.PIPE)
    with cast(BinaryIO, process.stdout) as output:
        assert output.readline() == b"begins\n"
    return process


def is_killed(process: subprocess.Popen, path: Path, delay: float | None) -> bool:
    """Kill a process so many seconds after there is a checkpoint, unless it ends before."""
    try:
        while not path.exists() and process.poll() is None:
            time.sleep(0.01)
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.kill()
    assert process.wait() in (0, -signal.SIGKILL)
    return process.returncode != 0


def steps_kept(path: Path) -> int:
    """Steps that a checkpoint holds, which anybody can load as a model."""
    model = ks.load(path)
    assert model(torch.zeros(3, 2, dtype=torch.float64)).isfinite().all()
    root, _ = sealed.read(path, checkpoint.FORMAT_VERSION)
    return len(root.groups["solve"].groups["history"].tensors["loss"])


def chains(name: str, folder: Path, longest: float) -> Iterator[Any]:
    """The ends of chains of processes, each killed a few times."""
    rng, left = random.Random(f"{name} {KILLS}"), KILLS
    while left:
        path, result, steps, links = folder / f"{left}.h5", folder / f"{left}.json", 0, 1
        delay: float | None = rng.uniform(0, longest)
        while is_killed(start(name, path, rng.choice(INTERVALS), result), path, delay):
            left, links = left - 1, links + 1
            before, steps = steps, steps_kept(path)
            assert steps >= before
            logger.info("%s: killed after %.2f s with %d steps kept, %d kills left", name, delay, steps, left)
            delay = rng.uniform(0, longest) if left else None
        logger.info("%s: a chain of %d processes has ended", name, links)
        assert {each.name for each in folder.glob(f".{path.name}*")} == set()
        yield json.loads(result.read_text())["bits"]


@pytest.mark.timeout(0)
def test_killed_solves_end_with_the_same_bits(name, whole, tmp_path):
    ends = 0
    for bits in chains(name, tmp_path, LONGEST * whole.seconds):
        assert bits == whole.bits
        ends += 1
    assert ends


def test_the_solves_are_long_and_have_several_stages(name, whole):
    assert set(whole.bits["stages"]) == set(range({"poisson": 3, "batches": 2}[name]))
    assert whole.seconds > {"poisson": 20, "batches": 5}[name]
