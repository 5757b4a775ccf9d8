"""Formulas as text, read into SymPy expressions and never executed."""

import ast
import difflib
import keyword
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial, reduce
from math import isinf

import sympy

from kansci.errors import FormulaError
from kansci.functions import ALIASES, LIBRARY
from kansci.symbolic.build import Builder

MAX_LENGTH = 10_000  # characters
MAX_DEPTH = 100  # brackets, or operators, inside one another


def parse_formula(text: str, names: Sequence[str]) -> sympy.Expr:
    """Read a formula into a SymPy expression.

    A formula consists of numbers, names, + - * / ** (or ^), brackets, the constants pi and E (or e), the
    functions of LIBRARY, also under their other usual names (ln, arcsin, log10, log(x, base), sec, besselj(0, x)
    ...), atan2(y, x), hypot(x, y), and Max and Min of two or more.
    Integers are exact and so are decimals of few digits, 0.25 is 1/4; other decimals are floating-point
    numbers. All quantities are real: cbrt(-8) is -2.

    The text is not executed. Python's own parser makes a syntax tree of it, of which only the kinds of nodes
    that a formula has are accepted. Length (10 000 characters), nesting (100), numeric exponents (1000) and
    the size of numbers are bounded, and SymPy simplifies only what it can in no time, see `Builder`.

    Args:
        text: The formula.
        names: The variables; they win over constants and functions of the same name.

    Returns:
        The expression; its variables are Symbol(name, real=True).

    Raises:
        FormulaError: The text is no formula of these names, exceeds a bound, or has a part that is not finite
            and real, such as 1/0, log(0) or sqrt(-1). The message points at the place.

    Example:
        >>> parse_formula("sin(pi*x) + 0.5*y^2", ["x", "y"])
        y**2/2 + sin(pi*x)
    """
    symbols = symbols_of(names)
    line = _one_line(text)
    _check_brackets(line)
    reader = _Reader(line, symbols)
    try:
        return reader.builder.finish(reader.read(_syntax_tree(line)))
    except (RecursionError, MemoryError):
        raise FormulaError("expected a simpler formula, with fewer parts inside one another") from None


def symbols_of(names: Sequence[str]) -> dict[str, sympy.Symbol]:
    """The real symbol of each name.

    Raises:
        FormulaError: no list of names that differ, of letters, digits and underscores.
    """
    if isinstance(names, str):
        raise FormulaError(f"expected a list of names, got the text {names!r}; write [{names!r}]")
    for name in names:
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or keyword.iskeyword(name):
            raise FormulaError(f"expected names of ASCII letters, digits and _, no keyword of Python, got {name!r}")
    if len(set(names)) < len(names):
        raise FormulaError(f"expected names that differ from each other, got {list(names)}")
    return {name: sympy.Symbol(name, real=True) for name in names}


_NUMBER = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_FORBIDDEN = (
    (r"[^A-Za-z0-9_ .,+\-*/()]", "this character has no meaning in a formula"),
    (r"//", "use a single / to divide"),
    (r"(?<![0-9])\.(?![0-9])", "a point belongs inside a number"),
    (r"\.[0-9]*\.", "a number has one point"),
    (r"[0-9]{400}", "this number has too many digits"),
    (rf"(?<![A-Za-z0-9_.])(?>{_NUMBER})(?=[A-Za-z_])", "put an operator behind this number, as in 2*x"),
    (rf"\b(?:{'|'.join(keyword.kwlist)})\b", "this word is reserved by Python; rename the variable"),
)


def _one_line(text: str) -> str:
    """The text in Python's notation, without line breaks, of none but a formula's characters."""
    if not isinstance(text, str):
        raise FormulaError(f"expected a formula as text, got {type(text).__name__}")
    if not text.strip() or len(text) > MAX_LENGTH:
        raise FormulaError(f"expected a formula of 1 to {MAX_LENGTH} characters, got {len(text.strip())}")
    line = re.sub(r"\s", " ", text, flags=re.ASCII).strip().replace("^", "**")
    for pattern, message in _FORBIDDEN:
        match = re.search(pattern, line)
        if match:
            raise _error(line, match.start(), message)
    return line


def _check_brackets(line: str) -> None:
    opened: list[int] = []
    for bracket in re.finditer(r"[()]", line):
        if bracket[0] == "(":
            opened.append(bracket.start())
        elif opened:
            opened.pop()
        else:
            raise _error(line, bracket.start(), "this bracket closes none")
        if len(opened) > MAX_DEPTH:
            raise _error(line, bracket.start(), f"more than {MAX_DEPTH} brackets inside one another")
    if opened:
        raise _error(line, opened[-1], "this bracket is never closed")


_GRAMMAR = "expected numbers, names, + - * / ** and calls such as sin(x); write products with *"


def _syntax_tree(line: str) -> ast.expr:
    try:
        return ast.parse(line, mode="eval").body
    except SyntaxError as error:
        raise _error(line, max(error.offset or 1, 1) - 1, _GRAMMAR) from None


def _error(line: str, column: int, message: str) -> FormulaError:
    """An error that shows the formula around a column and points at it."""
    start = max(0, column - 60)
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line[start : start + 100])
    return FormulaError(f"{message}\n    {shown}\n    {'^':>{column - start + 1}}")


_CONSTANTS = {"pi": sympy.pi, "E": sympy.E, "e": sympy.E}


def _logarithm(x: sympy.Expr, base: sympy.Expr) -> sympy.Expr:
    if base == 0:
        raise FormulaError("expected a base other than 0")
    return sympy.log(x) / sympy.log(base)


_COMPOSED: dict[tuple[str, int], Callable[..., sympy.Expr]] = {
    ("log", 2): _logarithm,
    ("log2", 1): lambda x: sympy.log(x) / sympy.log(2),
    ("log10", 1): lambda x: sympy.log(x) / sympy.log(10),
    ("sec", 1): lambda x: 1 / sympy.cos(x),
    ("csc", 1): lambda x: 1 / sympy.sin(x),
    ("atan2", 2): sympy.atan2,
    ("hypot", 2): lambda x, y: sympy.sqrt(x**2 + y**2),
}

_EXTREMA = {"Max": sympy.Max, "max": sympy.Max, "Min": sympy.Min, "min": sympy.Min}

_BESSEL = {"besselj": "j", "bessely": "y", "besseli": "i", "besselk": "k"}  # of an order and x; rows j0, j1 ...


@dataclass(frozen=True)
class _Reader:
    """Turns the syntax tree of a formula into an expression, from the leaves up."""

    line: str
    symbols: Mapping[str, sympy.Symbol]
    builder: Builder = field(default_factory=Builder)

    def read(self, node: ast.expr, depth: int = 0) -> sympy.Expr:
        if depth > MAX_DEPTH:
            raise self.error(node, f"more than {MAX_DEPTH} operators inside one another")
        match node:
            case ast.Constant():
                return self.number(node)
            case ast.Name():
                return self.name(node)
            case ast.Call():
                return self.call(node, depth)
            case ast.UnaryOp(op=ast.UAdd()):
                return self.read(node.operand, depth + 1)
            case ast.UnaryOp(op=ast.USub()):
                return self.negative(node.operand, depth + 1)
            case ast.BinOp(op=ast.Add() | ast.Sub()):
                return self.sum(node, depth + 1)
            case ast.BinOp(op=ast.Mult() | ast.Div()):
                return self.product(node, depth + 1)
            case ast.BinOp(op=ast.Pow()):
                return self.power(node, self.read(node.left, depth + 1), self.read(node.right, depth + 1))
        raise self.error(node, _GRAMMAR)

    def number(self, node: ast.Constant) -> sympy.Expr:
        digits = self.line[node.col_offset : node.end_col_offset]
        value, mantissa = float(digits), re.split("[eE]", digits)[0]
        if isinf(value) or (value == 0 and mantissa.strip("0.")):
            raise self.error(node, "this number is outside the range of double precision")
        if value == 0:
            return sympy.Integer(0)
        exact = Fraction(digits)
        if digits.isdigit() or (exact.numerator <= 10**6 and exact.denominator <= 1000):
            return sympy.Rational(exact.numerator, exact.denominator)
        return sympy.Float(digits)

    def name(self, node: ast.Name) -> sympy.Expr:
        known = {**_CONSTANTS, **self.symbols}
        if node.id in known:
            return known[node.id]
        if _arities(node.id):
            raise self.error(node, f"{node.id} is a function; write {node.id}(...)")
        raise self.error(node, _unknown("name", node.id, known))

    def call(self, node: ast.Call, depth: int) -> sympy.Expr:
        if not isinstance(node.func, ast.Name) or node.keywords:
            raise self.error(node, _GRAMMAR)
        name = node.func.id
        if name in self.symbols:
            raise self.error(node, f"{name} is a variable; write {name}*(...)")
        arguments = [self.read(argument, depth + 1) for argument in node.args]
        if name in _EXTREMA and len(arguments) > 1:
            with self.errors_at(node):
                return reduce(partial(self.builder.apply, _EXTREMA[name]), arguments)
        if name in _BESSEL and len(arguments) == 2:
            if arguments[0] not in (0, 1):
                raise self.error(node, f"expected {name}(0, x) or {name}(1, x); no other order is available")
            name = f"{_BESSEL[name]}{arguments.pop(0)}"
        function = _function(name, len(arguments))
        if function is None:
            raise self.error(node, _wrong_call(name, len(arguments)))
        with self.errors_at(node):
            return self.builder.apply(function, *arguments)

    def negative(self, node: ast.expr, depth: int) -> sympy.Expr:
        return self.builder.multiply(sympy.Integer(-1), self.read(node, depth))

    def sum(self, node: ast.BinOp, depth: int) -> sympy.Expr:
        terms = [
            self.negative(operand, depth) if isinstance(operator, ast.Sub) else self.read(operand, depth)
            for operator, operand in _chain(node, (ast.Add, ast.Sub))
        ]
        with self.errors_at(node):
            return self.builder.add(*terms)

    def product(self, node: ast.BinOp, depth: int) -> sympy.Expr:
        factors = []
        for operator, operand in _chain(node, (ast.Mult, ast.Div)):
            factor = self.read(operand, depth)
            inverted = isinstance(operator, ast.Div)
            factors.append(self.power(operand, factor, sympy.Integer(-1)) if inverted else factor)
        with self.errors_at(node):
            return self.builder.multiply(*factors)

    def power(self, node: ast.expr, base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
        with self.errors_at(node):
            return self.builder.power(base, exponent)

    @contextmanager
    def errors_at(self, node: ast.expr) -> Iterator[None]:
        """Let errors from within the block point at the node."""
        try:
            yield
        except FormulaError as error:
            raise self.error(node, str(error)) from None
        except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError) as error:
            raise self.error(node, "SymPy fails on this part") from error

    def error(self, node: ast.expr, message: str) -> FormulaError:
        return _error(self.line, node.col_offset, message)


def _chain(node: ast.expr, kinds: tuple[type[ast.operator], ...]) -> list[tuple[ast.operator | None, ast.expr]]:
    """The operands of a chain such as a - b + c as written, each with the operator before it."""
    operands = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, kinds):
        operands.append((node.op, node.right))
        node = node.left
    return [(None, node), *reversed(operands)]


def _function(name: str, count: int) -> Callable[..., sympy.Expr] | None:
    """The function of that name and number of arguments, from expressions to an expression."""
    row = LIBRARY.get(ALIASES.get(name, name))
    if row is not None and count == 1 and name not in ("x", "zero"):
        return row.sympy
    return _COMPOSED.get((name, count))


def _arities(name: str) -> list[int]:
    if name in _BESSEL or name in _EXTREMA:
        return [2]
    return [count for count in (1, 2) if _function(name, count)]


def _wrong_call(name: str, count: int) -> str:
    if name in _EXTREMA:
        return f"{name} takes 2 or more arguments, got {count}"
    if _arities(name):
        return f"{name} takes {' or '.join(map(str, _arities(name)))} argument(s), got {count}"
    known = {*LIBRARY, *ALIASES, *(composed for composed, _ in _COMPOSED), *_EXTREMA, *_BESSEL}
    return _unknown("function", name, sorted(other for other in known if other.isidentifier() and _arities(other)))


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"unknown {kind} {name[:60]!r}; {hint}known are {', '.join(known)}"
