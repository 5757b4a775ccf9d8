"""Expressions of real quantities in bounded time and of bounded size."""

import time

import pytest
import sympy

from kansci.errors import FormulaError
from kansci.symbolic.build import MAX_SIZE, Builder

x, y = sympy.symbols("x y", real=True)
ONE, TWO, HALF = sympy.Integer(1), sympy.Integer(2), sympy.Rational(1, 2)


def large_sum(builder):
    """More operations than SymPy is shown at once."""
    return builder.add(*(builder.apply(sympy.sin, builder.multiply(sympy.Integer(k), x)) for k in range(1, 8)))


def test_small_expressions_are_those_of_sympy():
    builder = Builder()
    assert builder.finish(builder.add(x, y, x)) == 2 * x + y
    assert builder.finish(builder.multiply(x, y, x, TWO)) == 2 * x**2 * y
    assert builder.finish(builder.power(builder.power(x, TWO), HALF)) == sympy.Abs(x)
    assert builder.finish(builder.apply(sympy.sin, sympy.pi)) == 0
    assert builder.finish(builder.apply(sympy.atan, sympy.tan(x))) == sympy.atan(sympy.tan(x))


def test_large_expressions_are_those_of_sympy():
    builder = Builder()
    result = builder.apply(sympy.exp, builder.multiply(large_sum(builder), builder.power(y, TWO)))
    expected = sympy.exp(sum(sympy.sin(k * x) for k in range(1, 8)) * y**2)
    assert builder.finish(result) == expected
    assert builder.finish(builder.power(result, -ONE)) == 1 / expected


@pytest.mark.parametrize("functions", [(sympy.sin, sympy.cos), (sympy.cos, sympy.sin)])
def test_sums_and_products_are_in_the_order_of_sympy(functions):
    builder = Builder()
    built, expected = [], []
    for function in functions:
        inner = [function(k * x) for k in range(1, 8)]
        built.append(builder.apply(sympy.tanh, builder.add(*inner)))
        expected.append(sympy.tanh(sum(inner)))
    assert builder.finish(builder.add(*built)) == sum(expected)
    assert builder.finish(builder.multiply(*built)) == expected[0] * expected[1]


def test_equal_arguments_combine_and_cancel():
    builder = Builder()
    first, second = large_sum(builder), large_sum(builder)
    assert builder.add(first, builder.multiply(-ONE, second)) == 0
    assert builder.multiply(first, y, builder.power(second, -ONE)) == y
    assert builder.finish(builder.power(builder.power(first, TWO), HALF)) == sympy.Abs(first, evaluate=False)
    assert builder.finish(builder.apply(sympy.log, builder.apply(sympy.exp, first))) == first


def test_arguments_are_real():
    builder = Builder()
    logarithm = builder.apply(sympy.log, large_sum(builder))
    square = builder.power(builder.multiply(logarithm, y, x, x), TWO)
    assert builder.finish(builder.apply(sympy.sqrt, square)).has(sympy.Abs)


def test_time_grows_linearly_with_depth():
    def seconds(depth):
        builder, expression = Builder(), x
        start = time.thread_time()
        for _ in range(depth):
            expression = builder.apply(sympy.tanh, builder.add(builder.multiply(expression, y), ONE))
        builder.finish(expression)
        return time.thread_time() - start

    seconds(5)
    assert seconds(45) < 1


def test_size_is_bounded_though_parts_are_shared():
    builder, expression = Builder(), x
    with pytest.raises(FormulaError, match=str(MAX_SIZE)):
        for _ in range(100):
            expression = builder.apply(lambda u: u / (1 + sympy.exp(-u)), expression)
            builder.finish(expression)


def test_long_constants_become_numbers():
    builder = Builder()
    constant = builder.add(*(builder.power(sympy.Integer(k), HALF) for k in (2, 3, 5, 6, 7, 10, 11, 13, 14, 15)))
    sine = builder.finish(builder.apply(sympy.sin, constant))
    assert isinstance(sine, sympy.Float)
    assert float(sine) == pytest.approx(float(sympy.sin(constant).evalf()), rel=1e-14)


@pytest.mark.parametrize(
    "construct",
    [
        lambda b: b.power(sympy.Integer(0), -ONE),
        lambda b: b.power(sympy.Integer(-2), HALF),
        lambda b: b.apply(sympy.log, sympy.Integer(-1)),
        lambda b: b.apply(sympy.asin, TWO),
        lambda b: b.apply(sympy.exp, sympy.Integer(800)),
        lambda b: b.power(x, sympy.Integer(1001)),
        lambda b: b.power(sympy.Integer(2**1000), sympy.Integer(1000)),
        lambda b: b.power(sympy.Integer(3) * x, sympy.Integer(10**9) * y),
        lambda b: b.multiply(*[sympy.Integer(2**1000)] * 5),
        lambda b: b.add(x, sympy.Integer(2**5000)),
        lambda b: b.add(x, sympy.nan),
    ],
)
def test_what_is_not_finite_and_real_or_too_large_is_refused(construct):
    with pytest.raises(FormulaError):
        construct(Builder())
