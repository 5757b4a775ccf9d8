from dataclasses import replace
from typing import Any

import pytest
import torch

from kansci.errors import ConfigError, DataError, KansciError, ShapeError
from kansci.jets import jet
from kansci.nn.multkan import MultKAN
from kansci.physics.domains import Ball, Box
from kansci.physics.pde import dirichlet, heat, helmholtz, neumann, periodic, poisson, robin

PI = torch.pi
SQUARE = Box([(-1.0, 1.0), (0.0, 1.0)])
INSIDE = SQUARE.interior(40)
EDGE = (SQUARE - Ball((0.0, 0.5), 0.3)).boundary(40)


def u(x):
    """exp(-x) cos 3y + x y^2."""
    return (-x[..., 0]).exp() * (3 * x[..., 1]).cos() + x[..., 0] * x[..., 1] ** 2


def gradient(x):
    decay, phase = (-x[:, 0]).exp(), 3 * x[:, 1]
    return torch.stack([-decay * phase.cos() + x[:, 1] ** 2, -3 * decay * phase.sin() + 2 * x[:, 0] * x[:, 1]], dim=1)


def laplacian(x):
    return -8 * (-x[:, 0]).exp() * (3 * x[:, 1]).cos() + 2 * x[:, 0]


def residual(term, function=u):
    """The term on a function known in closed form."""
    return term([jet(function, points, term.needs) for points in term.point_sets])


FLUX = (gradient(EDGE.points) * EDGE.normals).sum(1)
TERMS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "poisson": (poisson, (INSIDE, lambda x: -laplacian(x))),
    "helmholtz": (helmholtz, (INSIDE, lambda x: -laplacian(x) - u(x))),
    "dirichlet": (dirichlet, (EDGE.points, u)),
    "neumann": (neumann, (EDGE.points, EDGE.normals, FLUX)),
    "robin": (robin, (EDGE.points, EDGE.normals, 2.0, 3.0, 2 * u(EDGE.points) + 3 * FLUX)),
}
every_term = pytest.mark.parametrize(("build", "arguments"), TERMS.values(), ids=TERMS.keys())


@every_term
def test_the_exact_solution_leaves_no_residual(build, arguments):
    term = build(*arguments)
    rows = residual(term)
    assert rows.shape == (40, 1)
    assert rows.abs().max() < 1e-12


@every_term
def test_another_function_leaves_a_residual(build, arguments):
    assert residual(build(*arguments), lambda x: 1.1 * u(x)).abs().max() > 0.1


@every_term
def test_numbers_tensors_columns_and_functions_mean_the_same(build, arguments):
    *others, last = arguments
    values = last if isinstance(last, torch.Tensor) else last(others[0])
    expected = residual(build(*arguments), torch.sin)
    column = values[:, None]
    for same in (values, column, lambda x: values, lambda x: column):
        torch.testing.assert_close(residual(build(*others, same), torch.sin), expected)
    constant = residual(build(*others, 0.5), torch.sin)
    for same in (torch.tensor(0.5), torch.full((40,), 0.5), lambda x: 0.5):
        torch.testing.assert_close(residual(build(*others, same), torch.sin), constant)


def test_signs():
    """-laplacian(x^2 + y^2) = -4, and the normal points outward."""

    def square(x):
        return x.square().sum(-1)

    assert residual(poisson(INSIDE, -4.0), square).abs().max() < 1e-12
    torch.testing.assert_close(residual(poisson(INSIDE), square), torch.full((40, 1), -4.0).double())
    sphere = Ball((0.0, 0.0, 0.0), 2.0).boundary(30)
    slope = residual(neumann(sphere.points, sphere.normals), square)
    torch.testing.assert_close(slope, torch.full((30, 1), 4.0).double())


def test_helmholtz_and_robin_coefficients_may_vary():
    k, (a, b) = INSIDE[:, 0] + 2, (EDGE.points + 3).T
    term = helmholtz(INSIDE, -laplacian(INSIDE) - k**2 * u(INSIDE), wavenumber=lambda x: x[:, 0] + 2)
    assert residual(term).abs().max() < 1e-12
    term = robin(EDGE.points, EDGE.normals, a, b, a * u(EDGE.points) + b * FLUX)
    assert residual(term).abs().max() < 1e-12


@pytest.mark.parametrize("time", [-1, 2, 0])
def test_heat_kernel_modes_decay(time):
    """exp(-2 alpha pi^2 t) sin(pi x) sin(pi y), the time in any column."""
    points = Box([(0.0, 1.0)] * 3).interior(30)
    space = [axis for axis in range(3) if axis != time % 3]

    def mode(x):
        return (-2 * 0.3 * PI**2 * x[..., time]).exp() * (PI * x[..., space]).sin().prod(-1)

    assert residual(heat(points, diffusivity=0.3, time=time), mode).abs().max() < 1e-12
    assert residual(heat(points, diffusivity=0.2, time=time), mode).abs().max() > 0.1
    forced = heat(points, mode, diffusivity=lambda x: 0.3 + 0 * x[:, 0], time=time)
    torch.testing.assert_close(residual(forced, mode)[:, 0], -mode(points))


@pytest.mark.parametrize("axis", [0, 1])
def test_periodic_functions_satisfy_periodicity_and_others_do_not(axis):
    low, high = SQUARE.periodic_pairs(axis, 20, "uniform")

    def wave(x):
        return (2 * PI * x[..., axis] + 0.3).sin() * x[..., 1 - axis].exp()

    both = residual(periodic(low, high), wave)
    assert both.shape == (20, 2)
    assert both.abs().max() < 1e-12
    assert residual(periodic(low, high, derivatives=False), wave).shape == (20, 1)
    period = (high - low)[0, axis].item()
    rows = residual(periodic(low, high), lambda x: x[..., axis] * (1 + x[..., 1 - axis]))
    torch.testing.assert_close(rows[:, 0], period * (1 + low[:, 1 - axis]))
    assert rows[:, 1].abs().max() < 1e-12
    rows = residual(periodic(low, high), lambda x: (x[..., axis] - low[0, axis]) * (x[..., axis] - high[0, axis]))
    assert rows[:, 0].abs().max() < 1e-12
    torch.testing.assert_close(rows[:, 1], torch.full((20,), 2 * period).double())


def test_terms_of_functions_move_to_fresh_points():
    fresh = SQUARE.interior(25, seed=7)
    moved = replace(poisson(INSIDE, lambda x: -laplacian(x)), points=fresh)
    assert residual(moved).shape == (25, 1)
    assert residual(moved).abs().max() < 1e-12
    low, high = SQUARE.periodic_pairs(0, 10, seed=7)
    moved = replace(periodic(*SQUARE.periodic_pairs(0, 20)), points=(low, high))
    assert residual(moved, lambda x: (PI * x[..., 0]).cos()).abs().max() < 1e-12
    disk = Ball((0.0, 0.0), 2.0)
    term = neumann(disk.boundary(10).points, lambda x: x / 2, lambda x: (x / 2 * gradient(x)).sum(1))
    assert residual(replace(term, points=disk.boundary(33, seed=3).points)).abs().max() < 1e-12


def test_tensors_follow_their_points_into_batches():
    term = robin(EDGE.points, EDGE.normals, 2.0, 3.0, 2 * u(EDGE.points) + 3 * FLUX)
    rows = torch.tensor([3, 39, 7])
    batch = replace(term, points=EDGE.points[rows], targets=tuple(t[rows] for t in term.target_sets))
    assert residual(batch).abs().max() < 1e-12


def test_output_selects_a_column():
    def two(x):
        return torch.stack([x[..., 0], u(x)], dim=-1)

    for output in (1, -1):
        term = poisson(INSIDE, lambda x: -laplacian(x), output=output)
        assert residual(term, two).abs().max() < 1e-12
    with pytest.raises(ConfigError, match="output from 0 to 1"):
        residual(dirichlet(INSIDE, output=2), two)


def test_weights_names_and_levels_are_passed_on():
    weight = torch.linspace(0, 1, 40)
    term = neumann(EDGE.points, EDGE.normals, weight=weight, name="wall")
    assert (term.needs, term.name) == ("gradient", "wall")
    assert term.weight is weight
    assert [build(*arguments).name for build, arguments in TERMS.values()] == list(TERMS)


def test_parameters_of_the_problem_do_no_harm():
    term = dirichlet(EDGE.points, u(EDGE.points))
    rows = term([jet(u, EDGE.points, "value")], {"mu": torch.tensor(1.0)})
    assert rows.abs().max() < 1e-12


def test_a_model_gives_the_same_residual_as_automatic_differentiation():
    model = MultKAN([2, 3, 1], k=4, domain=list(SQUARE.bounds))
    terms = [poisson(INSIDE, 1.0), neumann(EDGE.points, EDGE.normals), periodic(*SQUARE.periodic_pairs(0, 9))]
    for term in terms:
        closed = term([model.jet(points, term.needs) for points in term.point_sets])
        torch.testing.assert_close(closed, residual(term, model.forward), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: poisson(INSIDE, torch.zeros(39)), ShapeError, "equal length"),
        (lambda: poisson(INSIDE, torch.zeros(40, 2)), ShapeError, r"source of shape \(40,\)"),
        (lambda: poisson(INSIDE, lambda x: x), ShapeError, r"source of shape \(40,\), .* got \(40, 2\)"),
        (lambda: dirichlet(INSIDE, lambda x: x[:, 0] / 0), DataError, "values.*rows"),
        (lambda: dirichlet(INSIDE, torch.full((40,), torch.nan)), DataError, "targets"),
        (lambda: dirichlet(INSIDE, float("nan")), ConfigError, "finite values"),
        (lambda: neumann(EDGE.points, 2 * EDGE.normals), ConfigError, "length 1"),
        (lambda: neumann(EDGE.points, 1.0), ShapeError, r"normals of shape \(40, 2\)"),
        (lambda: neumann(EDGE.points, EDGE.normals[:, 0]), ShapeError, r"normals of shape \(40, 2\)"),
        (lambda: heat(INSIDE, time=2), ConfigError, "column from -2 to 1"),
        (lambda: periodic(INSIDE, INSIDE), ConfigError, "periodic_pairs"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert isinstance(caught.value, KansciError)
