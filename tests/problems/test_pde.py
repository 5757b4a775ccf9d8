import json

import pytest
import torch

from kansci.errors import ConfigError, FormulaError
from problems.pde.config import Config
from problems.pde.physics import CASES, read_case
from problems.pde.references import allen_cahn, burgers, holes
from problems.pde.solve import solve
from problems.runner import main


@pytest.mark.parametrize("name", ["diffusion", "helmholtz", "heat", "wave", "inverse"])
def test_exact_solutions_solve_their_equations(name):
    from kansci.jets import jet
    from kansci.physics.equation import Equation

    case = CASES[name]
    text = case.equation
    for (constant, _), value in zip(case.constants, case.truth, strict=True):
        text = text.replace(constant, str(value))
    equation = Equation(text, case.names, case.unknowns)
    low, high = torch.tensor(case.box, dtype=torch.float64).unbind(1)
    x = low + (high - low) * torch.rand(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert equation.at(x)([jet(case.functions(case.exact)[0], x, equation.needs)]).abs().max() < 1e-9


def test_burgers_reference_begins_and_ends_as_it_should():
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)
    start = burgers(0.1)(torch.stack([torch.zeros_like(x), x], 1))
    torch.testing.assert_close(start, -(torch.pi * x).sin(), rtol=0, atol=1e-12)
    walls = burgers(0.1)(torch.tensor([[0.5, -1.0], [0.5, 0.0], [0.5, 1.0]], dtype=torch.float64))
    assert walls.abs().max() < 1e-12


def test_the_reference_of_holes_is_harmonic_with_its_values():
    from kansci.physics import domains

    case = CASES["holes"]
    solution = holes(case)
    for a, b, radius in case.holes:
        ring = domains.Ball((a, b), radius).boundary(37).points
        assert solution(ring).abs().max() < 1e-8
    wall = domains.Box(case.box).boundary(50).points
    assert (solution(wall) - 1).abs().max() < 1e-8


@pytest.mark.slow
def test_allen_cahn_references_agree_where_walls_are_far():
    """With little diffusion walls do not matter in the middle."""
    x = torch.linspace(-0.5, 0.5, 21, dtype=torch.float64)
    points = torch.stack([torch.ones_like(x), x], 1)
    one, other = (allen_cahn(1e-3, periodic=periodic)(points) for periodic in (True, False))
    assert (one - other).abs().max() < 1e-6


@pytest.mark.slow
def test_a_system_typed_on_the_command_line(tmp_path):
    flags = ["--equation", "u_t = v; v_t = -u", "--unknowns", "u,v", "--initial", "1 + 0*x; 0", "--walls", "slopes"]
    main(Config, solve, arguments=["--case", "custom", *flags, "--no-figures", "--out", str(tmp_path)])
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["metrics"]["converged"]
    assert record["metrics"]["error_estimate"] < 1e-5


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({}, ConfigError, "--equation"),
        ({"equation": "u_t = u_xx", "box": (0.0, 1.0)}, ConfigError, "--box"),
        ({"equation": "u_t = u_xx", "holes": (0.0, 1.0)}, ConfigError, "center and radius"),
        ({"equation": "u_t = kappa*u_xx", "constants": ("kappa=x",)}, ConfigError, "kappa=0.5"),
        ({"equation": "u_t = u_xxx"}, FormulaError, "u_xxx"),
        ({"equation": "u_t = kappa*u_xx", "constants": ("kappa=1",)}, ConfigError, "--data"),
        ({"equation": "u_xx + u_yy = 0", "names": "x,y", "walls": "slopes"}, ConfigError, "--walls values"),
    ],
)
def test_what_cannot_be_solved(changes, error, message):
    with pytest.raises(error, match=message):
        solve(Config(case="custom", **changes))


def test_the_case_follows_the_diffusivity():
    assert read_case(Config(case="allen_cahn")).walls == "values"
    assert read_case(Config(case="allen_cahn", diffusivity=1e-4)).walls == "periodic"
