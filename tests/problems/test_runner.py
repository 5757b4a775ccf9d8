import json
import math
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import kansci as ks
from problems.runner import Result, list_problems, main


@dataclass(frozen=True)
class Config:
    """A toy."""

    case: str = "paper"
    seed: int = 0
    source: str = "0"
    weight: float = 0.01
    width: tuple[int, ...] = (1, 1)
    folder: Path = Path("here")


def draw() -> Figure:
    figure = Figure()
    figure.add_subplot().plot([0, 1], [0, 1])
    return figure


def solve(config: Config) -> Result:
    """Solves a toy."""
    metrics = {"error": 1e-9, "steps": 3, "converged": True, "order": math.nan, "rate": None}
    return Result(ks.MultKAN(list(config.width), seed=config.seed), metrics, "x1\nx1**2", figures={"line": draw})


def run(*arguments: str, problem=solve) -> None:
    main(Config, problem, name="toy", arguments=arguments)


def refuse_constants(text: str):
    raise AssertionError(f"{text} is not JSON")


def read(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text(), parse_constant=refuse_constants)


def test_record_is_complete_and_has_no_nan(tmp_path):
    run("--out", str(tmp_path), "--seed", "3", "--weight=-0.5", "--width", "1", "2", "1")
    record = read(tmp_path)
    assert list(record) == ["problem", "case", "config", "metrics", "formula", "seconds", "versions"]
    assert (record["problem"], record["case"], record["formula"]) == ("toy", "paper", "x1\nx1**2")
    assert record["config"] == {
        "case": "paper",
        "seed": 3,
        "source": "0",
        "weight": -0.5,
        "width": [1, 2, 1],
        "folder": "here",
    }
    assert record["metrics"] == {"error": 1e-9, "steps": 3, "converged": True, "order": None, "rate": None}
    assert record["metrics"]["converged"] is True
    assert record["seconds"] > 0
    assert record["versions"]["kansci"] == ks.__version__


def test_numbers_of_numpy_and_torch_are_recorded_as_numbers(tmp_path):
    def solve_in_numpy(config: Config) -> Result:
        metrics = {"a": np.float32(0.5), "b": np.int64(2), "c": np.bool_(True), "d": torch.tensor(math.inf)}
        return Result(ks.MultKAN([1, 1]), metrics)

    run("--out", str(tmp_path), problem=solve_in_numpy)
    assert read(tmp_path)["metrics"] == {"a": 0.5, "b": 2, "c": True, "d": None}


def test_model_is_saved(tmp_path):
    run("--out", str(tmp_path), "--seed", "5")
    x = torch.linspace(-1, 1, 7, dtype=torch.float64)[:, None]
    assert torch.equal(ks.load(tmp_path / "model.h5")(x), ks.MultKAN([1, 1], seed=5)(x))


def test_figures_are_drawn_as_vectors_and_pixels(tmp_path):
    run("--out", str(tmp_path))
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["line.png", "line.svg"]


def test_figures_are_left_out_on_request(tmp_path):
    run("--out", str(tmp_path), "--no-figures")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.h5", "report.html", "result.json"]
    assert "<svg" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_report_has_formulas_metrics_figures_and_settings(tmp_path):
    before = plt.get_fignums()
    run("--out", str(tmp_path), "--source=-x1 + 2")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("<math") == 2 and text.count("<svg") == 1
    assert all(expected in text for expected in ("toy, case paper", "1 × 10⁻⁹", "converged", "-x1 + 2", "<td>here"))
    assert plt.get_fignums() == before


def test_flag_takes_a_leading_minus(tmp_path):
    run("--out", str(tmp_path), "--source=-x1 + 2", "--no-figures")
    assert read(tmp_path)["config"]["source"] == "-x1 + 2"


def test_results_go_to_runs_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("--no-figures")
    assert read(tmp_path / "runs" / "toy")["problem"] == "toy"


def test_table_shows_undefined_values_as_dashes(tmp_path, capsys):
    def solve_with_table(config: Config) -> Result:
        table = [("", "ours", "paper"), ("relative L2", 1.23456e-8, 7.3e-4), ("steps", 30, None)]
        return Result(ks.MultKAN([1, 1]), {}, table=table)

    run("--out", str(tmp_path), problem=solve_with_table)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "                 ours    paper",
        "-----------  --------  -------",
        "relative L2  1.23e-08  0.00073",
        "steps              30        -",
    ]


def test_metrics_are_the_default_table(tmp_path, capsys):
    run("--out", str(tmp_path), "--no-figures")
    out = capsys.readouterr().out
    assert out.startswith("metric     value\n")
    assert "order          -\n" in out


def test_folder_that_cannot_be_written_is_refused_before_solving(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")

    def solve_never(config: Config) -> Result:
        raise AssertionError("solved although nothing can be filed")

    with pytest.raises(SystemExit) as stop:
        run("--out", str(blocked / "run"), problem=solve_never)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: expected a folder that can be written")
    assert error.count("\n") == 1


def test_kansci_error_is_one_line_and_status_2(tmp_path, capsys):
    def solve_badly(config: Config) -> Result:
        raise ks.errors.ConfigError("expected k >= 3, got 1")

    with pytest.raises(SystemExit) as stop:
        run("--out", str(tmp_path), problem=solve_badly)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: expected k >= 3, got 1\n"
    assert not list(tmp_path.iterdir())


def test_other_errors_are_not_hidden(tmp_path):
    def solve_wrongly(config: Config) -> Result:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run("--out", str(tmp_path), problem=solve_wrongly)


def test_failed_figure_leaves_the_record_and_nothing_unfinished(tmp_path):
    class Broken(Figure):
        def savefig(self, fname, **options):
            Path(fname).write_text("half")
            raise RuntimeError("no ink")

    def solve_and_draw_badly(config: Config) -> Result:
        return Result(ks.MultKAN([1, 1]), {"a": 1}, figures={"line": Broken})

    with pytest.raises(RuntimeError, match="no ink"):
        run("--out", str(tmp_path), problem=solve_and_draw_badly)
    assert read(tmp_path)["metrics"] == {"a": 1}
    assert not list((tmp_path / "figures").iterdir())


def test_unknown_flag_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        run("--no-such-flag", "1")
    assert stop.value.code == 2


def test_problems_are_listed_with_their_summary(capsys, tmp_path, monkeypatch):
    package = tmp_path / "pendulum"
    package.mkdir()
    (package / "__init__.py").write_text('"""Swings."""\n')
    monkeypatch.setattr("problems.__path__", [str(tmp_path)])
    list_problems()
    assert capsys.readouterr().out == "python -m problems.pendulum  Swings.\n"
