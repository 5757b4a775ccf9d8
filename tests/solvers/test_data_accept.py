"""A million samples of nine inputs, from CSV and HDF5: read and fitted in fresh processes of bounded memory."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROWS, PART = 10**6, 10**5
NAMES = [*(f"x{number}" for number in range(1, 10)), "y"]
SCRIPT = """
import json, sys, time
import kansci as ks
from tests.benchmarks.memory import peak

path, memory, options = sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3])
ks.MultKAN, ks.fit, ks.Dataset
report = {"start": peak()}
began = time.perf_counter()
data = ks.Dataset.from_file(path, "y", memory=memory, progress=False)
report |= {"rows": len(data.x), "read": time.perf_counter() - began, "read_peak": peak()}
began = time.perf_counter()
model = ks.MultKAN([9, 3, 1], domain=data.domain)
solution = ks.fit(model, data, progress=False, **options)
report |= {"fit": time.perf_counter() - began, "peak": peak(), "loss": solution.history.loss.tolist()}
print(json.dumps(report))
"""


def tables() -> Iterator[np.ndarray]:
    """y = exp(sin(pi x1) + x2^2) / 10 + the mean of the others, in parts."""
    generator = np.random.default_rng(0)
    for _ in range(0, ROWS, PART):
        x = generator.uniform(-1, 1, (PART, 9))
        y = np.exp(np.sin(np.pi * x[:, 0]) + x[:, 1] ** 2) / 10 + x[:, 2:].mean(1)
        yield np.column_stack([x, y])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("million")
    with h5py.File(path / "data.h5", "w") as target, (path / "data.csv").open("w") as text:
        dataset = target.create_dataset("table", (ROWS, 10), "f8")
        dataset.attrs["columns"] = NAMES
        text.write(",".join(NAMES) + "\n")
        for number, table in enumerate(tables()):
            dataset[number * PART : (number + 1) * PART] = table
            text.writelines(",".join(map(repr, row)) + "\n" for row in table.tolist())
    return path


LM = {"method": "lm", "steps": 3}
ADAM = {"method": "adam", "steps": 2, "batch_size": 4096}


@pytest.mark.parametrize(
    ("kind", "memory", "options"),
    [("csv", 256e6, LM), ("csv", 1e6, LM), ("h5", 1e6, LM), ("csv", 1e6, ADAM), ("h5", 256e6, ADAM)],
)
def test_a_million_samples_are_fitted_in_little_memory(folder, kind, memory, options):
    """Held in memory or mapped; the pages of a map that are in memory count, too."""
    command = [sys.executable, "-c", SCRIPT, str(folder / f"data.{kind}"), str(memory), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    report = json.loads(done.stdout)
    assert report["rows"] == ROWS
    assert report["loss"][-1] < 0.6
    assert report["read_peak"] - report["start"] < 160
    assert report["peak"] < 800
    assert report["read"] < 60
