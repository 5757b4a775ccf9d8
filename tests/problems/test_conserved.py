import json

import numpy as np
import pytest

from kansci.errors import ConfigError
from problems.conserved.config import Config
from problems.conserved.motions import read_motions
from problems.conserved.physics import CASES
from problems.conserved.solve import read_field, solve
from problems.runner import main


def test_every_known_integral_is_one():
    import kansci as ks
    from kansci.physics.conserved import measure

    for case in CASES.values():
        flow = read_field(case)
        x = flow.points(50)
        for own in case.integrals:
            function = ks.torch_function(ks.parse_formula(own, case.names), case.names)
            assert measure([function], x, flow(x)).residual[0] < 1e-13


@pytest.mark.slow
def test_a_field_on_the_command_line(tmp_path):
    field = ["--case", "custom", "--field", "p, -x", "--names", "x,p", "--low=-2", "--high", "2"]
    main(Config, solve, arguments=[*field, "--out", str(tmp_path)])
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["formula"] == "p**2 + x**2"
    assert record["metrics"]["count"] == 1
    assert record["metrics"]["expected_count"] is None
    assert record["metrics"]["drift"] < 1e-8
    assert {own.stem for own in (tmp_path / "figures").iterdir()} == {"spectrum", "trajectories", "drift"}
    assert (tmp_path / "report.html").exists()


def test_trajectories_from_a_file(tmp_path):
    t = np.linspace(0, 9, 60)
    rows = [np.stack([t, 0 * t + k, (1 + k / 9) * np.cos(t), -(1 + k / 9) * np.sin(t)], 1) for k in range(9)]
    path = tmp_path / "motions.csv"
    np.savetxt(path, np.concatenate(rows), delimiter=",", header="time,trajectory,x,p", comments="")
    names, motions = read_motions(path)
    assert names == ("x", "p")
    assert [len(own) for own in motions] == [60] * 9
    result = solve(Config("custom", data=path))
    assert result.metrics["count"] == 1
    np.savetxt(path, np.concatenate(rows)[:, [0, 2, 3]], delimiter=",", header="time,x,p", comments="")
    np.testing.assert_allclose(np.concatenate(read_motions(path)[1]), np.concatenate(motions))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config("pendulum", field="p, -x"), "only with --case custom"),
        (Config("custom", field="p, -x"), "expected --field and --names"),
        (Config("custom", field="p, -x", names="x,p", low=(0.0, 1.0, 2.0)), "one bound or 2"),
    ],
)
def test_settings_are_checked(config, message):
    with pytest.raises(ConfigError, match=message):
        solve(config)


def test_the_planets():
    metrics = solve(Config("planets")).metrics
    assert metrics["count"] == 4
    assert metrics["gm_sun"] == pytest.approx(2.9591220829e-4, rel=1e-3)
