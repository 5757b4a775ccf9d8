"""Systems of one's own: equations, tables of states, tables of motions; settings that make no sense."""

import json
import subprocess
import sys

import pytest
import torch

from kansci.errors import ConfigError
from problems.lagrangian.config import Config
from problems.lagrangian.measure import take_samples
from problems.lagrangian.physics import CASES
from tests.helpers import assert_same

T = torch.linspace(0, 6, 40, dtype=torch.float64)


def write(path, **columns):
    lines = [",".join(columns), *(",".join(map(str, row)) for row in torch.stack([*columns.values()], 1).tolist())]
    path.write_text("\n".join(lines) + "\n")
    return path


def custom(**settings) -> Config:
    return Config(case="custom", **settings)


def test_equations():
    found = take_samples(custom(accelerations="-sin(q)", samples=50, low=(-3, -1), high=(3, 2), angles=("q",)))
    assert (found.names, found.angles) == (["q", "v"], (0,))
    assert found.x.shape == (50, 2)
    assert_same(found.accelerations, -found.x[:, :1].sin(), 1e-14)
    assert_same(found.accelerations_test, -found.x_test[:, :1].sin(), 1e-14)
    low, high = found.x_test.aminmax(dim=0)
    assert bool((low > torch.tensor([-3, -1])).all() and (high < torch.tensor([3, 2])).all())


def test_equations_of_several_coordinates():
    texts = "-q1 + q2*(1 + 0*v1), v1*v2"
    found = take_samples(custom(accelerations=texts, coordinates=("q1", "q2")))
    q1, q2, v1, v2 = found.x.T
    assert found.names == ["q1", "q2", "v1", "v2"]
    assert_same(found.accelerations, torch.stack([q2 - q1, v1 * v2], 1), 1e-14)


def test_tables_of_states(tmp_path):
    path = write(tmp_path / "states.csv", q=T.cos(), v=-T.sin(), a=-T.cos())
    found = take_samples(custom(data=path))
    assert found.motions is None
    assert 0 < len(found.x_test) < len(T) / 2
    assert len(found.x) + len(found.x_test) == len(T)
    assert_same(found.accelerations, -found.x[:, :1], 1e-12)


def test_tables_of_motions(tmp_path):
    path = write(tmp_path / "motions.csv", t=T, q=T.cos())
    found = take_samples(custom(data=path))
    assert found.motions is not None
    assert_same(found.x[5:-5], torch.stack([T.cos(), -T.sin()], 1)[5:-5], 1e-2)
    assert_same(found.accelerations[5:-5, 0], -T.cos()[5:-5], 5e-2)


def test_names_of_columns(tmp_path):
    path = write(tmp_path / "states.csv", x=T, x_dot=T + 1, x_ddot=T + 2, F=T + 3)
    found = take_samples(custom(data=path, coordinates=("x",), forces=("F",)))
    assert found.names == ["x", "x_dot"]
    assert found.force is not None
    assert_same(found.force, found.x[:, :1] + 3, 1e-14)


def test_tables_that_lack_columns(tmp_path):
    path = write(tmp_path / "few.csv", q=T, v=T)
    with pytest.raises(ConfigError, match=r"accelerations a, or times, t or time, in .*few.csv, found"):
        take_samples(custom(data=path))
    with pytest.raises(ConfigError, match="expected a column 'F', found"):
        take_samples(custom(data=write(tmp_path / "all.csv", q=T, v=T, a=T), forces=("F",)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either --data with a table or --accelerations"),
        ({"accelerations": "-q", "data": "some.csv"}, "either --data with a table or --accelerations"),
        ({"accelerations": "-q, -q"}, "an acceleration for each of q, got 2 formulas"),
        ({"accelerations": "-q", "angles": ("theta",)}, "expected angles among q, got theta"),
        ({"accelerations": "-q", "low": (0.0, 1.0, 2.0)}, "one number or one for each of q, v"),
        ({"accelerations": "-q", "velocities": ("v", "w")}, "a velocity and an acceleration for each of q"),
        ({"case": "pendulum", "accelerations": "-q"}, "only with --case custom"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ConfigError, match=message):
        take_samples(Config(**{"case": "custom", **settings}))


@pytest.mark.parametrize("case", [name for name, case in CASES.items() if case.recording is None])
def test_cases_are_drawn_from_their_boxes(case):
    found = take_samples(Config(case=case, samples=30))
    assert found.x.shape == (30, len(found.names))
    assert found.accelerations.isfinite().all()
    again = take_samples(Config(case=case, samples=30, seed=1))
    assert not torch.equal(found.x, again.x)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["equations", "states", "motions"])
def test_commands(kind, tmp_path):
    q = 3 * torch.rand(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1.5
    arguments = {
        "equations": ["--accelerations=-sin(q)", "--low", "-2", "--high", "2"],
        "states": ["--data", write(tmp_path / "s.csv", q=q[:, 0], v=q[:, 1], a=-q[:, 0].sin())],
        "motions": ["--data", write(tmp_path / "m.csv", t=T, q=1.2 * T.cos())],
    }[kind]
    command = [sys.executable, "-m", "problems.lagrangian", "--case", "custom", *map(str, arguments)]
    subprocess.run([*command, "--no-figures", "--out", str(tmp_path / "out")], check=True, capture_output=True)
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["metrics"]["acceleration_relative"] < {"motions": 0.05}.get(kind, 1e-9)
    assert kind == "motions" or result["formula"] == "v**2/2 + cos(q)"
    assert result["metrics"]["singular_share"] == 0
