"""From SymPy expressions to functions of tensors."""

import operator
from collections.abc import Callable, Sequence
from functools import reduce
from math import isfinite, nan

import sympy
import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import FormulaError, ShapeError
from kansci.functions import ALIASES, LIBRARY, Function

Scalar = Tensor | float
Operation = Callable[..., Scalar]
Step = tuple[Operation, tuple[int, ...]]


def torch_function(
    expression: sympy.Expr, names: Sequence[str]
) -> Callable[[Float[Tensor, "*n d"]], Float[Tensor, "*n"]]:
    """The function of tensors that a SymPy expression stands for.

    The expression is translated once, into one torch operation for each distinct subexpression; constant
    parts become numbers. Autograd, `vmap` and `torch.func` apply to the function.

    Args:
        expression: An expression of numbers, variables, sums, products, powers and functions of LIBRARY.
        names: The variables, one for each column of the argument.

    Returns:
        A function of x (n, d), of any floating dtype, whose n values have the same dtype.

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

    def evaluate(x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
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
        operands = [torch.tensor(constant_value(part), dtype=torch.float64) for part in expression.args]
        value = float(_operation(expression)(*operands))
    else:
        value = nan
    if not isfinite(value):
        shown = value if isinstance(expression, sympy.Number) else expression
        raise FormulaError(f"expected constants that are finite and real, got {shown}")
    return value


def library_row(application: sympy.Basic) -> Function:
    """The function of LIBRARY whose SymPy expression is this application of a function to an argument.

    Raises:
        FormulaError: There is none.

    Example:
        >>> library_row(sympy.Abs(sympy.Symbol("x"))).name
        'abs'
    """
    name = application.func.__name__
    row = LIBRARY.get(ALIASES.get(name, name))
    if row is None or row.sympy(_ARGUMENT) != application.func(_ARGUMENT):
        raise FormulaError(f"expected functions of the library, got {name} in {application}; see register_function")
    return row


_ARGUMENT = sympy.Symbol("x", real=True)


def _operation(expression: sympy.Basic) -> Operation:
    """The torch operation at the root of an expression; it takes the values of the arguments."""
    if isinstance(expression, sympy.Add):
        return _sum
    if isinstance(expression, sympy.Mul):
        return _product
    if isinstance(expression, sympy.Pow):
        return operator.pow
    return library_row(expression)


def _sum(*terms: Scalar) -> Scalar:
    return reduce(lambda a, b: a + b, terms)


def _product(*factors: Scalar) -> Scalar:
    return reduce(lambda a, b: a * b, factors)


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
            step = (_operation(part), tuple(self.place(argument) for argument in part.args))
        else:
            value = constant_value(part)
            step = (lambda: value, ())
        self.steps.append(step)
        return len(self.names) + len(self.steps) - 1
