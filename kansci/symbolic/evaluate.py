"""From SymPy expressions to functions of tensors."""

import operator
from collections.abc import Callable, Sequence
from functools import cache, reduce
from itertools import permutations
from math import isfinite, nan
from typing import Any, TypeVar

import numpy as np
import sympy
import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import FormulaError, ShapeError
from kansci.functions import LIBRARY, Function

Values = TypeVar("Values", Tensor, np.ndarray)
Scalar = Tensor | float
Operation = Callable[..., Scalar]
Step = tuple[Operation, tuple[int, ...]]


def torch_function(expression: sympy.Expr, names: Sequence[str]) -> Callable[[Values], Values]:
    """The function of tensors, or of NumPy arrays, that a SymPy expression stands for.

    The expression is translated once, into one torch operation for each distinct subexpression; constant
    parts become numbers. Autograd, `vmap` and `torch.func` apply to the function.

    Args:
        expression: An expression of numbers, variables, sums, products, powers, Max, Min, atan2 and functions of
            LIBRARY.
        names: The variables, one for each column of the argument.

    Returns:
        A function of x (n, d), of any floating dtype, whose n values have the same dtype; of an array, an array.

    Raises:
        FormulaError: The expression contains another variable, a function that LIBRARY does not have, or a
            constant that is not finite and real.

    Example:
        >>> x, y = sympy.symbols("x y", real=True)
        >>> torch_function(x**2 + sympy.exp(y), ["x", "y"])(torch.tensor([[3.0, 0.0]]))
        tensor([10.])
    """
    d = len(names)
    translation = _Translation(names)
    steps, result = translation.steps, translation.place(expression)

    def evaluate(x: Values) -> Values:
        return compute(torch.from_numpy(x)).numpy() if isinstance(x, np.ndarray) else compute(x)

    def compute(x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        if x.ndim == 0 or x.shape[-1] != d:
            raise ShapeError(f"expected x of shape (n, {d}), its columns {list(names)}, got {tuple(x.shape)}")
        values: list[Scalar] = [x[..., column] for column in range(d)]
        for operation, operands in steps:
            values.append(operation(*(values[operand] for operand in operands)))
        value = values[result]
        return value if isinstance(value, Tensor) else x.new_full(x.shape[:-1], value)

    return evaluate


def constant_value(expression: sympy.Basic) -> float:
    """The value of an expression without variables, in double precision.

    Raises:
        FormulaError: The expression, or a part of it, is not finite and real.

    Example:
        >>> constant_value(sympy.sqrt(2) / 2)
        0.7071067811865476
    """
    if isinstance(expression, sympy.Number | sympy.NumberSymbol):
        value = float(expression)
    elif expression.args:
        operation, operands = _operation(expression)
        values = {part: constant_value(part) for part in (*expression.args, *operands)}
        value = float(operation(*(torch.tensor(values[part], dtype=torch.float64) for part in operands)))
    else:
        value = nan
    if not isfinite(value):
        shown = value if isinstance(expression, sympy.Number) else expression
        raise FormulaError(f"expected constants that are finite and real, got {shown}")
    return value


def library_call(application: sympy.Basic) -> tuple[Function, sympy.Basic]:
    """The function f of LIBRARY and the argument u for which an expression has the form of f(u) in SymPy.

    Raises:
        FormulaError: There is none.

    Example:
        >>> function, argument = library_call(sympy.besselj(0, sympy.Symbol("x") + 2))
        >>> function.name, argument
        ('j0', x + 2)
    """
    call = find_call(application)
    if call is None:
        name = application.func.__name__
        raise FormulaError(f"expected functions of the library, got {name} in {application}; see register_function")
    return call


def find_call(part: sympy.Basic) -> tuple[Function, sympy.Basic] | None:
    """The same, None if there is none; where there are several the one with the longest form.

    Example:
        >>> function, argument = find_call(1 / (1 + sympy.exp(3 - sympy.Symbol("x"))))
        >>> function.name, argument
        ('sigmoid', x - 3)
    """
    calls = [(row, _argument(_form(row), part)) for row in LIBRARY.values() if _form(row).func == part.func]
    found = [(row, argument) for row, argument in calls if argument is not None]
    return max(found, key=lambda call: _form(call[0]).count_ops(), default=None)


def library_row(application: sympy.Basic) -> Function:
    """The function of LIBRARY whose SymPy expression is this application of a function, see `library_call`.

    Raises:
        FormulaError: There is none.

    Example:
        >>> library_row(sympy.Abs(sympy.Symbol("x"))).name
        'abs'
    """
    return library_call(application)[0]


_ARGUMENT = sympy.Dummy(real=True)


@cache
def _form(row: Function) -> sympy.Basic:
    return row.sympy(_ARGUMENT)


def _argument(form: sympy.Basic, part: sympy.Basic, known: sympy.Basic | None = None) -> sympy.Basic | None:
    """What stands in a part of an expression where the argument stands in a form, if they are equal elsewhere."""
    if form in (_ARGUMENT, -_ARGUMENT):
        found = part if form == _ARGUMENT else _negative(part)
        return found if known in (None, found) else None
    if form.func != part.func or len(form.args) != len(part.args):
        return None
    orders = permutations(part.args) if isinstance(form, _SYMMETRIC) else [part.args]
    matches = (_common_argument(form.args, order, known) for order in orders)
    return next((found for found in matches if found is not None), None)


def _common_argument(
    forms: Sequence[sympy.Basic], parts: Sequence[sympy.Basic], known: sympy.Basic | None
) -> sympy.Basic | None:
    for form, part in zip(forms, parts, strict=True):
        if form.has(_ARGUMENT):
            known = _argument(form, part, known)
            if known is None:
                return None
        elif form != part:
            return None
    return known


def _negative(part: Any) -> sympy.Basic:
    return -part


_SYMMETRIC = (sympy.Add, sympy.Mul, sympy.Max)


def _operation(expression: sympy.Basic) -> tuple[Operation, Sequence[sympy.Basic]]:
    """The torch operation at the root of an expression, and the parts whose values it takes."""
    if isinstance(expression, sympy.Add):
        return _sum, expression.args
    if isinstance(expression, sympy.Mul):
        return _product, expression.args
    if isinstance(expression, sympy.Pow):
        return operator.pow, expression.args
    try:
        function, argument = library_call(expression)
    except FormulaError:
        if expression.func in _SEVERAL:
            return _SEVERAL[expression.func], expression.args
        raise
    return function, (argument,)


def _sum(*terms: Scalar) -> Scalar:
    return reduce(lambda a, b: a + b, terms)


def _product(*factors: Scalar) -> Scalar:
    return reduce(lambda a, b: a * b, factors)


def _of_tensors(operation: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    """An operation on two or more values of which at least one is a tensor."""

    def apply(*values: Scalar) -> Tensor:
        like = next(value for value in values if isinstance(value, Tensor))
        return reduce(operation, (v if isinstance(v, Tensor) else torch.full_like(like, v) for v in values))

    return apply


_SEVERAL: dict[Any, Operation] = {
    sympy.Max: _of_tensors(torch.maximum),
    sympy.Min: _of_tensors(torch.minimum),
    sympy.atan2: _of_tensors(torch.atan2),
}


class _Translation:
    """The steps that compute an expression, each from the columns of x and the results of earlier steps."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.steps: list[Step] = []
        self.places: dict[sympy.Basic, int] = {}

    def place(self, part: sympy.Basic) -> int:
        """Where the value of a part of the expression stands in the list of columns and results."""
        if part not in self.places:
            self.places[part] = self._column(part) if isinstance(part, sympy.Symbol) else self._append(part)
        return self.places[part]

    def _column(self, symbol: sympy.Symbol) -> int:
        if symbol.name not in self.names:
            raise FormulaError(f"expected an expression of {', '.join(self.names)}, got {symbol.name}; add it to names")
        return self.names.index(symbol.name)

    def _append(self, part: sympy.Basic) -> int:
        if part.free_symbols:
            operation, operands = _operation(part)
            step = (operation, tuple(map(self.place, operands)))
        else:
            value = constant_value(part)
            step = (lambda: value, ())
        self.steps.append(step)
        return len(self.names) + len(self.steps) - 1
