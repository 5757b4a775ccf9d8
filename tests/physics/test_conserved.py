import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kansci import MultKAN, jet, kanpile, parse_formula, solve
from kansci.errors import ConfigError, DataError, DomainError, ShapeError
from kansci.physics.conserved import conservation, measure, project, span
from kansci.physics.conserved_motions import conserved_in_motions, estimate_noise
from kansci.physics.conserved_search import drift, find_conserved
from kansci.physics.field import VectorField, split_formulas
from kansci.physics.library import Library
from kansci.physics.nullspace import exact_formula, is_conserved, null_vectors

KEPLER = "px, py, -x/(x**2 + y**2)**(3/2), -y/(x**2 + y**2)**(3/2)"
XY = ["x", "y", "px", "py"]


def formulas(field, names, domain=(-1.0, 1.0)):
    found = find_conserved(VectorField.read(field, names, domain))
    assert all(own.exact for own in found.quantities)
    return found.formulas


def points(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# residual


def test_residual_is_the_cosine_of_field_and_gradient():
    x = points(20, 3)
    field = points(20, 3, seed=1)
    model = MultKAN([3, 2, 1], domain=(-5, 5), seed=3)
    term = conservation(x, field)
    gradient = torch.func.vmap(torch.func.grad(lambda x: model(x)[0]))(x)
    expected = torch.nn.functional.cosine_similarity(gradient, field)
    torch.testing.assert_close(term([model.jet(x, "gradient")])[:, 0], expected)


def test_residual_of_what_is_known_is_not_small():
    flow = VectorField.read("px, py, -x, -2*y", XY)
    x = flow.points(50)
    known = span([x * torch.tensor([1.0, 0, 1, 0])])
    energies = [
        lambda x: x[..., 0] ** 2 + x[..., 2] ** 2,
        lambda x: x[..., 0] ** 2 + x[..., 2] ** 2 + 1e-3 * x[..., 1],
    ]
    shares = [measure([energies[0], own], x, flow(x)).share[1] for own in energies]
    assert shares[0] < 1e-12
    assert 0 < shares[1] < 0.1
    rows = conservation(x, flow, known)([jet(energies[1], x, "gradient")])
    assert rows[:, 1].max() > 0.2


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_span_is_orthonormal_and_projects_itself_away(seed, count):
    vectors = [points(5, 4, seed + number) for number in range(count)]
    basis = span(vectors)
    identity = torch.eye(count, dtype=torch.float64).expand(5, -1, -1)
    torch.testing.assert_close(basis.mT @ basis, identity)
    assert max(float(project(own, basis).abs().max()) for own in vectors) < 1e-12


def test_span_of_a_dependent_vector_is_no_larger():
    x = points(5, 3)
    assert span([x, 2 * x])[..., 1].abs().max() == 0


def test_wrong_rates_are_refused():
    with pytest.raises(ShapeError, match="rates of change"):
        conservation(points(5, 2), lambda x: points(5, 3))
    with pytest.raises(ConfigError, match="at least one gradient"):
        span([])


def test_solver_makes_the_residual_small():
    flow = VectorField.read("p, -x", ["x", "p"], (0.5, 1.5))
    x = flow.points(200)
    start = kanpile("x**2 + 2*p**2", ["x", "p"])
    found = solve(start, conservation(x, flow), steps=30, progress=False).model
    assert measure([start], x, flow(x)).residual[0] > 0.1
    assert measure([found], x, flow(x)).residual[0] < 1e-6


# fields


def test_fields_are_read_and_checked():
    assert split_formulas("log(x, 2), -hypot(x, y)") == ["log(x, 2)", "-hypot(x, y)"]
    with pytest.raises(ConfigError, match="one formula for each of x, p, got 1"):
        VectorField.read("p", ["x", "p"])
    with pytest.raises(DomainError, match="finite"):
        VectorField.read("log(x), x", ["x", "p"], (-2, -1)).points(10)


def test_trajectories_follow_the_field():
    flow = VectorField.read("p, -x", ["x", "p"])
    paths = flow.trajectories(torch.tensor([[1.0, 0.0]], dtype=torch.float64), samples=30)
    torch.testing.assert_close(paths.states[0][:, 0], paths.times.cos(), atol=1e-10, rtol=0)


def test_trajectories_end_where_they_go_too_far():
    paths = VectorField.read("x, 0*y + 1", ["x", "y"]).trajectories(torch.tensor([[0.5, 0.0]], dtype=torch.float64))
    assert 1 < len(paths.states[0]) < 100
    assert paths.states[0].abs().max() <= 6


# libraries


@pytest.mark.parametrize(
    ("field", "atom"),
    [
        ("p, -x/sqrt(1 + x**2)", "sqrt(x**2 + 1)"),
        ("p, -exp(x)", "exp(x)"),
        ("p, -tanh(x)", "log(cosh(x))"),
        ("p, -1/x", "log(x)"),
        ("x*p, -p*(1 + x)", "log(p)"),
    ],
)
def test_library_has_what_the_field_suggests(field, atom):
    x = np.random.default_rng(0).uniform(0.5, 1, (50, 2))
    assert atom in map(str, Library.of_field(field.split(","), ["x", "p"], x).atoms)


def test_sizes_and_rates_of_features():
    x = np.random.default_rng(0).uniform(0.5, 1, (50, 2))
    library = Library.of_field(["p", "-sin(2*x)/sqrt(p)"], ["x", "p"], x)
    features = library.features(3)
    assert len(features) == len(set(features)) == library.size(3) - 1
    step = 1e-6 * np.ones_like(x)
    after, before = (library.columns(features, library.values(x + s))[0] for s in (step, -step))
    rates = library.columns(features, library.values(x, np.ones_like(x)))[1]
    np.testing.assert_allclose((after - before) / 2e-6, rates, rtol=1e-5, atol=1e-5)


def test_frequencies_have_a_common_step():
    x = np.random.default_rng(0).uniform(0.5, 1, (50, 2))
    library = Library.of_field(["sin(4*a - 6*b)", "cos(2*a)"], ["a", "b"], x)
    assert list(map(str, library.angles)) == ["2*a", "6*b"]


# null space


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_null_vectors_are_all_that_there_are(seed, nullity):
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(60, 8))
    mixed = columns @ rng.normal(size=(8, nullity))
    found = list(null_vectors(np.concatenate([columns, mixed], 1)))
    assert [last for last, _ in found] == list(range(8, 8 + nullity))
    matrix = np.stack([own for _, own in found], 1)
    np.testing.assert_allclose(np.concatenate([columns, mixed], 1) @ matrix, 0, atol=1e-9)


def test_no_null_vectors_of_noise():
    assert not list(null_vectors(np.random.default_rng(0).normal(size=(60, 8))))


def test_proof_tells_a_conserved_formula_from_a_nearly_conserved_one():
    x, p = sympy.symbols("x p", real=True)
    at = np.array([[0.3, 0.7]])
    assert is_conserved(x**2 + p**2, [p, -x], at, ["x", "p"])
    assert not is_conserved(x**2 + p**2 + sympy.Rational(1, 10**20) * x, [p, -x], at, ["x", "p"])
    formula, exact = exact_formula([1.0, 1.0 + 1e-9], [x**2, p**2], [p, -x - x / 10**9], at, ["x", "p"])
    assert not exact
    assert formula.has(sympy.Float)


# searches


def test_kepler_has_three_integrals():
    domain = [(0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 1.2)]
    found = find_conserved(VectorField.read(KEPLER, XY, domain))
    assert found.count == 3
    assert all(own.exact for own in found.quantities)
    assert (found.gap or 0) > 1e10
    assert (found.max_residual or 1) < 1e-20
    assert min(found.shares) > 0.1
    x, y, px, py = sympy.symbols("x y px py", real=True)
    momentum = [own for own in found.formulas if sympy.simplify(own / (x * py - y * px)).is_number]
    assert len(momentum) == 1


@pytest.mark.parametrize(
    ("field", "names", "domain", "expected"),
    [
        ("p, -sin(q) + 3/10", "q p", (-2, 2), "5*p**2 - 3*q - 10*cos(q)"),
        ("p, -sqrt(3)*x", "x p", (-1, 1), "p**2 + sqrt(3)*x**2"),
        ("2*x/3 - 4*x*y/3, x*y - y", "x y", (0.2, 2), "3*x + 4*y - 3*log(x) - 2*log(y)"),
        ("p, -x*exp(-x**2)", "x p", (-2, 2), "p**2 - exp(-x**2)"),
    ],
)
def test_integrals_in_the_plane(field, names, domain, expected):
    (found,) = formulas(field, names.split(), domain)
    wanted = parse_formula(expected, names.split())
    assert sympy.simplify(found - wanted) == 0 or sympy.simplify(found + wanted) == 0


@pytest.mark.slow
def test_a_network_finds_what_the_library_lacks():
    found = find_conserved(VectorField.read("p, -sin(q)", ["q", "p"], (-2, 2)), library=False)
    assert found.count == 1
    assert found.quantities[0].formula is None
    assert found.residuals[0] < 1e-4
    assert (found.gap or 0) > 1e4


def test_drift_is_relative_to_the_spread():
    paths = [torch.tensor([[level], [level + 0.1]], dtype=torch.float64) for level in (0.0, 2.0)]
    assert drift(lambda x: x[..., 0], paths) == pytest.approx(0.1 / np.sqrt(2))


# motions


def circles(n, noise, seed=0):
    t = np.linspace(0, 9, 80)
    rng = np.random.default_rng(seed)
    radii, phases = rng.uniform(0.5, 1, n), rng.uniform(0, 6, n)
    clean = [r * np.stack([np.cos(t + f), -np.sin(t + f)], 1) for r, f in zip(radii, phases, strict=True)]
    return [own + noise * rng.normal(size=own.shape) for own in clean]


def test_noise_is_estimated():
    assert estimate_noise(circles(30, 0.01)) == pytest.approx([0.01, 0.01], rel=0.1)


@pytest.mark.parametrize("noise", [0.0, 1e-3, 3e-2])
def test_motions_on_circles_conserve_the_radius(noise):
    found = conserved_in_motions(circles(30, noise), ["x", "p"])
    assert found.count == 1
    coefficients = found.quantities[0].formula.as_coefficients_dict()
    assert len(coefficients) == 2
    assert list(coefficients.values()) == pytest.approx([1, 1], abs=1e-2)


def test_motions_without_integral_have_none():
    t = np.linspace(0, 9, 80)
    rng = np.random.default_rng(0)
    decay = np.exp(-t / 4)[:, None]
    spirals = [own * decay + 1e-3 * rng.normal(size=own.shape) for own in circles(30, 0.0)]
    assert conserved_in_motions(spirals, ["x", "p"]).count == 0


def test_motions_are_checked():
    with pytest.raises(ShapeError, match="shape"):
        conserved_in_motions(circles(3, 0.0), ["x"])
    with pytest.raises(DataError, match="at least two"):
        conserved_in_motions(circles(1, 0.0), ["x", "p"])
    bad = circles(3, 0.0)
    bad[1][4] = np.nan
    with pytest.raises(DataError, match="finite"):
        conserved_in_motions(bad, ["x", "p"])
