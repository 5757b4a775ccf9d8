from itertools import combinations
from math import comb, prod

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import BSpline
from torch import Tensor

from kansci.splines import (
    MAX_DEGREE,
    LocalBasis,
    domain_of,
    evaluate_basis,
    extend_grid,
    extended_table,
    general_basis,
    insertion_matrix,
    place_on,
    positions,
    table,
    uniform_basis,
    uniform_knots,
)
from tests import reference
from tests.helpers import TOLERANCE, assert_same
from tests.strategies import seeds

DEGREES = range(1, MAX_DEGREE + 1)
every_degree = pytest.mark.parametrize("k", DEGREES)
uniform_or_not = pytest.mark.parametrize("uniform", [True, False])


def random_knots(grid: int, k: int, seed: int, uniform: bool, n_in: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    steps = 0.1 + torch.rand(n_in, grid, generator=generator, dtype=torch.float64)
    low = torch.randn(n_in, 1, generator=generator, dtype=torch.float64)
    breaks = torch.cat([low, low + steps.cumsum(1)], 1)
    return uniform_knots(breaks[:, 0], breaks[:, -1], grid, k) if uniform else extend_grid(breaks, k)


def places(knots: Tensor, k: int, n: int = 48, stretch: float = 1.0) -> Tensor:
    """Points (in, n) over the domains, their ends included, stretched about their centers; no other knot."""
    low, high = domain_of(knots[..., None], k)
    share = 0.5 + stretch * torch.linspace(-0.5, 0.5, n, dtype=knots.dtype)
    return torch.lerp(low, high, share)


def dense(basis: LocalBasis, n_coef: int) -> Tensor:
    """All basis functions, (in, orders, coef, n)."""
    n_in, orders, size, n = basis.values.shape
    alive = basis.first[:, None] + torch.arange(size)[:, None]
    zeros = basis.values.new_zeros(n_in, orders, n_coef, n)
    return zeros.scatter(2, alive[:, None].expand_as(basis.values), basis.values)


def splines_of(coef: Tensor, basis: LocalBasis) -> Tensor:
    """Splines with the same coefficients on all knots, (in, orders, n)."""
    return torch.einsum("iopn,p->ion", dense(basis, len(coef)), coef)


@st.composite
def splines(draw: st.DrawFn, max_grid: int = 8) -> tuple[Tensor, int, bool]:
    """Knots, their degree, and whether they are equidistant."""
    k, grid, uniform = draw(st.sampled_from(DEGREES)), draw(st.integers(1, max_grid)), draw(st.booleans())
    return random_knots(grid, k, draw(seeds), uniform), k, uniform


def test_uniform_knots_extend_the_domain_by_k():
    knots = uniform_knots(torch.tensor([0.0, -1.0]), torch.tensor([1.0, 1.0]), 2, 1)
    assert knots.tolist() == [[-0.5, 0.0, 0.5, 1.0, 1.5], [-2.0, -1.0, 0.0, 1.0, 2.0]]


def test_extended_grids_repeat_their_end_intervals():
    assert extend_grid(torch.tensor([[0.0, 1.0, 4.0]]), 2).tolist() == [[-2, -1, 0, 1, 4, 7, 10]]


@given(splines())
def test_domain_is_the_grid_without_its_extension(spline):
    knots, k, uniform = spline
    low, high = domain_of(knots, k)
    grid = knots.shape[1] - 2 * k - 1
    again = uniform_knots(low, high, grid, k) if uniform else extend_grid(knots[:, k : k + grid + 1], k)
    assert_same(again, knots)


@given(splines())
def test_values_and_derivatives_agree_with_scipy(spline):
    knots, k, uniform = spline
    x = places(knots, k)[:, 1:-1]
    n_coef = knots.shape[1] - k - 1
    basis = dense(evaluate_basis(x, knots, k, 4, uniform=uniform), n_coef)
    for source, t in enumerate(knots.numpy()):
        for order in range(4):
            expected = BSpline(t, np.eye(n_coef), k)(x[source].numpy(), nu=order)
            assert_same(basis[source, order], torch.from_numpy(expected).T)


@every_degree
@uniform_or_not
def test_values_and_derivatives_agree_with_forty_digits(k, uniform):
    knots = random_knots(5, k, k, uniform, n_in=1)
    x = places(knots, k, n=5)[:, 1:-1]
    basis = dense(evaluate_basis(x, knots, k, 4, uniform=uniform), 5 + k)[0].permute(2, 0, 1)
    exact = reference.numbers(knots[0])
    if uniform:
        low, high = exact[k], exact[-k - 1]
        exact = [low + (high - low) * j / 5 for j in range(-k, 5 + k + 1)]
    for place, rows in zip(reference.numbers(x[0]), basis, strict=True):
        for order in range(min(k, 3) + 1):
            expected = [
                reference.mp.diff(lambda z, j=j: reference.basis(z, exact, k).get(j, 0), place, order)
                for j in range(5 + k)
            ]
            assert_same(rows[order], torch.tensor([float(value) for value in expected], dtype=torch.float64))


@every_degree
def test_one_interval_is_a_bezier_curve(k):
    """With the blossoms of the Bernstein polynomials as coefficients, grid=1 gives them back."""
    ends = torch.tensor([-1.0]).double(), torch.tensor([3.0]).double()
    knots = uniform_knots(*ends, 1, k)
    clamped = torch.cat([end.expand(1, k + 1) for end in ends], 1)
    x = places(knots, k, n=11)
    values = evaluate_basis(x, knots, k, 1, uniform=True).values[0, 0]
    u = (x + 1) / 4
    bernstein = torch.cat([comb(k, i) * u**i * (1 - u) ** (k - i) for i in range(k + 1)])
    matrix = insertion_matrix(clamped, knots, k)[0]
    assert_same(matrix.T @ values, bernstein, 1e-15 * matrix.abs().max().item())


@given(splines())
def test_functions_sum_to_one_everywhere(spline):
    knots, k, uniform = spline
    sums = evaluate_basis(places(knots, k, stretch=1.5), knots, k, 4, uniform=uniform).values.sum(2)
    assert_same(sums[:, 0], torch.ones_like(sums[:, 0]))
    scale = (1 / knots.diff(dim=1).amin(1, keepdim=True)) ** torch.arange(1, 4)
    assert (sums[:, 1:].abs() < 1e-12 * scale[..., None]).all()


@given(splines())
def test_polynomials_are_reproduced(spline):
    """Marsden: the coefficients of x^p are means of products of p of the knots t_{j+1}, ..., t_{j+k}."""
    knots, k, uniform = spline
    x = places(knots, k)
    basis = dense(evaluate_basis(x, knots, k, 1, uniform=uniform), knots.shape[1] - k - 1)[:, 0]
    for power in range(min(k, 4) + 1):
        windows = knots[:, 1:-1].unfold(1, k, 1)
        subsets = [prod(windows[..., j] for j in chosen) for chosen in combinations(range(k), power)]
        coef = sum(subsets) / comb(k, power) * torch.ones_like(windows[..., 0])
        assert_same(torch.einsum("ipn,ip->in", basis, coef), x**power, 1e-11)


@given(splines())
def test_continuation_is_linear_with_a_continuous_slope(spline):
    knots, k, uniform = spline
    coef = torch.linspace(-1, 2, knots.shape[1] - k - 1).double().sin()
    low, high = domain_of(knots, k)

    def curve(x: Tensor) -> Tensor:
        return splines_of(coef, evaluate_basis(x, knots, k, 4, uniform=uniform))

    for end, sign in ((low, -1), (high, 1)):
        at_end = curve(end[:, None])
        for distance in (1e-9, 0.1, 10.0):
            outside = curve(end[:, None] + sign * distance)
            moved = at_end[:, 0] + sign * distance * at_end[:, 1]
            torch.testing.assert_close(outside[:, 0], moved, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(outside[:, 1], at_end[:, 1], rtol=1e-12, atol=1e-12)
            assert (outside[:, 2:] == 0).all()


@given(splines())
def test_derivatives_by_autograd_are_the_closed_forms(spline):
    knots, k, uniform = spline
    coef = torch.linspace(-1, 2, knots.shape[1] - k - 1).double().cos()
    x = places(knots, k, n=21, stretch=1.4).requires_grad_()
    closed = splines_of(coef, evaluate_basis(x.detach(), knots, k, 3, uniform=uniform))
    plain = splines_of(coef, evaluate_basis(x, knots, k, 1, uniform=uniform))[:, 0]
    (slope,) = torch.autograd.grad(plain.sum(), x, create_graph=True)
    assert_same(plain.detach(), closed[:, 0])
    assert_same(slope.detach(), closed[:, 1])
    if k > 1:
        assert_same(torch.autograd.grad(slope.sum(), x)[0], closed[:, 2])


@given(splines())
def test_each_order_is_the_autograd_derivative_of_the_one_before(spline):
    knots, k, uniform = spline
    coef = torch.linspace(-1, 2, knots.shape[1] - k - 1).double().sin()
    x = places(knots, k, n=21)[:, 1:-1].requires_grad_()
    orders = splines_of(coef, evaluate_basis(x, knots, k, 4, uniform=uniform))
    for order in range(min(k, 3)):
        (found,) = torch.autograd.grad(orders[:, order].sum(), x, retain_graph=True)
        assert_same(found, orders[:, order + 1].detach())


@given(splines())
def test_both_ways_agree_on_equidistant_knots(spline):
    _, k, _ = spline
    knots = random_knots(spline[0].shape[1] - 2 * k - 1, k, seed=k, uniform=True)
    x = places(knots, k, stretch=1.4)
    fast, general = (evaluate_basis(x, knots, k, 4, uniform=uniform) for uniform in (True, False))
    for a, b in zip(*(dense(basis, knots.shape[1] - k - 1).unbind(1) for basis in (fast, general)), strict=True):
        assert_same(a, b)


@given(splines())
def test_points_are_placed_in_intervals_from_the_low_end(spline):
    knots, k, _ = spline
    grid = knots.shape[1] - 2 * k - 1
    low, high = domain_of(knots[..., None], k)
    x = places(knots, k, n=21, stretch=1.4)
    position = positions(x, knots, k)
    assert_same(low + position * (high - low) / grid, x)
    place = place_on(position, grid)
    assert ((place.inside >= 0) & (place.inside <= grid)).all()
    assert torch.equal(place.inside + place.outside, position)
    assert ((place.outside == 0) == ((position >= 0) & (position <= grid))).all()
    assert torch.equal(place.above, torch.where(position > grid, place.outside, 0.0))


@given(st.floats(-10, 10), st.floats(0.3, 10), st.integers(1, 50), st.sampled_from([torch.float64, torch.float32]))
def test_the_ends_of_the_grid_are_on_it(low, width, grid, dtype):
    """So that second derivatives at the boundary are those of the last piece."""
    ends = torch.tensor([low, low + width], dtype=dtype)
    knots = uniform_knots(ends[:1], ends[1:], grid, 3)
    assert positions(ends[None], knots, 3).tolist() == [[0, grid]]
    curved = torch.tensor([[1, 0], [-2, 1], [1, -2], [0, 1]]) * (grid / (ends[1] - ends[0])) ** 2
    assert_same(evaluate_basis(ends[None], knots, 3, 3, uniform=True).values[0, 2], curved)
    general = evaluate_basis(ends[None], knots, 3, 3, uniform=False).values[0, 2]
    assert_same(general, curved, 100 * grid * TOLERANCE[dtype])  # as rounded as the knots are


@given(splines())
def test_bases_are_differentiated_by_the_position(spline):
    """On the grid: outside, only the value and the slope are those of the continuation."""
    knots, k, uniform = spline
    grid = knots.shape[1] - 2 * k - 1
    coef = torch.linspace(-1, 2, grid + k).double().sin()
    position = torch.linspace(0.01, grid - 0.01, 20).double().expand(3, -1).contiguous().requires_grad_()
    place = place_on(position, grid)
    if uniform:
        basis = uniform_basis(place, grid, table(k, 4, torch.float64))
    else:
        basis = general_basis(place, positions(knots, knots, k), k, 4)
    orders = splines_of(coef, basis)
    for order in range(min(k, 3)):
        (found,) = torch.autograd.grad(orders[:, order].sum(), position, retain_graph=True)
        assert_same(found, orders[:, order + 1].detach())


@every_degree
@pytest.mark.parametrize("orders", [1, 2, 3, 4])
def test_extended_tables_hold_one_more_function(k, orders):
    """exp(s u - 1) of the position u, continued linearly, behind the splines of each order."""
    grid, scale = 4, 0.5
    low, high = torch.tensor([-1, scale * grid - 1], dtype=torch.float64).exp()
    place = place_on(torch.linspace(-1.5, 5.5, 29, dtype=torch.float64).expand(2, -1), grid)
    own = [(scale * place.inside - 1).exp()] * orders
    both = uniform_basis(place, grid, extended_table(k, orders, scale, (low.item(), high.item())), own)
    alone = uniform_basis(place, grid, table(k, orders, torch.float64))
    assert torch.equal(both.first, alone.first)
    assert_same(both.values[:, :, :-1], alone.values)
    ends = torch.where(place.above > 0, high, low)
    assert_same(both.values[:, 0, -1], own[0] + scale * ends * place.outside)
    for order in range(1, orders):
        assert_same(both.values[:, order, -1], scale**order * own[0])


@every_degree
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_tables_are_rounded_once(k, dtype):
    (constants, factors), (exact, other) = table(k, 3, dtype), table(k, 3, torch.float64)
    assert torch.equal(constants, exact.to(dtype))
    assert torch.equal(factors, other.to(dtype))
    assert constants.shape == (3 * (k + 1), 1)
    assert factors.shape == (3 * (k + 1), k + 2)


@given(splines())
def test_first_names_the_interval(spline):
    knots, k, uniform = spline
    grid = knots.shape[1] - 2 * k - 1
    middles = ((knots[:, :-1] + knots[:, 1:]) / 2)[:, k : k + grid]
    first = evaluate_basis(middles, knots, k, 1, uniform=uniform).first
    assert (first == torch.arange(grid)).all()


@every_degree
@uniform_or_not
def test_single_precision_keeps_its_digits(k, uniform):
    knots = random_knots(6, k, k, uniform).float()
    x = places(knots, k, stretch=1.2)
    single = evaluate_basis(x, knots, k, 3, uniform=uniform).values
    double = evaluate_basis(x.double(), knots.double(), k, 3, uniform=uniform).values
    for order in range(3):
        assert_same(single[:, order], double[:, order], 2 * TOLERANCE[torch.float32])


@every_degree
@uniform_or_not
@pytest.mark.parametrize("factor", [1, 2, 3, 7])
def test_knot_insertion_keeps_the_function_everywhere(k, uniform, factor):
    knots = random_knots(3, k, 10 * k + factor, uniform)
    if uniform:
        finer = uniform_knots(*domain_of(knots, k), 3 * factor, k)
    else:
        grid = knots[:, k : k + 4]
        share = torch.arange(factor, dtype=torch.float64) / factor
        inside = torch.lerp(grid[:, :-1, None], grid[:, 1:, None], share).flatten(1)
        finer = extend_grid(torch.cat([inside, grid[:, -1:]], 1), k)
    matrix = insertion_matrix(knots, finer, k)
    assert (matrix > -1e-11).all()  # new coefficients are averages of old ones: no digits are lost
    assert_same(matrix.sum(2), torch.ones_like(matrix[..., 0]))
    x = places(knots, k, stretch=1.4)
    coarse = dense(evaluate_basis(x, knots, k, 3, uniform=uniform), 3 + k)
    fine = dense(evaluate_basis(x, finer, k, 3, uniform=uniform), 3 * factor + k)
    for order in range(min(k, 2) + 1):
        assert_same(torch.einsum("ipn,ipq->iqn", fine[:, order], matrix), coarse[:, order])


def test_a_knot_can_be_inserted_anywhere():
    knots = random_knots(4, 3, 0, uniform=False, n_in=1)
    finer = torch.cat([knots, torch.lerp(knots[:, 4:5], knots[:, 5:6], 0.3)], 1).sort(1).values
    x = places(knots, 3)
    fine = dense(evaluate_basis(x, finer, 3, 1, uniform=False), 8)[0, 0]
    coarse = dense(evaluate_basis(x, knots, 3, 1, uniform=False), 7)[0, 0]
    assert_same(insertion_matrix(knots, finer, 3)[0].T @ fine, coarse)


def test_insertion_reads_insertion():
    """Doubling a cubic grid: the masks (1, 6, 1) / 8 and (4, 4) / 8 of Lane and Riesenfeld."""
    ends = torch.zeros(1).double(), torch.ones(1).double()
    matrix = insertion_matrix(uniform_knots(*ends, 4, 3), uniform_knots(*ends, 8, 3), 3)[0]
    torch.testing.assert_close(8 * matrix[4:6, 1:5], torch.tensor([[0, 4, 4, 0], [0, 1, 6, 1]]).double())


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@uniform_or_not
def test_what_is_not_finite_gives_nan_and_no_error(value, uniform):
    knots = random_knots(4, 3, 0, uniform)
    basis = evaluate_basis(torch.full((3, 2), value).double(), knots, 3, 3, uniform=uniform)
    assert basis.values[:, 0].isnan().any(1).all()
    assert ((basis.first >= 0) & (basis.first < 4)).all()
