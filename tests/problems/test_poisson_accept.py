"""Published accuracies of Poisson's equation, by the commands a reader would type, on two cores."""

import json
import subprocess
import sys
import time

import pytest

import kansci as ks
from problems.poisson.collocation import evaluation_points
from problems.poisson.physics import CASES

pytestmark = pytest.mark.slow

BOUNDS = {
    "paper": {"relative_l2": 1e-7, "h1_squared": 1e-11, "parameters": 1000, "wall": 60},
    "rotated": {"relative_l2": 1e-6, "wall": 60},
    "sine": {"l2_squared": 1e-14, "wall": 60},
    "unit_square": {"rmse": 3e-9, "parameters": 300, "wall": 60},
    "five_dim": {"rmse": 1e-8, "wall": 120},
    "five_dim_coupled": {"rmse": 1e-6, "wall": 120},
}
FORMULAS = ["exp(-x)*cos(3*y) + x*y**2", "1/(1 + 4*x**2 + y**2)", "sin(2*x*y)*exp(y/2)"]
seeds = pytest.mark.parametrize("seed", range(5))


def run(folder, *arguments) -> dict[str, float]:
    """Metrics of one command, and the seconds it took as `wall`."""
    command = [sys.executable, "-m", "problems.poisson", "--no-figures", "--out", str(folder), *map(str, arguments)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall = time.perf_counter() - start
    return {**json.loads((folder / "result.json").read_text())["metrics"], "wall": wall}


def check(metrics: dict[str, float], bounds: dict[str, float]) -> None:
    missed = {name: (metrics[name], bound) for name, bound in bounds.items() if not metrics[name] <= bound}
    ratio = metrics["error_estimate"] / metrics["relative_l2"]
    if not 0.1 <= ratio <= 10:
        missed["error_estimate"] = (metrics["error_estimate"], metrics["relative_l2"])
    assert not missed, f"(found, wanted): {missed}"


@seeds
@pytest.mark.parametrize("case", BOUNDS)
def test_cases(case, seed, tmp_path):
    check(run(tmp_path, "--case", case, "--seed", seed), BOUNDS[case])


@seeds
@pytest.mark.parametrize("formula", FORMULAS)
def test_formulas_typed_on_the_command_line(formula, seed, tmp_path):
    box = ("--box", -1, 1, 0, 1)
    metrics = run(tmp_path, "--case", "custom", "--exact", formula, *box, "--seed", seed)
    check(metrics, {"relative_l2": 1e-6, "wall": 60})


@seeds
def test_a_deeper_network_does_not_stick(seed, tmp_path):
    metrics = run(tmp_path, "--width", 2, 5, 5, 1, "--seed", seed)
    check(metrics, {"relative_l2": 1e-5, "wall": 120})
    outside = ks.trace(ks.load(tmp_path / "model.h5"), evaluation_points(CASES["paper"])).outside
    assert max(float(share.max()) for share in outside) <= 0.01
