"""Ten thousand mutated files, of models and of solves: each is refused, or a valid model with a digest that fits.

Half of them are made by chance; the others by somebody who knows the format and its digest.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

MUTANTS = 10_000
PROCESSES = 10


@pytest.mark.parametrize("seed", range(PROCESSES))
def test_mutated_files_are_refused_or_valid(seed, tmp_path):
    """A crash ends the process, and so does a file that takes a minute."""
    command = [sys.executable, "-m", "tests.mutations", seed, MUTANTS // PROCESSES, tmp_path]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    options = {"capture_output": True, "text": True, "cwd": Path(__file__).parents[1], "env": environment}
    done = subprocess.run(list(map(str, command)), check=False, **options)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert sum(report["outcomes"].values()) == MUTANTS // PROCESSES
    assert not report["failures"]
    assert not report["executed"]
    assert report["peak"] < 1000
    assert report["slowest"] < 10
    verdicts = {name.rpartition(": ")[2] for name in report["outcomes"]}
    assert verdicts == {"refused", "equal", "other", "solved"}
