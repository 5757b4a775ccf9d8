import json
import math
from itertools import pairwise

import pytest
import torch
from torch.func import hessian, vmap

import kansci as ks
from kansci.errors import ConfigError, FormulaError
from kansci.physics.extremes import extreme_points
from problems.poisson.collocation import (
    count_parameters,
    evaluation_points,
    make_terms,
    measure_errors,
)
from problems.poisson.config import Config
from problems.poisson.networks import choose_network, count_weights, limit_parameters
from problems.poisson.physics import CASES, Case, compile_fields
from problems.poisson.solve import solve
from problems.runner import main

every_case = pytest.mark.parametrize("name", CASES)
TINY = ("--k", "3", "--grids", "2", "--steps", "2", "--interior", "60", "--walls", "24", "--no-figures")


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


class Exact(torch.nn.Module):
    """The exact solution in the place of a model."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.field = compile_fields(case).exact

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.field is not None
        return self.field(x)[..., None]


def run(folder, *arguments: str) -> dict:
    main(Config, solve, arguments=["--out", str(folder), *arguments])
    return json.loads((folder / "result.json").read_text())


@every_case
def test_sources_are_minus_the_laplacian_of_the_exact_solutions(name):
    case = CASES[name]
    fields, x = compile_fields(case), evaluation_points(case)[::601]
    assert fields.exact is not None
    laplacian = ks.jet(fields.exact, x, "laplacian").laplacian[:, 0]
    torch.testing.assert_close(fields.source(x), -laplacian, rtol=1e-12, atol=1e-10)
    traces = vmap(hessian(fields.exact))(x).diagonal(dim1=1, dim2=2).sum(1)
    torch.testing.assert_close(fields.source(x), -traces, rtol=1e-12, atol=1e-10)


@every_case
def test_the_exact_solution_leaves_no_residual(name):
    case = CASES[name]
    for term in make_terms(Config(), case, compile_fields(case), seed=0):
        (points,) = term.point_sets
        assert term([ks.jet(Exact(case), points, term.needs)]).abs().max() < 1e-10


@every_case
def test_the_exact_solution_has_no_error(name):
    case = CASES[name]
    metrics = measure_errors(Exact(case), case, compile_fields(case))
    assert metrics == {"relative_l2": 0, "l2_squared": 0, "h1_squared": 0, "rmse": 0}


def test_errors_have_their_definitions():
    """u + 0.1 x y on the unit square: mean of (xy)^2 = 1/9, of |grad|^2 = 2/3, of u^2 = 1/4."""

    class Wrong(Exact):
        def forward(self, x):
            return super().forward(x) + 0.1 * x.prod(-1, keepdim=True)

    case = CASES["unit_square"]
    metrics = measure_errors(Wrong(case), case, compile_fields(case))
    assert metrics["l2_squared"] == pytest.approx(0.01 / 9, rel=0.02)
    assert metrics["h1_squared"] == pytest.approx(0.01 * 2 / 3, rel=0.02)
    assert metrics["rmse"] == pytest.approx(0.1 / 3, rel=0.02)
    assert metrics["relative_l2"] == pytest.approx(0.2 / 3, rel=0.02)


def test_the_papers_solution_is_the_papers():
    fields = compile_fields(CASES["paper"])
    x = torch.tensor([[0.5, math.sqrt(0.5)], [1.0, 0.3], [-0.5, 0.0]], dtype=torch.float64)
    assert fields.exact is not None
    assert fields.exact(x).tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-15)
    assert CASES["unit_square"].interior == 900
    assert CASES["unit_square"].walls == 120


def test_rotated_is_the_paper_in_turned_coordinates():
    paper, rotated = (compile_fields(CASES[name]) for name in ("paper", "rotated"))
    x = evaluation_points(CASES["paper"])[::777]
    c, s = math.cos(0.5), math.sin(0.5)
    turned = torch.stack([c * x[:, 0] + s * x[:, 1], c * x[:, 1] - s * x[:, 0]], 1)
    assert paper.exact is not None
    assert rotated.exact is not None
    torch.testing.assert_close(rotated.exact(x), paper.exact(turned), rtol=0, atol=1e-13)


def test_extreme_points_take_the_places_of_others():
    case, config = CASES["unit_square"], Config(case="unit_square")
    fields = compile_fields(case)
    model = ks.MultKAN([2, 5, 1], domain=case.box)
    before, after = make_terms(config, case, fields, seed=0), make_terms(config, case, fields, seed=0, reach=model)
    assert [term.size for term in after] == [term.size for term in before] == [900, 120]
    assert torch.equal(after[0].point_sets[0][10:], before[0].point_sets[0][10:])
    assert torch.equal(after[0].point_sets[0][:10], extreme_points(model, case.box))


@every_case
def test_the_chosen_network_keeps_to_the_limits(name):
    case = CASES[name]
    width, grids = choose_network(case, 9)
    assert width[0] == case.dimension
    assert width[-1] == 1
    assert len(width) == 3
    assert width[1] >= 2
    assert all(b % a == 0 for a, b in pairwise(grids))
    model = ks.MultKAN(list(width), grid=grids[-1], k=9)
    assert count_parameters(model) <= case.parameter_limit
    assert 2 * count_parameters(model) <= case.interior + case.walls


@every_case
def test_the_chosen_lan_keeps_to_the_limits(name):
    case = CASES[name]
    width, grids = choose_network(case, 9, "lan")
    found = [count_parameters(ks.LAN([width[0], nodes, 1], grid=grids[-1], k=9)) for nodes in (width[1], width[1] + 1)]
    limit = limit_parameters(case)
    assert found[0] <= limit < found[1]
    assert found[0] == count_weights("lan", width, grids[-1], 9)


def test_a_lan_leaves_the_same_record(tmp_path):
    record = run(tmp_path, "--network", "lan", "--width", "2", "4", "1", *TINY)
    assert record["metrics"]["parameters"] == 4 * 3 + 4 * (2 + 3 + 1) + 5
    assert record["metrics"]["error_estimate"] > 0
    assert isinstance(ks.load(tmp_path / "model.h5"), ks.LAN)


def test_fewer_points_allow_fewer_parameters():
    sizes = []
    for interior in (100, 300, 1600):
        case = Case(CASES["paper"].box, interior=interior, walls=interior // 5)
        width, grids = choose_network(case, 5)
        sizes.append(count_parameters(ks.MultKAN(list(width), grid=grids[-1], k=5)))
    assert sizes[0] < sizes[1] < sizes[2]


@every_case
def test_every_case_leaves_its_record(name, tmp_path):
    record = run(tmp_path, "--case", name, "--seed", "1", *TINY)
    assert (record["problem"], record["case"], record["config"]["seed"]) == ("poisson", name, 1)
    names = ["relative_l2", "l2_squared", "h1_squared", "rmse", "error_estimate", "loss", "parameters", "steps"]
    assert list(record["metrics"]) == [*names, "seconds"]
    assert all(isinstance(value, int | float) and value > 0 for value in record["metrics"].values())
    assert record["metrics"]["relative_l2"] < 2
    assert ks.load(tmp_path / "model.h5").n_inputs == CASES[name].dimension


CUSTOM = ("--case", "custom", "--box", "0", "1", "-1", "0.5", "--width", "2", "3", "1", *TINY)


def test_custom_problems_by_their_exact_solution(tmp_path):
    record = run(tmp_path, *CUSTOM, "--exact", "x*y + 1", "--steps", "20")
    assert record["metrics"]["relative_l2"] < 1e-2


def test_custom_problems_by_source_and_boundary_values(tmp_path):
    """u = x^2 - y: -laplacian(u) = -2."""
    record = run(tmp_path, *CUSTOM, "--source=-2", "--boundary-values", "x**2 - y", "--steps", "20")
    assert record["metrics"]["relative_l2"] is None
    x = torch.tensor([[0.3, 0.2], [0.8, -0.7], [0.1, 0.5]], dtype=torch.float64)
    found = ks.load(tmp_path / "model.h5")(x)[:, 0]
    assert (found - x[:, 0] ** 2 + x[:, 1]).abs().max() < 0.03


def test_boundary_values_can_be_exact(tmp_path):
    record = run(tmp_path, *CUSTOM, "--exact", "sin(x)*y + 2", "--condition", "exact", "--steps", "5")
    assert record["metrics"]["relative_l2"] < 1e-2
    x = torch.tensor([[0.0, 0.2], [1.0, -0.3], [0.4, -1.0], [0.7, 0.5]], dtype=torch.float64)
    found = ks.load(tmp_path / "model.h5")(x)[:, 0]
    assert (found - x[:, 0].sin() * x[:, 1] - 2).abs().max() < 1e-12


def test_pictures_are_drawn(tmp_path):
    main(Config, solve, arguments=["--out", str(tmp_path), *TINY[:-1]])
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {
        f"{name}.{kind}" for name in ("solution", "error", "history", "network") for kind in ("svg", "png")
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--case", "custom", "--exact", "sin(x) + z"), "z"),
        (("--case", "custom", "--exact", "sin(x"), "sin(x"),
        (("--case", "custom", "--source", "1"), "--boundary"),
        (("--case", "custom", "--exact", "x", "--box", "0", "1", "0"), "--box"),
        (("--case", "custom", "--exact", "x", "--box", "1", "0", "0", "1"), "expected"),
        (("--exact", "x"), "--case custom"),
        (("--method", "newton"), "method"),
        (("--network", "lan", "--condition", "exact"), "--condition weak"),
        (("--network", "lan", "--study", "scaling"), "--network kan"),
        (("--grids", "4", "6"), "grids"),
    ],
)
def test_what_cannot_be_solved_is_a_short_message_and_status_2(arguments, words, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(tmp_path, *arguments)
    assert stop.value.code == 2
    message, *place = capsys.readouterr().err.splitlines()
    assert message.startswith("error: ")
    assert words in "".join([message, *place])
    assert len(place) == (2 if "sin(" in arguments[-1] else 0)  # the formula, and a mark below it
    assert not (tmp_path / "result.json").exists()


def test_incomplete_problems_are_refused():
    with pytest.raises(FormulaError, match="exact solution, or both"):
        compile_fields(Case(CASES["paper"].box, source="1"))
    with pytest.raises(ConfigError, match="formulas only with --case custom"):
        solve(Config(source="1"))
