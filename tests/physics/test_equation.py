import pytest
import torch

from kansci.errors import FormulaError, KansciError
from kansci.jets import jet
from kansci.nn.multkan import MultKAN
from kansci.physics.equation import Equation
from kansci.solvers.residual import Residual
from kansci.solvers.solve import solve

X = torch.rand(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("text", "needs"),
    [("u - t", "value"), ("u_t = u", "gradient"), ("u_xx = t*u", "diagonal"), ("u_tx + u_x = 0", "hessian")],
)
def test_no_more_derivatives_than_needed(text, needs):
    assert Equation(text, ["t", "x"]).needs == needs


def test_mixed_derivatives_in_any_order():
    found = [Equation(f"u_{name} - 2*x", ["t", "x"]).at(X) for name in ("tx", "xt")]
    jets = jet(lambda x: x[..., 0] * x[..., 1] ** 2, X, "hessian")
    for term in found:
        assert term([jets]).abs().max() < 1e-13


def test_systems_have_a_column_for_each_equation():
    system = Equation("u_t = v_x; v_t = u_x", ["t", "x"], ["u", "v"])
    jets = jet(lambda x: torch.stack([(x[..., 1] + x[..., 0]).sin(), (x[..., 1] + x[..., 0]).sin()], -1), X, "gradient")
    residual = system.at(X)([jets])
    assert residual.shape == (20, 2)
    assert residual.abs().max() < 1e-13
    assert system.orders("t") == [1, 1]
    assert system.residual_orders("x") == [1, 1]


@pytest.mark.slow
def test_parameters_are_found():
    decay = Equation("u_t = -rate*u", ["t"], parameters=["rate"])
    t = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None]
    data = Residual(lambda jet, x, y, parameters: jet.value[:, 0] - y, t, targets=(-3 * t[:, 0]).exp())
    found = solve(
        MultKAN([1, 1], k=5, domain=(0, 1), base="zero"), [decay.at(t), data], parameters={"rate": 1.0}, progress=False
    )
    assert abs(found.parameters["rate"].value - 3) < 1e-3


@pytest.mark.parametrize("text", ["u_t = u_xxx", "x = t", "u_t = w", "u_t = u = 0", "__import__('os')", ""])
def test_what_is_no_equation(text):
    with pytest.raises(FormulaError):
        Equation(text, ["t", "x"])


def test_names_that_cannot_be_told_apart():
    with pytest.raises(KansciError, match="different names"):
        Equation("u_t = u", ["t", "u"])
