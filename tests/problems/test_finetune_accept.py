"""What is promised of formulas that data correct: every case, every seed, default settings."""

import json

import pytest

from problems.finetune.physics import CASES
from problems.finetune.solve import Config, solve
from problems.runner import main

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("case", CASES)
def test_finetuning(case, seed, tmp_path):
    main(Config, solve, arguments=["--case", case, "--seed", str(seed), "--out", str(tmp_path), "--no-figures"])
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert metrics["relative_error"] <= 1e-6
    assert metrics["steps_from_prior"] <= 50
    assert 5 * metrics["steps_from_prior"] <= metrics["steps_from_random"]
    assert metrics["form_correct"]
    assert metrics["coefficient_error"] <= 0.01
    assert metrics["refuted_when_absent"] <= 0.1
    assert metrics["refuted_when_present"] >= 0.9
