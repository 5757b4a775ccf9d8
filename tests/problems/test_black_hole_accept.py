"""What is promised of black holes: every seed, default settings."""

import json

import pytest

from problems.black_hole.solve import Config, solve
from problems.runner import main

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("branch", ["black", "white"])
@pytest.mark.parametrize("seed", range(5))
def test_schwarzschild(seed, branch, tmp_path):
    arguments = ["--seed", str(seed), "--branch", branch, "--out", str(tmp_path), "--no-figures"]
    main(Config, solve, arguments=arguments)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert metrics["shift_error"] <= 1e-8
    assert metrics["network_shift_error"] <= 1e-7
    assert metrics["single_branch"]
    assert metrics["formula_exact"]
