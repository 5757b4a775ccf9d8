"""Symmetry: groups of inputs that act through one scalar, and the names of these."""

import pytest
import torch

import kansci as ks
from kansci.errors import ConfigError


def points(low: float, high: float, d: int = 3, n: int = 300) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return low + (high - low) * torch.rand(n, d, generator=generator, dtype=torch.float64)


NAMED = [
    ("x1 - x2", lambda x: (x[:, 0] - x[:, 1]).sin() * x[:, 2]),
    ("x1 + x2", lambda x: (x[:, 0] + x[:, 1]) ** 2 / x[:, 2]),
    ("x1 + 2/3*x2", lambda x: (3 * x[:, 0] + 2 * x[:, 1]).log() + x[:, 2]),
    ("x1 + 2.345*x2", lambda x: (x[:, 0] + 2.345 * x[:, 1]).log() * x[:, 2]),
    ("x1*x2", lambda x: (x[:, 0] * x[:, 1]).sin() * x[:, 2]),
    ("x1/x2", lambda x: (1 + (x[:, 0] / x[:, 1]) ** 2).sqrt() * x[:, 2]),
    ("x1*x2**(-1/2)", lambda x: x[:, 2] * (x[:, 0] / x[:, 1].sqrt()).sin()),
    ("x1**2 + x2**2", lambda x: x[:, 2] + (x[:, 0] ** 2 + x[:, 1] ** 2).sqrt()),
    ("x1**2 - x2**2", lambda x: x[:, 2] + (x[:, 0] ** 2 - x[:, 1] ** 2).sin()),
    ("1/x1 + 1/x2", lambda x: x[:, 2] / (1 / x[:, 0] + 1 / x[:, 1])),
    ("x1 + x2**2", lambda x: (x[:, 0] + x[:, 1] ** 2).tanh() * x[:, 2]),
]


@pytest.mark.parametrize("formula, f", NAMED, ids=[name for name, _ in NAMED])
def test_scalars_are_named(formula, f, unchecked):
    found = ks.detect_symmetry(f, points(1.0, 2.5), [0, 1])
    assert (found.verdict, found.formula) == ("yes", formula)


@pytest.mark.parametrize("formula", ["x1*x2", "x1**2 + x2**2", "x1 - x2"])
def test_names_where_inputs_change_sign(formula):
    f = dict(NAMED)[formula]
    found = ks.detect_symmetry(lambda x: f(torch.cat([x[:, :2], x[:, 2:] + 3], 1)), points(-1.0, 1.0), [0, 1])
    assert (found.verdict, found.formula) == ("yes", formula)


def test_three_inputs_and_any_order():
    found = ks.detect_symmetry(lambda x: x[:, 3] * x[:, :3].square().sum(1).sqrt(), points(1, 2, 4), [2, 0, 1])
    assert (found.verdict, found.formula) == ("yes", "x3**2 + x1**2 + x2**2")


@pytest.mark.parametrize("group", [[0, 2], [1, 2]])
@pytest.mark.parametrize("formula, f", [NAMED[0], NAMED[4]])
def test_other_pairs_do_not_act_as_one(formula, f, group, unchecked):
    assert ks.detect_symmetry(f, points(1.0, 2.5), group).verdict == "no"


def test_a_scalar_without_a_name():
    found = ks.detect_symmetry(lambda x: (x[:, 0] + x[:, 1].sin() * x[:, 0] ** 2).exp() * x[:, 2], points(0, 2), [0, 1])
    assert (found.verdict, found.formula) == ("yes", None)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_do_not_matter(factor):
    units = torch.tensor([1e3, 1.0, 1e-3], dtype=torch.float64)
    f, x = NAMED[4][1], points(1.0, 2.5)
    plain = ks.detect_symmetry(f, x, [0, 1], error=1e-3)
    scaled = ks.detect_symmetry(lambda x: factor * f(x / units), x * units, [0, 1], error=1e-3)
    assert scaled.verdict == plain.verdict == "yes"
    assert scaled.formula == plain.formula
    assert scaled.dependence == pytest.approx(plain.dependence, abs=1e-9)


def test_a_rough_error_does_not_hide_a_symmetry():
    """Its gradients are as large as those of the function, its values are not."""

    def rough(x):
        return (x[:, 0] * x[:, 1] + x[:, 2]).sin() + 1e-3 * (60 * x @ torch.tensor([1.0, -0.7, 0.5]).double()).sin()

    found = ks.detect_symmetry(rough, points(-1, 1), [0, 1], error=2e-3)
    assert found.verdict == "yes"


def test_one_input_and_all_inputs_are_trivial():
    f, x = NAMED[0][1], points(-1, 1)
    assert ks.detect_symmetry(f, x, [1]).verdict == ks.detect_symmetry(f, x, [0, 1, 2]).verdict == "yes"


def test_functions_without_gradients():
    def detached(x):
        return ((x[:, 0] - x[:, 1]).sin() * x[:, 2]).detach()

    assert ks.detect_symmetry(detached, points(1, 2), [0, 1], error=1e-4).formula == "x1 - x2"


@pytest.mark.parametrize("group", [[], [0, 0], [3], [-1]])
def test_groups_that_are_none(group):
    with pytest.raises(ConfigError, match="expected different inputs from 0 to 2"):
        ks.detect_symmetry(lambda x: x[:, 0], points(0, 1), group)


def test_reports_are_readable():
    text = repr(ks.detect_symmetry(NAMED[0][1], points(1, 2), [0, 1]))
    assert text.startswith("x1, x2 act through one scalar: yes, x1 - x2")
