"""Conserved quantities of all cases, by the commands a reader would type."""

import json
import subprocess
import sys
import time

import pytest

from problems.conserved.physics import CASES

pytestmark = pytest.mark.slow

WALL = 120
UNTUNED = {
    "p1, p2, p3, exp(q3-q1) - exp(q1-q2), exp(q1-q2) - exp(q2-q3), exp(q2-q3) - exp(q3-q1)": ("q1,q2,q3,p1,p2,p3", 3),
    "px, py, -x - 2*x*y, -y - x**2 - y**2": ("x,y,px,py", 2),
    "p, -sin(q) + 3/10": ("q,p", 1),
    "p, -x*exp(-x**2)": ("x,p", 1),
    "p, -tanh(x)": ("x,p", 1),
    "p, (1 - x**2)*p - x": ("x,p", 0),
    "vx, vy, (1 + x**2)*vy, -(1 + x**2)*vx": ("x,y,vx,vy", 2),
}
seeds = pytest.mark.parametrize("seed", range(5))


def run(folder, *arguments) -> dict[str, float]:
    """Metrics of one command, and the seconds it took as `wall`."""
    command = [sys.executable, "-m", "problems.conserved", "--no-figures", "--out", str(folder), *map(str, arguments)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall = time.perf_counter() - start
    return {**json.loads((folder / "result.json").read_text())["metrics"], "wall": wall}


@seeds
@pytest.mark.parametrize("case", CASES)
def test_cases(case, seed, tmp_path):
    found = run(tmp_path, "--case", case, "--seed", seed)
    assert found["count"] == found["expected_count"]
    assert found["wall"] <= WALL
    if found["count"]:
        assert found["gap"] >= 1e4
        assert found["max_residual"] <= 1e-8
        assert found["formula_exact"]
        assert found["drift"] <= 1e-6
    else:
        assert found["smallest_value"] >= 1e-2


@seeds
@pytest.mark.parametrize("case", ["pendulum", "kepler_2d"])
def test_noisy_trajectories(case, seed, tmp_path):
    found = run(tmp_path, "--case", case, "--motions", 100, "--seed", seed)
    assert found["count"] == found["expected_count"]
    assert found["r2"] >= 0.999


@seeds
@pytest.mark.parametrize("field", UNTUNED)
def test_fields_typed_on_the_command_line(field, seed, tmp_path):
    names, count = UNTUNED[field]
    found = run(tmp_path, "--case", "custom", "--field", field, "--names", names, "--seed", seed)
    assert found["count"] == count
    assert found["wall"] <= WALL


def test_planets(tmp_path):
    found = run(tmp_path, "--case", "planets")
    assert found["count"] == 4
    assert found["gm_relative_error"] <= 1e-3
    kinds = {kind: [own for name, own in found.items() if name.startswith(kind)] for kind in ("energy", "momentum")}
    assert all(len(own) == 8 and max(own) <= 1e-2 for own in kinds.values())
    assert found["lenz_drift_mercury"] <= 0.01
