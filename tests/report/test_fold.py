"""Long formulas in terms of named parts."""

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from kansci.report.fold import PART, SHORT, fold

x, y, z = NAMES = sympy.symbols("x y z", real=True)
sums = st.recursive(
    st.sampled_from([*NAMES, sympy.Integer(2), sympy.Rational(1, 3)]),
    lambda parts: st.one_of(
        st.builds(sympy.Add, parts, parts), st.builds(sympy.Mul, parts, parts), st.builds(sympy.sin, parts)
    ),
    max_leaves=40,
)


def size(expression) -> int:
    return int(sympy.count_ops(expression))


@given(st.lists(sums, min_size=1, max_size=3))
def test_names_stand_for_what_was_there(formulas):
    folded = fold(formulas)
    assert folded.unfolded() == tuple(formulas)
    known = set(NAMES)
    for name, part in folded.parts.items():
        assert part.free_symbols <= known
        known.add(name)


def test_short_formulas_are_left_as_they_are():
    formula = sympy.exp(sympy.sin(sympy.pi * x) + y**2)
    assert fold([formula]).formulas == (formula,) and not fold([formula]).parts


def test_modules_become_parts():
    first = sum(sympy.sin(k * x + k) for k in range(1, 5))
    second = sum(sympy.cos(k * y + k) for k in range(1, 5))
    folded = fold([first * sympy.exp(second)])
    assert set(folded.parts.values()) == {first, second}
    assert size(folded.formulas[0]) < PART < SHORT


def test_repeated_parts_have_one_name():
    square = x**2 + y**2
    shared = sympy.sqrt(square)
    folded = fold([sympy.sin(shared) / shared + sympy.exp(-shared) * z, sympy.cos(shared) + x * y * z + sympy.log(z)])
    assert list(folded.parts.values()) == [square]
    assert not folded.formulas[0].has(x, y)


@pytest.mark.parametrize("taken", ["g1", "g_2"])
def test_names_are_new(taken):
    own = sympy.Symbol(taken)
    folded = fold([sympy.sin(sum(sympy.sin(k * own + x) for k in range(1, 8))) + own])
    assert folded.parts and own not in folded.parts
