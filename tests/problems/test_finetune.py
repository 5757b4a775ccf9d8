"""Formulas that data correct: on the command line, for cases and for tables of one's own."""

import json

import pytest
import torch

import kansci as ks
from problems.finetune.physics import CASES
from problems.finetune.solve import Config, solve
from problems.runner import main


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def run(folder, *arguments: str) -> dict:
    main(Config, solve, arguments=["--out", str(folder), *arguments])
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize("name", CASES)
def test_priors_hold_but_for_what_is_missing(name):
    case = CASES[name]
    points = case.points(50, seed=0)
    values = case.measured(case.prior)(points)[:, None]
    prior = ks.kanpile(case.prior, case.names)
    for term in case.terms(points, values):
        (points,) = term.point_sets
        jet = prior.jet(points, term.needs)
        rest = term.function(jet, *([points] if term.targets is None else [points, term.targets]))
        assert rest.detach().abs().max() < 1e-12 * values.abs().max()


@pytest.mark.slow
def test_formulas_and_tables_of_ones_own(tmp_path):
    generator = torch.Generator().manual_seed(0)
    x = 1 + torch.rand(200, 2, dtype=torch.float64, generator=generator)
    y = x[:, 0] / x[:, 1] + 0.2 * x[:, 1].log() + 0.001 * torch.randn(200, dtype=torch.float64, generator=generator)
    rows = "\n".join(f"{a},{b},{c}" for a, b, c in zip(*x.T.tolist(), y.tolist(), strict=True))
    (tmp_path / "data.csv").write_text(f"u,v,w\n{rows}\n")
    options = ["--case", "custom", "--data", str(tmp_path / "data.csv"), "--formula", "u/v", "--noise", "0.001"]
    metrics = run(tmp_path / "out", *options)["metrics"]
    assert metrics["p_value"] < 1e-6 < 0.001 < metrics["p_value_corrected"]
    assert metrics["relative_error"] < 0.002 < metrics["relative_error_of_formula"]
    drawn = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert {"evidence.svg", "network.svg"} <= drawn


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--case", "custom"], "--data with a table and --formula"),
        (["--formula", "x"], "only with --case custom"),
        (["--case", "custom", "--data", "nowhere.csv", "--formula", "x"], "nowhere.csv"),
    ],
)
def test_bad_settings_are_refused(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        run(tmp_path, *arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
