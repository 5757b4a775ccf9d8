"""Constitutive laws on the command line: tables of one's own, and what is refused."""

import json

import pytest
import torch

import kansci as ks
from problems.constitutive.benchmark import LAWS, PATHS, path, random_deformations
from problems.constitutive.components import CASES, NAMES, deformations, lame
from problems.constitutive.rubber import read_tests
from problems.constitutive.solve import Config, solve
from problems.runner import main


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def run(folder, *arguments: str) -> dict:
    main(Config, solve, arguments=["--out", str(folder), *arguments])
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize("name", CASES)
def test_responses_are_those_of_the_kirchhoff_stress(name):
    constants = lame(1.0, 0.2)
    x = deformations(50, 0.2, 0)
    f = x.view(-1, 3, 3)
    stress = constants["mu"] * (f @ f.mT - torch.eye(3))
    stress = stress + constants["lambda_"] * torch.linalg.det(f).log()[:, None, None] * torch.eye(3)
    expected = stress[:, 0, 0] if name == "p11" else stress[:, 0, 1]
    assert (CASES[name].response(x, constants) - expected).abs().max() < 1e-14


def test_the_prior_is_the_law_of_small_strains():
    constants = lame(1.0, 0.2)
    x = deformations(50, 1e-5, 0)
    for case in CASES.values():
        prior = ks.torch_function(ks.parse_formula(case.prior(constants), NAMES), NAMES)(x)
        assert (case.response(x, constants) - prior).abs().max() < 1e-8


@pytest.mark.parametrize("name", LAWS)
def test_bodies_at_rest_have_no_stress(name):
    still = torch.stack([path(own, torch.zeros(1, dtype=torch.float64))[0] for own in PATHS])
    assert LAWS[name].stress(still).abs().max() < 1e-14


def test_a_table_of_stresses(tmp_path):
    f = random_deformations(150, 0)
    columns = torch.cat([f.flatten(1), LAWS["gent_thomas"].stress(f).flatten(1)], 1)
    header = ",".join(f"{letter}{i}{j}" for letter in "FP" for i in (1, 2) for j in (1, 2))
    rows = [",".join(map(repr, own)) for own in columns.tolist()]
    (tmp_path / "data.csv").write_text("\n".join([header, *rows]))
    record = run(tmp_path / "out", "--case", "energy", "--data", str(tmp_path / "data.csv"), "--no-figures")
    assert record["formula"] == "0.5*(I1 - 3) + 1*log(I2/3) + 1.5*(J - 1)**2"


def test_tests_are_read_by_the_names_of_their_columns(tmp_path):
    table = tmp_path / "rubber.csv"
    table.write_text("# MPa\nnominal_stress_MPa,Mode,stretch\n0.5,pure shear,1.2\n0.7,Uniaxial,1.3\n")
    tests = read_tests(table)
    assert {mode: (x.tolist(), y.tolist()) for mode, (x, y) in tests.items()} == {
        "pure_shear": ([1.2], [0.5]),
        "uniaxial": ([1.3], [0.7]),
    }


@pytest.mark.slow
def test_a_table_of_responses(tmp_path):
    x = deformations(300, 0.2, 0)
    y = CASES["p12"].response(x, lame(2.0, 0.3))
    rows = [",".join(map(repr, own)) for own in torch.cat([x, y[:, None]], 1).tolist()]
    (tmp_path / "data.csv").write_text("\n".join([",".join([*NAMES, "tau"]), *rows]))
    options = ["--case", "custom", "--data", str(tmp_path / "data.csv"), "--prior", "F12 + F21"]
    record = run(tmp_path / "out", *options)
    assert record["metrics"]["formula_exact"]
    assert (tmp_path / "out" / "figures" / "parity.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--case", "rubber"], "--data with a table"),
        (["--case", "custom"], "--data with a table"),
        (["--case", "p11", "--data", "x.csv"], "only with a case that reads a table"),
        (["--poisson", "0.5"], "nu < 0.5"),
        (["--case", "rubber", "--data", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_bad_settings_are_refused(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        run(tmp_path, *arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
