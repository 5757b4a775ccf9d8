"""Broyden's family: the published updates, standard functions, and problems of `solve`."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from torch import Tensor

from kansci import MultKAN, Parameter, Residual, fit, solve
from kansci.solvers.normal import MOST_FLOOR
from kansci.solvers.quasi_newton import (
    START_DAMPING,
    DenseInverse,
    LimitedInverse,
    Point,
    Scaling,
    bfgs,
    minimize,
    self_scaled_bfgs,
    self_scaled_broyden,
)
from tests.helpers import assert_same
from tests.solvers.systems import jacobian_of, make, start
from tests.strategies import seeds

RULES = (bfgs, self_scaled_bfgs, self_scaled_broyden)
every_rule = pytest.mark.parametrize("rule", RULES)
quick = pytest.mark.usefixtures("unchecked")  # types are checked in the tests of the parts
METHODS = ("bfgs", "ssbfgs", "ssbroyden", "lbfgs")


def pair(size: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A positive definite H, a step, and a change of the gradient that makes an acute angle with it."""
    generator = torch.Generator().manual_seed(seed)
    root, other = (torch.randn(size, size, generator=generator, dtype=torch.float64) for _ in range(2))
    step = torch.randn(size, generator=generator, dtype=torch.float64)
    identity = torch.eye(size, dtype=torch.float64)
    return root @ root.T + 0.1 * identity, step, (other @ other.T + 0.1 * identity) @ step


@every_rule
def test_what_is_not_positive_any_more_is_forgotten(rule):
    inverse = DenseInverse(rule)
    inverse.matrix = -torch.eye(3, dtype=torch.float64)
    step = torch.ones(3, dtype=torch.float64)
    inverse.update(step, step, 1.0)
    assert inverse.matrix is None
    inverse.update(step, step, 1.0)
    assert_same(inverse.times(step), step)


@every_rule
@given(st.integers(2, 6), seeds)
def test_updates_are_the_published_ones(rule, size, seed):
    """B <- tau (B - B s s^T B / s^T B s + theta w w^T) + y y^T / y^T s, equation 2 of Al-Baali and Khalfan."""
    inverse, step, change = pair(size, seed)
    hessian = torch.linalg.inv(inverse)
    image, product = hessian @ step, step @ change
    b, h = float(step @ image / product), float(change @ inverse @ change / product)
    tau, phi = rule(size, b, h)
    a = b * h - 1
    theta = (1 - phi) / (1 + a * phi)
    w = (step @ image).sqrt() * (change / product - image / (step @ image))
    kept = hessian - torch.outer(image, image) / (step @ image) + theta * torch.outer(w, w)
    expected = tau * kept + torch.outer(change, change) / product
    known = DenseInverse(rule)
    known.matrix = inverse.clone()
    known.update(step, change, float(step @ image))
    assert_same(torch.linalg.inv(known.matrix), expected, 1e-7)
    assert_same(known.times(change), step, 1e-9)


@given(st.integers(2, 100), st.floats(0.01, 100), st.floats(1.001, 1e4))
def test_self_scaled_broyden_stays_within_the_published_interval(size, b, spread):
    """theta- <= theta <= theta+, and scaling never enlarges what is known: H stays positive definite."""
    h = spread / b
    a = b * h - 1
    tau, phi = self_scaled_broyden(size, b, h)
    theta = (1 - phi) / (1 + a * phi)
    rho = min(1.0, h * (1 - math.sqrt(a / (1 + a))))
    assert (rho - 1) / a - 1e-9 <= theta <= 1 / rho + 1e-9
    assert 1 + a * theta > 0
    assert 0 < tau <= min(1, 1 / b) * max(1.0, (1 + a * theta) ** (-1 / (size - 1))) + 1e-12


@every_rule
def test_updates_keep_the_matrix_symmetric_and_positive_definite(rule):
    known, generator = DenseInverse(rule), torch.Generator().manual_seed(0)
    hessian = torch.linalg.inv(pair(5, 0)[0])
    for _ in range(30):
        step, vector = torch.randn(2, 5, generator=generator, dtype=torch.float64)
        energy = float(step @ torch.linalg.solve(known.matrix, step)) if known.matrix is not None else 1.0
        known.update(step, hessian @ step, energy)
        assert known.matrix is not None
        assert torch.linalg.eigvalsh(known.matrix).min() > 0
        assert_same(known.times(vector), known.matrix @ vector)


@pytest.mark.parametrize("size", [33, 100])
def test_scaling_does_not_amplify_rounding(size):
    """An antisymmetric part of H would be divided by tau in each update, and nothing else would take it away."""
    generator, known = torch.Generator().manual_seed(0), DenseInverse(lambda size, b, h: Scaling(0.5, 1.0))
    for _ in range(100):
        step = torch.randn(size, generator=generator, dtype=torch.float64)
        known.update(step, step * torch.linspace(1, 2, size, dtype=torch.float64), 1.0)
    assert known.matrix is not None
    assert torch.equal(known.matrix, known.matrix.T)


@given(st.integers(1, 6), seeds)
def test_limited_memory_is_bfgs_from_a_scaled_identity(steps, seed):
    limited, pairs = LimitedInverse(10), [pair(7, seed + number)[1:] for number in range(steps)]
    for step, change in pairs:
        limited.update(step, change, 1.0)
    step, change = pairs[-1]
    full = DenseInverse(bfgs)
    full.matrix = torch.eye(7, dtype=torch.float64) * (step @ change) / (change @ change)
    for step, change in pairs:
        full.update(step, change, float(step @ torch.linalg.solve(full.matrix, step)))
    vector = torch.linspace(-1, 1, 7, dtype=torch.float64)
    assert_same(limited.times(vector), full.times(vector), 1e-9)


def test_limited_memory_forgets():
    limited = LimitedInverse(3)
    for number in range(10):
        limited.update(*pair(4, number)[1:], 1.0)
    assert len(limited.pairs) == 3


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def powell(x: Tensor) -> Tensor:
    return (x[0] + 10 * x[1]) ** 2 + 5 * (x[2] - x[3]) ** 2 + (x[1] - 2 * x[2]) ** 4 + 10 * (x[0] - x[3]) ** 4


def wood(x: Tensor) -> Tensor:
    a, b, c, d = x
    valleys = 100 * (b - a**2) ** 2 + (1 - a) ** 2 + 90 * (d - c**2) ** 2 + (1 - c) ** 2
    return valleys + 10.1 * ((1 - b) ** 2 + (1 - d) ** 2) + 19.8 * (1 - b) * (1 - d)


def beale(x: Tensor) -> Tensor:
    targets, powers = torch.tensor([1.5, 2.25, 2.625], dtype=x.dtype), torch.arange(1, 4)
    return (targets - x[0] * (1 - x[1] ** powers)).square().sum()


# More, Garbow, Hillstrom, ACM TOMS 7 (1981) 17: functions and standard starts.
STANDARD: dict[str, tuple[Callable[[Tensor], Tensor], list[float]]] = {
    "Rosenbrock": (rosenbrock, [-1.2, 1.0]),
    "Rosenbrock, 20": (rosenbrock, [-1.2, 1.0] * 10),
    "Powell singular": (powell, [3.0, -1.0, 0.0, 1.0]),
    "Wood": (wood, [-3.0, -1.0, -3.0, -1.0]),
    "Beale": (beale, [1.0, 1.0]),
}


def point(f: Callable[[Tensor], Tensor], x: Tensor) -> Point:
    leaf = x.detach().clone().requires_grad_()
    value = f(leaf)
    return Point(x, float(value.detach()), torch.autograd.grad(value, leaf)[0])


@pytest.mark.parametrize("gradient", [1e-5, 1e-8])
@pytest.mark.parametrize("rule", [bfgs, self_scaled_broyden])
@pytest.mark.parametrize("name", STANDARD)
def test_no_more_iterations_than_scipy(name, rule, gradient):
    f, start = STANDARD[name]
    theirs = optimize.minimize(
        lambda x: point(f, torch.tensor(x)).value,
        np.array(start),
        jac=lambda x: point(f, torch.tensor(x)).gradient.numpy(),
        method="BFGS",
        options={"gtol": gradient, "maxiter": 1000},
    )
    first = point(f, torch.tensor(start, dtype=torch.float64))
    found, steps = minimize(
        lambda x: point(f, x), first, DenseInverse(rule), 1000, lambda at: at.gradient.abs().max() < gradient
    )
    assert found.gradient.abs().max() < gradient
    assert found.value < 1e-7
    assert steps <= theirs.nit


def exponential() -> tuple[MultKAN, list[Residual]]:
    """u' = u, u(0) = 1."""
    x = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None]
    ode = Residual(lambda jet, x: jet.gradient[:, 0, 0] - jet.value[:, 0], x, needs="gradient", name="ode")
    return MultKAN([1, 1], domain=(0, 1)), [ode, Residual(lambda jet, x: jet.value[:, 0] - 1, x[:1], name="start")]


@quick
@pytest.mark.parametrize("method", METHODS)
def test_problems_are_solved(method):
    model, terms = exponential()
    solution = solve(model, terms, method=method, steps=500, progress=False)
    end = solution.model(torch.ones(1, 1, dtype=torch.float64)).item()
    assert end == pytest.approx(math.e, abs=2e-4)
    assert (np.diff(solution.history.loss) < 0).all()
    assert set(solution.history.terms) == {"ode", "start"}


@quick
@pytest.mark.parametrize("method", METHODS)
def test_free_scalars_and_stages(method):
    model, _ = exponential()
    found = solve(model, growth(), method=method, steps=120, grids=[5, 10], parameters={"rate": 0.1}, progress=False)
    assert found.parameters["rate"].value == pytest.approx(0.7, abs=5e-3)
    assert set(found.history.stage) == {0, 1}


@quick
def test_hidden_grids_follow():
    """A start on a plateau: activations must leave their first domain."""
    x = torch.linspace(-1, 1, 60, dtype=torch.float64)[:, None]
    solution = fit(MultKAN([1, 1, 1], seed=1), (x, 5 * torch.sin(4 * x)), method="bfgs", steps=200, progress=False)
    layer = solution.model.layers[1].splines
    hidden = solution.model.layers[0](x.T)
    low, high = layer.domain
    assert ((hidden >= low) & (hidden <= high)).all()


def growth() -> list[Residual]:
    """u' = rate u, and data of exp(0.7 x)."""
    x = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None]
    ode = Residual(lambda jet, x, p: jet.gradient[:, 0, 0] - p["rate"] * jet.value[:, 0], x, needs="gradient")
    return [ode, Residual(lambda jet, x, y, p: jet.value - y, x, targets=(0.7 * x).exp(), weight=10.0)]


@quick
@pytest.mark.parametrize("method", ["bfgs", pytest.param("lbfgs", marks=pytest.mark.slow)])
def test_bounds_hold(method):
    """A bound that stops a scalar, one that lets it go from where it starts, and one that is never met."""
    model, _ = exponential()
    stops, lets_go, far = Parameter(0.1, high=0.5), Parameter(0.1, low=0.1), Parameter(0.1, high=2.0)
    options = {"method": method, "steps": 60, "progress": False}
    stopped = solve(model, growth(), parameters={"rate": stops}, **options)
    best = solve(model, growth(), parameters={"rate": stops}, progress=False)
    assert stopped.parameters["rate"].value == best.parameters["rate"].value == 0.5
    assert stopped.loss == pytest.approx(best.loss, rel=1e-2)
    for free in (lets_go, far):
        found = solve(model, growth(), parameters={"rate": free}, **options)
        assert found.parameters["rate"].value == pytest.approx(0.7, abs=5e-3)


@quick
def test_linear_problems_take_one_step():
    """Also, their solution is known to be one."""
    x = torch.linspace(-1, 1, 50, dtype=torch.float64)[:, None]
    line = Residual(lambda jet, x, y: jet.value - y, x, targets=x.exp() + 0.1 * (40 * x).sin())
    found = solve(MultKAN([1, 1]), line, method="bfgs", steps=200, progress=False)
    best = solve(MultKAN([1, 1]), line, progress=False)
    assert found.status == "converged"
    assert found.history.loss[0] == pytest.approx(min(best.history.loss), rel=1e-3)


@pytest.mark.parametrize("new", [lambda: DenseInverse(bfgs), LimitedInverse])
@pytest.mark.parametrize("memory", [1e9, 1.0])
def test_the_first_inverse_is_that_of_gauss_and_newton(new, memory):
    """Damped; of the whole matrix or, where memory does not allow it, of its diagonal."""
    x = torch.linspace(0.1, 0.9, 12, dtype=torch.float64)[:, None]
    system = make([Residual(lambda jet, x: jet.value.sin(), x)], MultKAN([1, 2, 1], grid=2))
    at = start(system)
    jacobian = jacobian_of(system, at)
    hessian = 2 * jacobian.T @ jacobian
    diagonal = hessian.diagonal()
    damped = hessian + START_DAMPING * torch.diag(diagonal + MOST_FLOOR * diagonal.max())
    known = new()
    known.begin(system, at, memory)
    vector = torch.linspace(1, 2, system.size, dtype=torch.float64)
    if isinstance(known, DenseInverse) and memory > 1:
        assert_same(known.times(damped @ vector), vector, 1e-10)
    else:
        assert_same(1 / known.times(torch.ones_like(vector)), damped.diagonal(), 1e-14)


def test_a_start_that_is_not_finite_diverges():
    model, _ = exponential()
    with torch.no_grad():
        model.layers[0].node_bias.fill_(1e200)
    x = torch.zeros(3, 1, dtype=torch.float64)
    found = solve(model, Residual(lambda jet, x: jet.value.square(), x), method="lbfgs", progress=False)
    assert found.status == "diverged"
