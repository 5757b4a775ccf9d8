"""What is promised of constitutive laws: every case, every seed, default settings."""

import json

import pytest

from problems.constitutive.solve import Config, solve
from problems.runner import main

pytestmark = pytest.mark.slow


def run(folder, *arguments: str) -> dict:
    main(Config, solve, arguments=["--out", str(folder), "--no-figures", *arguments])
    return json.loads((folder / "result.json").read_text())["metrics"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("case", ["p11", "p12_prior", "p12"])
def test_components(case, seed, tmp_path):
    metrics = run(tmp_path, "--case", case, "--seed", str(seed))
    assert metrics["test_rmse"] <= 1e-10
    assert metrics["mu_error"] <= 1e-8
    assert case != "p11" or metrics["lambda_error"] <= 1e-8
    assert metrics["formula_exact"]
    assert metrics["seconds"] <= 60
