import math

import pytest
import sympy
import torch
from torch import Tensor

from kansci.errors import ConfigError, DataError, FormulaError, ShapeError
from kansci.nn.multkan import MultKAN
from kansci.solvers.fit import fit
from kansci.symbolic.additive import AdditiveModel
from kansci.symbolic.candidates import Candidate, candidate_features
from kansci.symbolic.evaluate import torch_function
from kansci.symbolic.kanpiler import auxiliary_features
from kansci.symbolic.parse import parse_formula
from kansci.symbolic.shapes import INVARIANTS, LETTERS, SHAPES, pairings, shapes, singled
from tests.helpers import assert_same

pytestmark = pytest.mark.usefixtures("unchecked")

N = 1000
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))]


class Draw:
    """Uniform random columns."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *ranges: tuple[float, float], n: int = N) -> Tensor:
        unit = torch.rand(n, len(ranges), generator=self.generator, dtype=torch.float64)
        low, high = torch.tensor(ranges, dtype=torch.float64).T
        return low + (high - low) * unit


def first_five(x, y, names, **options):
    return [str(found.formula) for found in candidate_features(x, y, names, **options)[:5]]


def place(x, y, names, formula):
    """Where a formula stands in the list, counted from 1, also in another spelling or with another sign."""
    wanted = torch_function(parse_formula(formula, names), names)(x)
    for rank, found in enumerate(candidate_features(x, y, names), 1):
        values = torch_function(found.formula, names)(x)
        if torch.allclose(values, wanted) or torch.allclose(values, -wanted):
            return rank
    return math.inf


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "ranges",
    [
        [(1, 5), (0, 0.9), (1, 2)],
        [(1, 5), (0, 0.5), (1, 2)],
        [(0.5, 2), (-0.9, 0.9), (1, 3)],
        [(1, 5), (1, 2), (3, 20)],
    ],
)
def test_relativistic_mass(ranges, seed):
    x = Draw(seed)(*ranges)
    m0, v, c = x.unbind(1)
    found = first_five(x, m0 / (1 - v**2 / c**2).sqrt(), ["m0", "v", "c"])
    assert {"v/c", "1/sqrt(1 - v**2/c**2)"} <= set(found[:2])
    assert not {"v**2/c**2", "v**3/c**3", "c/v"} & set(found)


def neo_hookean(seed, order, size):
    strain = Draw(seed)(*[(-size, size)] * order**2).view(-1, order, order)
    gradient = torch.eye(order, dtype=torch.float64) + strain
    gradient = gradient[torch.linalg.det(gradient) > 0.01]
    first = gradient[:, 0].square().sum(1) - 1
    stress = first / 2.4 + torch.linalg.det(gradient).log() / 3.6
    return gradient.flatten(1), stress, torch.linalg.det(gradient)


def matrix_names(order):
    return [f"F{row + 1}{column + 1}" for row in range(order) for column in range(order)]


@pytest.mark.parametrize(
    ("order", "size"), [(2, 0.2), (2, 0.5), (3, 0.2), pytest.param(3, 0.5, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("seed", SEEDS)
def test_volume_ratio_of_a_neo_hookean_solid(order, size, seed):
    x, stress, volume = neo_hookean(seed, order, size)
    (first, *_) = candidate_features(x, stress, matrix_names(order))
    assert_same(torch_function(first.formula, matrix_names(order))(x), volume)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_volume_ratio_in_three_dimensions_for_every_seed(seed):
    x, stress, volume = neo_hookean(seed, 3, 0.2)
    (first, *_) = candidate_features(x, stress, matrix_names(3))
    assert_same(torch_function(first.formula, matrix_names(3))(x), volume)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("reach", [(-1, 1), (0.5, 2), (-2, 2)])
def test_distance_from_the_sun(reach, seed):
    x = Draw(seed)(reach, reach, (-1, 1), (-1, 1))
    energy = x[:, 2:].square().sum(1) / 2 - 1 / x[:, :2].norm(dim=1)
    found = first_five(x, energy, ["x", "y", "vx", "vy"])
    assert found[:2] == ["1/sqrt(x**2 + y**2)", "sqrt(x**2 + y**2)"]


def reduced_mass(draw):
    x = draw((1, 5), (1, 5), (0.1, 2))
    m1, m2, v = x.unbind(1)
    return x, m1 * m2 / (m1 + m2) * v**2 / 2, ["m1", "m2", "v"], "m1*m2/(m1 + m2)"


def oscillation_of_two_masses(draw):
    x = draw((1, 5), (1, 5), (0.5, 3))
    m1, m2, k = x.unbind(1)
    return x, (k * (m1 + m2) / (m1 * m2)).sqrt(), ["m1", "m2", "k"], "m1*m2/(m1 + m2)"


def potential_between_two_points(draw):
    x = draw(*[(-1, 1)] * 6, (1, 3))
    names = ["x1", "y1", "z1", "x2", "y2", "z2", "q"]
    distance = "sqrt((x1 - x2)**2 + (y1 - y2)**2 + (z1 - z2)**2)"
    return x, x[:, 6] / (x[:, :3] - x[:, 3:6]).norm(dim=1), names, distance


def potential_in_the_plane(draw):
    x = draw(*[(-1, 1)] * 4)
    y = (-(x[:, :2] - x[:, 2:]).norm(dim=1)).exp() + 0.3 * x[:, 0]
    return x, y, ["x1", "y1", "x2", "y2"], "sqrt((x1 - x2)**2 + (y1 - y2)**2)"


def inner_product(draw):
    x = draw(*[(-1, 1)] * 6)
    y = (x[:, :3] * x[:, 3:]).sum(1).exp()
    return x, y, ["a1", "a2", "a3", "b1", "b2", "b3"], "a1*b1 + a2*b2 + a3*b3"


def hydraulic_jump(draw):
    x = draw((0.5, 5), (1, 10), (0.5, 3), (1, 2))
    v, g, length, h = x.unbind(1)
    return x, h / 2 * ((1 + 8 * v**2 / (g * length)).sqrt() - 1), ["v", "g", "L", "h"], "v**2/(g*L)"


def drag(draw):
    x = draw((0.5, 2), (0.5, 5), (0.5, 3), (0.1, 1))
    reynolds = x[:, 0] * x[:, 1] * x[:, 2] / x[:, 3]
    return x, 24 / reynolds + 6 / (1 + reynolds.sqrt()) + 0.4, ["rho", "v", "L", "mu"], "rho*v*L/mu"


def logistic_growth(draw):
    x = draw((0.5, 2), (0.1, 2), (1, 3))
    r, n, k = x.unbind(1)
    return x, r * n * (1 - n / k), ["r", "N", "K"], "1 - N/K"


def angle_between(draw):
    x = draw((0, 6), (0, 6))
    return x, (x[:, 0] - x[:, 1]).cos(), ["t1", "t2"], "t1 - t2"


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize(
    "case",
    [
        reduced_mass,
        oscillation_of_two_masses,
        potential_between_two_points,
        potential_in_the_plane,
        inner_product,
        hydraulic_jump,
        drag,
        logistic_growth,
        angle_between,
    ],
)
def test_features_of_other_laws(case, seed):
    assert place(*case(Draw(seed))) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS[:3])
def test_noise(seed):
    draw = Draw(seed)
    x = draw((1, 5), (0, 0.9), (1, 2))
    y = x[:, 0] / (1 - x[:, 1] ** 2 / x[:, 2] ** 2).sqrt()
    noise = 0.01 * y.std() * torch.randn(N, generator=draw.generator, dtype=torch.float64)
    assert {"v/c", "1/sqrt(1 - v**2/c**2)"} <= set(first_five(x, y + noise, ["m0", "v", "c"]))


@pytest.mark.slow
def test_a_second_feature_is_found_beside_the_first():
    x = Draw(0)((-1, 1), (-1, 1), (0, 0.9), (1, 2))
    y = x[:, :2].norm(dim=1) / (1 - x[:, 2] ** 2 / x[:, 3] ** 2).sqrt()
    found = first_five(x, y, ["x", "y", "v", "c"])
    assert {"sqrt(x**2 + y**2)", "v/c", "1/sqrt(1 - v**2/c**2)"} <= set(found[:3])


def test_nothing_is_found_where_nothing_is_missing():
    x = Draw(0)((-1, 1), (1, 2), (0, 3))
    assert candidate_features(x, x[:, 0].sin() + 1 / x[:, 1] + x[:, 2] ** 3) == []


@pytest.mark.slow
def test_units_and_the_order_of_rows_and_columns_do_not_matter():
    x = Draw(2)((1, 5), (0, 0.9), (1, 2))
    y = x[:, 0] / (1 - x[:, 1] ** 2 / x[:, 2] ** 2).sqrt()
    expected = set(first_five(x, y, ["m", "v", "c"])[:2])
    assert set(first_five(x[:, [2, 0, 1]].flip(0), y.flip(0), ["c", "m", "v"])[:2]) == expected
    units = torch.tensor([1e-30, 3e8, 3e8], dtype=torch.float64)
    assert set(first_five(x * units, 1e-30 * y, ["m", "v", "c"])[:2]) == expected


def test_arrays_and_columns_are_taken():
    x = Draw(0)((1, 2), (1, 2))
    y = (x[:, 0] / x[:, 1]).sin()
    assert str(candidate_features(x.numpy(), y[:, None].numpy())[0].formula) in ("x1/x2", "x2/x1")


@pytest.mark.slow
def test_matrices_are_given_or_found():
    x, stress, _ = neo_hookean(0, 2, 0.2)
    determinant = "F11*F22 - F12*F21"
    letters = ["p", "q", "r", "s"]
    assert first_five(x, stress, matrix_names(2))[0] == determinant
    assert first_five(x, stress, letters, matrix=[["p", "q"], ["r", "s"]])[0] == "p*s - q*r"
    assert first_five(x, stress, None)[0] == "x1*x4 - x2*x3"


@pytest.mark.slow
def test_features_make_a_network_of_few_edges_accurate():
    x = Draw(0)((1, 5), (0, 0.9), (1, 2))
    names = ["m0", "v", "c"]
    y = (x[:, 0] / (1 - x[:, 1] ** 2 / x[:, 2] ** 2).sqrt())[:, None]
    found = candidate_features(x, y, names, limit=2)
    features = auxiliary_features(found, names)
    assert features.names[3:] == features.formulas == tuple(str(each.formula) for each in found)
    domain = [(1, 5), (0, 0.9), (1, 2)]
    model = MultKAN([5, [0, 1], 1], features=features, domain=domain)
    assert (fit(model, (x, y), progress=False).model(x) - y).norm() < 1e-4 * y.norm()
    assert auxiliary_features({"beta": found[0]}, names).names == (*names, "beta")
    assert auxiliary_features(found[0].formula, names).n_features == 1


def test_records_say_what_they_found():
    x = Draw(0)((1, 5), (0, 0.9), (1, 2))
    y = x[:, 0] / (1 - x[:, 1] ** 2 / x[:, 2] ** 2).sqrt()
    gamma, beta, *others = candidate_features(x, y, ["m0", "v", "c"], limit=4)
    assert len(others) == 2
    assert isinstance(gamma, Candidate)
    assert (gamma.linear, gamma.sufficient, beta.linear, beta.sufficient) == (True, True, False, True)
    assert gamma.error < 1e-8
    assert gamma.score > beta.score
    assert repr(beta).startswith("Candidate(v/c, score=2.")


def test_every_shape_can_be_compiled():
    x = Draw(0)(*[(1, 2)] * 9, n=5)
    x[:, ::2] += 1
    for formula in [shape.formula for shape in SHAPES] + [text for own in INVARIANTS.values() for text in own]:
        expression = parse_formula(formula, list(LETTERS))
        values = auxiliary_features(expression, list(LETTERS))(x)[:, 9]
        expected = torch_function(expression, list(LETTERS))(x)
        assert torch.equal(values.isnan(), expected.isnan())
        assert_same(values.nan_to_num(), expected.nan_to_num())


def test_invariants_are_those_of_linear_algebra():
    for order in (2, 3):
        x = Draw(order)(*[(-1, 1)] * order**2, n=20)
        matrix = x.view(-1, order, order)
        letters = list(LETTERS[: order**2])
        found = [torch_function(parse_formula(text, letters), letters)(x) for text in INVARIANTS[order]]
        trace = matrix.diagonal(dim1=1, dim2=2).sum(1)
        square = (matrix @ matrix).diagonal(dim1=1, dim2=2).sum(1)
        determinant, norm = torch.linalg.det(matrix), matrix.flatten(1).norm(dim=1)
        second = [] if order == 2 else [(trace**2 - square) / 2]
        isochoric = norm**2 / (determinant if order == 2 else determinant.abs() ** (2 / 3))
        for own, expected in zip(found, [determinant, trace, square, *second, norm, isochoric], strict=True):
            assert_same(own, expected)


def test_ways_to_put_variables_into_shapes():
    assert len(list(pairings(6, 6))) == 15
    assert list(singled(2, 2)) == [(0, 1), (1, 0)]
    assert all(len(set(places)) == shape.size for shape, ways in shapes(range(9), [range(9)]) for places in ways)
    assert not any(ways for shape, ways in shapes(range(2), []) if shape.size > 2)


def test_additive_models():
    x = Draw(0)((1, 2), (-1, 1), (0, 1))
    targets = torch.stack([x[:, 0].log() + x[:, 1] ** 3, x[:, 0] * x[:, 1], x[:, 2] ** 2 * 3], 1)
    model = AdditiveModel(x[:, :2].T, targets, 4)
    assert (model.errors > 1e-9).tolist() == [False, True, True]
    errors, factors = model.with_multiple(torch.stack([x[:, 0] * x[:, 1], x[:, 2] ** 2]))
    assert (errors < 1e-6).tolist() == [[True, True, False], [True, False, True]]
    assert factors[[0, 1], [1, 2]].tolist() == pytest.approx([1, 3])
    assert (model.with_function(x[:, 2:].T)[0] < 1e-6).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (torch.rand(50), torch.rand(50), {}, ShapeError, r"x of shape \(n, d\) and y .* got \(50,\) and \(50,\)"),
        (torch.rand(50, 2), torch.rand(50, 2), {}, ShapeError, "one output at a time"),
        (torch.rand(20, 2), torch.rand(20), {}, DataError, "at least 30 points for 2 variables, got 20"),
        (torch.rand(50, 2), torch.ones(50), {}, DataError, "a y that varies"),
        (torch.rand(50, 2), torch.full((50,), torch.nan), {}, DataError, "NaN"),
        (torch.rand(50, 2), torch.rand(50), {"names": ["a"]}, ConfigError, r"2 names, .* got \['a'\]"),
        (torch.rand(50, 2), torch.rand(50), {"names": ["a", "1b"]}, FormulaError, "names of ASCII letters"),
        (torch.rand(50, 2), torch.rand(50), {"matrix": [["x1", "x2"]]}, ConfigError, "2 rows of 2 or 3 rows of 3"),
    ],
)
def test_bad_arguments_are_refused(x, y, options, error, message):
    with pytest.raises(error, match=message):
        candidate_features(x, y, **options)


def test_constant_columns_are_left_alone():
    x = Draw(0)((1, 2), (1, 2), (3, 3))
    found = candidate_features(x, (x[:, 0] * x[:, 1]).sin(), ["a", "b", "c"])
    assert str(found[0].formula) == "a*b"
    assert all(sympy.Symbol("c", real=True) not in each.formula.free_symbols for each in found)


def test_a_single_variable_needs_no_features():
    x = Draw(0)((1, 2))
    assert candidate_features(x, x[:, 0].sin()) == []


def test_matrices_may_have_constant_entries():
    """Plane strain."""
    x, stress, volume = neo_hookean(0, 2, 0.3)
    zero, one = torch.zeros(len(x)).double(), torch.ones(len(x)).double()
    full = torch.stack([x[:, 0], x[:, 1], zero, x[:, 2], x[:, 3], zero, zero, zero, one], 1)
    found = candidate_features(full, stress, matrix_names(3))
    assert_same(torch_function(found[0].formula, matrix_names(3))(full), volume)
