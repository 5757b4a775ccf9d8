"""Separability: groups of known functions, in any units, and what surrogates of known error can tell."""

import math

import numpy as np
import pytest
import torch

import kansci as ks
from kansci.analysis.surrogate import read_surrogate
from kansci.analysis.webs import Joints
from kansci.errors import ConfigError, DataError, ShapeError


def points(n: int = 300, d: int = 4, low: float = -1.0, high: float = 1.0, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(n, d, generator=generator, dtype=torch.float64)


def groups_of(f, x, kind, **options):
    found = ks.detect_separability(f, x, kind, **options)
    return found.groups if found.verdict == "yes" else found.verdict


KNOWN = {
    "x y + z w": (lambda x: x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3], ((0, 1), (2, 3)), "no", ((0, 1), (2, 3))),
    "(x+z)(y+w)": (lambda x: (x[:, 0] + x[:, 2]) * (x[:, 1] + x[:, 3]), "no", ((0, 2), (1, 3)), ((0, 2), (1, 3))),
    "sin(3(xy+zw))": (lambda x: (3 * (x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3])).sin(), "no", "no", ((0, 1), (2, 3))),
    "x y z w": (lambda x: x.prod(1), "no", ((0,), (1,), (2,), (3,)), ((0,), (1,), (2,), (3,))),
    "no structure": (lambda x: (x[:, 0] * x[:, 1]).sin() + (x[:, 1] * x[:, 2]).exp() * x[:, 3].cos(), "no", "no", "no"),
}

LONGEST = "sin(3(xy+zw))", "generalized"


@pytest.mark.parametrize(
    "name, number, kind",
    [
        pytest.param(name, number, kind, marks=pytest.mark.slow if (name, kind) == LONGEST else ())
        for name in KNOWN
        for number, kind in enumerate(("additive", "multiplicative", "generalized"))
    ],
)
def test_known_functions(name, number, kind, unchecked):
    f, *expected = KNOWN[name]
    assert groups_of(f, points(), kind) == expected[number]


@pytest.mark.parametrize(
    "name, kind",
    [("x y + z w", "additive"), ("(x+z)(y+w)", "multiplicative"), ("no structure", "multiplicative")]
    + [pytest.param(name, "generalized", marks=pytest.mark.slow) for name in KNOWN],
)
@pytest.mark.parametrize("output, unit", [(1e6, 1e3), (1e-6, 1e-3)])
def test_units_do_not_matter(name, kind, output, unit, unchecked):
    f, x = KNOWN[name][0], points()
    units = torch.tensor([unit, 1.0, 1 / unit, 1.0], dtype=torch.float64)
    scaled = ks.detect_separability(lambda x: output * f(x / units), x * units, kind, error=1e-3)
    plain = ks.detect_separability(f, x, kind, error=1e-3)
    assert (scaled.verdict, scaled.groups) == (plain.verdict, plain.groups)
    torch.testing.assert_close(scaled.hessian, plain.hessian, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_a_weak_interaction_is_seen_in_any_units(factor):
    found = ks.detect_separability(lambda x: factor * (x[:, 0] + x[:, 1] + 1e-3 * x[:, 0] * x[:, 1]), points(d=2))
    assert found.verdict == "no"


def test_local_interactions_are_not_overlooked():
    def local(x):
        return x[:, 0] + x[:, 1] + 5 * (x[:, 0] - 0.7).relu() ** 2 * (x[:, 1] - 0.7).relu() ** 2

    assert ks.detect_separability(local, points(d=2)).verdict == "no"
    assert ks.detect_separability(local, points(d=2), "multiplicative").verdict == "no"
    assert ks.detect_separability(local, points(d=2), "generalized").verdict != "yes"


@pytest.mark.parametrize("offset", [3.0, -250.0, 1e-2])
def test_a_shifted_product_is_no_product_and_its_offset_comes_out(offset):
    found = ks.detect_separability(lambda x: x[:, 0] * x[:, 1].exp() + offset, points(d=2), "multiplicative")
    assert found.verdict == "no"
    assert found.offset == pytest.approx(offset, rel=1e-6)
    assert ks.detect_separability(lambda x: x[:, 0] * x[:, 1].exp(), points(d=2), "multiplicative").offset is None


def test_a_sum_is_no_shifted_product():
    found = ks.detect_separability(lambda x: x[:, 0] + x[:, 1] ** 2, points(d=2), "multiplicative")
    assert (found.verdict, found.offset) == ("no", None)


@pytest.mark.parametrize("f", [lambda x: x[:, 0].relu() * x[:, 1].relu(), lambda x: x[:, 0].sign() * x[:, 1]])
def test_zeros_and_jumps(f):
    assert ks.detect_separability(f, points(d=2), "multiplicative").verdict == "yes"
    assert ks.detect_separability(f, points(d=2), "additive").verdict == "no"


def test_unused_inputs_and_constants():
    found = ks.detect_separability(lambda x: x[:, 0] * x[:, 2], points())
    assert (found.verdict, found.groups, found.unused) == ("yes", ((0, 2), (1,), (3,)), (1, 3))
    assert ks.detect_separability(lambda x: 0 * x[:, 0] + 2, points()).unused == (0, 1, 2, 3)
    assert ks.detect_separability(lambda x: x[:, 0].sin(), points(d=1)).verdict == "no"


def test_what_is_smaller_than_the_error_is_listed_as_hidden():
    def weak(x):
        return x[:, 0] + x[:, 1] + 1e-3 * x[:, 0] * x[:, 1]

    blurred = ks.detect_separability(weak, points(d=2), error=1e-2)
    assert blurred.verdict == "yes"
    assert 1e-4 < blurred.hidden[0, 1] < 1e-2
    sharp = ks.detect_separability(weak, points(d=2), error=1e-5)
    assert (sharp.verdict, sharp.hidden) == ("no", {})
    assert ks.detect_separability(weak, points(d=2), error=blurred.size / 1.5).verdict == "undecided"


def test_an_error_that_varies_quickly_does_not_hide_a_sum():
    """Second derivatives of the error are as large as those of the function: the tables decide, and it is said."""
    x = points(1000, 2)
    found = ks.detect_separability(
        lambda x: x[:, 0] ** 2 + x[:, 1] ** 2 + 1e-3 * (40 * x[:, 0] + 40 * x[:, 1]).sin(), x, error=1.5e-3
    )
    assert found.verdict == "yes"
    assert float(found.hessian[0, 1]) > 0.1
    assert "magnify" in repr(found)


def test_the_hessian_is_exact_and_standardized():
    x = points(200, 3)
    f = lambda x: x[:, 0] * x[:, 1] + x[:, 2] ** 2  # noqa: E731
    found = ks.detect_separability(f, x)
    spread, unit = f(x).std(), x.std(0)
    assert float(found.hessian[0, 1]) == pytest.approx(float(unit[0] * unit[1] / spread))
    assert float(found.hessian[2, 2]) == pytest.approx(float(2 * unit[2] ** 2 / spread))
    logarithm = ks.detect_separability(lambda x: (x.sum(1)).exp(), x, "multiplicative").hessian
    assert float(logarithm.max()) < 1e-12


@pytest.mark.parametrize("outer", [lambda s: s, torch.sin])
def test_terms_that_were_joined_needlessly_are_told_apart(outer, unchecked):
    """x y is one factor of x y (z - w), but x and y are finer: rounding must not say which are joined first."""
    f = lambda x: outer(x[:, 0] * x[:, 1] * (x[:, 2] - x[:, 3]))  # noqa: E731
    x = points(1000)
    joints = Joints(read_surrogate(f, x, None))
    assert joints._finest([(0, 1), (2, 3)]) == ((0,), (1,), (2, 3))
    assert joints._finest([(0, 1, 2), (3,)]) == ((0, 1, 2), (3,))
    assert groups_of(f, x, "generalized") == ((0,), (1,), (2, 3))


TURNING = {
    "sin(x^2 + 3y)": lambda x: (x[:, 0] ** 2 + 3 * x[:, 1]).sin(),
    "exp(-(x + y/2)^2)": lambda x: (-4 * (x[:, 0] + x[:, 1] / 2) ** 2).exp(),
    "sin(3xy + 1)": lambda x: (3 * x[:, 0] * x[:, 1] + 1).sin(),
    "sin(2xy^3 + 1)": lambda x: (2 * x[:, 0] * x[:, 1] ** 3 + 1).sin(),
    "sin(4x exp(y))": lambda x: (4 * x[:, 0] * x[:, 1].exp()).sin(),
}


@pytest.mark.parametrize("error", [1e-2, pytest.param(1e-3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TURNING)
def test_an_outer_function_that_turns_around_hides_no_sum(name, error, unchecked):
    """Slopes pass zero inside, where the error of f is all that there is of them."""
    f, x = TURNING[name], points(500, 2)
    spread = float(f(x).std())
    blurred = lambda x: f(x) + error * spread * (3 * x[:, 0] - 2 * x[:, 1]).cos()  # noqa: E731
    assert ks.detect_separability(blurred, x, "generalized", error=error).verdict == "yes"


@pytest.mark.slow
@pytest.mark.parametrize("error", [1e-3, 1e-2])
@pytest.mark.parametrize("name", TURNING)
def test_no_outer_function_makes_a_sum_of_what_is_none(name, error, unchecked):
    f, x = TURNING[name], points(500, 2)
    broken = lambda x: f(x) + f(x).std() * x[:, 0] * (2 * x[:, 1]).sin() / 2  # noqa: E731
    assert ks.detect_separability(broken, x, "generalized", error=error).verdict == "no"


@pytest.mark.parametrize("kind, expected", [("additive", ((0, 1), (2,), (3,))), ("multiplicative", "no")])
def test_a_place_where_no_row_is_decides_nothing(kind, expected, unchecked):
    """Fits are far off in corners: one such cell spoils the averages of all cells of its table."""
    f = lambda x: x[:, :2].prod(1) + x[:, 2:].square().sum(1)  # noqa: E731
    spoiled = lambda x: f(x) + 50 * (x[:, ::2] > 0.93).all(1)  # noqa: E731
    x = points(1000)
    x = x[spoiled(x) == f(x)]
    assert groups_of(spoiled, x, kind, error=1e-3) == expected


def test_correlated_inputs_are_noticed():
    x = points(500, 2)
    x[:, 1] = x[:, 0] + 0.02 * x[:, 1]
    f = lambda x: x[:, 0] + x[:, 1] + 5 * (x[:, 0] - x[:, 1]).abs().clamp(min=0.1)  # noqa: E731
    found = ks.detect_separability(f, x, error=1e-3)
    assert found.correlated
    assert found.off_support > 0.5
    assert found.verdict == "undecided"  # there is no interaction where rows are
    assert "correlated" in repr(found)
    assert not ks.detect_separability(f, points(500, 2)).correlated


def test_functions_that_are_not_finite_between_the_rows():
    x = points(400, 2, 0.0, 1.0)
    x[:, 1] *= 0.9 * x[:, 0]
    found = ks.detect_separability(lambda x: (x[:, 0] - x[:, 1]).sqrt(), x)
    assert found.verdict in ("no", "undecided")


def test_models_arrays_and_columns_are_accepted():
    model = ks.kanpile("x*y + exp(z)", ["x", "y", "z"])
    for x in (points(d=3), points(d=3).numpy()):
        assert groups_of(model, x, "additive") == ((0, 1), (2,))
    single = ks.MultKAN([2, 1], dtype=torch.float32)
    assert ks.detect_separability(single, points(d=2)).verdict == "yes"
    assert groups_of(lambda x: x[:, :1] * x[:, 1:], points(d=2), "multiplicative") == ((0,), (1,))
    untouched = [p.grad for p in model.parameters()]
    assert untouched == [None] * len(untouched)


def test_low_degrees_have_a_hessian_view_as_well():
    found = ks.detect_separability(ks.MultKAN([2, 1], k=1, base="zero"), points(d=2))
    assert found.verdict == "yes"
    assert found.hessian.isfinite().all()


@pytest.mark.slow
def test_many_inputs():
    x = points(200, 16)
    found = ks.detect_separability(lambda x: x[:, 0] * x[:, 1] + x[:, 2:].square().sum(1), x)
    assert found.groups == ((0, 1), *((k,) for k in range(2, 16)))


def test_the_answer_can_be_repeated():
    state = torch.random.get_rng_state()
    first, second = (ks.detect_separability(KNOWN["x y z w"][0], points(), error=1e-2) for _ in range(2))
    assert first.size == second.size
    assert torch.equal(state, torch.random.get_rng_state())


def test_reports_are_readable():
    text = repr(ks.detect_separability(KNOWN["x y + z w"][0], points()))
    assert text.splitlines()[0] == "additive: yes, f = g + h, groups x1, x2 | x3, x4"
    assert "Hessian" in text


@pytest.mark.parametrize(
    "error, message, f, x, options",
    [
        (ConfigError, "expected kind to be additive, multiplicative", lambda x: x[:, 0], points(), {"kind": "add"}),
        (ConfigError, "expected error to be None or at least 0", lambda x: x[:, 0], points(), {"error": -1.0}),
        (ConfigError, "expected error to be None or at least 0", lambda x: x[:, 0], points(), {"error": math.nan}),
        (ShapeError, "choose one", lambda x: x[:, :2], points(), {}),
        (ShapeError, "one point a row", lambda x: x, points()[0], {}),
        (DataError, "at least 8 rows", lambda x: x[:, 0], points(3), {}),
        (DataError, "values of f at x", lambda x: x[:, 0].log(), points(), {}),
        (DataError, "NaN or infinity in 1 rows", lambda x: x[:, 0], np.array([[0.0], [np.nan]]), {}),
    ],
)
def test_what_is_refused(error, message, f, x, options):
    with pytest.raises(error, match=message):
        ks.detect_separability(f, x, **options)
