"""What is promised of constitutive laws: every case, every seed, default settings."""

import json
import os
from pathlib import Path

import pytest

from problems.constitutive.benchmark import LAWS
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


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("law", LAWS)
def test_energies_from_stresses_with_noise(law, seed, tmp_path):
    metrics = run(tmp_path, "--case", "energy", "--law", law, "--seed", str(seed))
    assert metrics["r2_least"] >= 0.9999
    if not LAWS[law].family:
        assert metrics["terms_right"]
        assert metrics["parameter_error"] <= 1e-3


def test_rubber(tmp_path):
    folder = os.environ.get("KANSCI_TEST_DATA")
    table = Path(folder or ".") / "rubber_treloar_1944.csv"
    if folder is None or not table.exists():
        pytest.skip("KANSCI_TEST_DATA is not set to a folder with rubber_treloar_1944.csv")
    metrics = run(tmp_path, "--case", "rubber", "--data", str(table))
    for mode, least in (("uniaxial", 0.9975), ("equibiaxial", 0.9990), ("pure_shear", 0.9990)):
        assert metrics[f"r2_{mode}"] >= least
    assert metrics["r2_pure_shear_predicted"] >= 0.99
    assert metrics["frame_error"] <= 1e-12
    assert metrics["rest_stress"] <= 1e-12
    assert metrics["rank_one"] >= -1e-10
    assert metrics["least_step"] >= 0
    assert metrics["band_coverage"] >= 0.9
