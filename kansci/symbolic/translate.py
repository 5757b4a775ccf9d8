"""From SymPy expressions to graphs.

Equal parts are one node. A node takes at most one edge from each node of the column before, so terms of a sum
that would share an edge, as in sin(5*x) + cos(3*x), become nodes of their own first.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import exp, isfinite, log, prod
from typing import NamedTuple

import sympy
import torch

from kansci.errors import ConfigError, FormulaError
from kansci.functions import Function, library_function, power_function
from kansci.symbolic.evaluate import constant_value, find_call
from kansci.symbolic.graph import Graph, Input, Node, Product, Sum, Term
from kansci.symbolic.identities import rewritten
from kansci.symbolic.parse import parse_formula

Formula = str | sympy.Expr


def build_graph(formulas: Formula | Sequence[Formula], names: Sequence[str], products: str = "nodes") -> Graph:
    """The graph of one or several formulas.

    Args:
        formulas: as text or as SymPy expressions.
        names: the variables; the inputs in this order, whether a formula contains them or not.
        products: "nodes", "squares" or "exp-log", see `kanpile`.

    Returns:
        The graph, one output for each formula.

    Raises:
        FormulaError: a formula cannot be read, or has a part that cannot be compiled.

    Example:
        >>> graph = build_graph("exp(sin(x) + y**2)", ["x", "y"])
        >>> graph.columns
        [[0, 1], [2], [3]]
        >>> graph.nodes[3]
        Sum(terms=(Term(function='exp', source=2, a=1.0, b=0.0, c=1.0),), bias=0.0)
    """
    if isinstance(names, str) or not names or len(set(names)) < len(names):
        raise FormulaError(f"expected a list of names that differ, one for each input, got {names!r}")
    several = as_list(formulas)
    if not several:
        raise FormulaError("expected at least one formula, got none")
    if products not in _PRODUCTS:
        raise ConfigError(f"expected products to be one of {', '.join(map(repr, _PRODUCTS))}, got {products!r}")
    builder = _GraphBuilder(names, _PRODUCTS[products])
    try:
        outputs = [builder.output(_read(formula, names)) for formula in several]
    except RecursionError:
        raise FormulaError("expected a simpler formula; this one has too many parts inside one another") from None
    return Graph(tuple(builder.nodes), tuple(outputs))


def as_list(formulas: Formula | Sequence[Formula]) -> list[Formula]:
    """One or several formulas as a list."""
    if isinstance(formulas, str) or not isinstance(formulas, Sequence):
        return [formulas]
    return list(formulas)


def _read(formula: Formula, names: Sequence[str]) -> sympy.Expr:
    if isinstance(formula, str):
        return parse_formula(formula, names)
    if not isinstance(formula, sympy.Expr):
        raise FormulaError(f"expected a formula as text or as a SymPy expression, got {type(formula).__name__}")
    return formula


class _GraphBuilder:
    """Collects the nodes of expressions; equal ones are one node."""

    def __init__(self, names: Sequence[str], products: "_Products") -> None:
        self.nodes: list[Node] = []
        self._products = products
        self._numbers: dict[Node, int] = {}
        self._sums: dict[sympy.Basic, Sum] = {}
        self._constant: dict[sympy.Basic, bool] = {}
        for name in names:
            self.number(Input(name))

    def number(self, node: Node) -> int:
        """The number of a node, a new one unless there is an equal node."""
        if node not in self._numbers:
            self._numbers[node] = len(self.nodes)
            self.nodes.append(node)
        return self._numbers[node]

    def output(self, expression: sympy.Expr) -> int:
        """The number of the node whose value is the expression."""
        total = self.sum(expression)
        match total.terms:
            case (Term("x", source, c=1.0),) if total.bias == 0 and isinstance(self.nodes[source], Product):
                return source
        return self.number(self._apart(total))

    def sum(self, part: sympy.Basic) -> Sum:
        """A part of an expression as a sum of terms."""
        if part not in self._sums:
            self._sums[part] = self._translate(part)
        return self._sums[part]

    def _translate(self, part: sympy.Basic) -> Sum:
        if self._is_constant(part):
            return Sum((), constant_value(part))
        if isinstance(part, sympy.Symbol):
            return Sum((Term("x", self._input(part)),))
        call = find_call(part)
        if call is not None:
            return self._apply(call[0], self.sum(call[1]), part)
        match part:
            case sympy.Add():
                return _total(map(self.sum, part.args))
            case sympy.Mul():
                return self._multiple(part)
            case sympy.Pow():
                return self._power(part)
        identity = rewritten(part)
        if identity is None:
            raise _unsupported(part)
        return self.sum(identity)

    def _multiple(self, part: sympy.Mul) -> Sum:
        """A product; only its factors other than a number may be the form of a function."""
        number, rest = part.as_coeff_Mul()
        if number != 1 and not isinstance(rest, sympy.Add):
            return self.sum(rest).scaled(constant_value(number))
        return self._product([self.sum(factor) for factor in _factors(part)], self._products.plain)

    def _is_constant(self, part: sympy.Basic) -> bool:
        if part not in self._constant:
            is_symbol = isinstance(part, sympy.Symbol)
            self._constant[part] = not is_symbol and all(map(self._is_constant, part.args))
        return self._constant[part]

    def _input(self, symbol: sympy.Symbol) -> int:
        number = self._numbers.get(Input(symbol.name))
        if number is None:
            raise FormulaError(f"expected a formula of {_names(self.nodes)}, got {symbol.name}; add it to names")
        return number

    def _product(self, sums: Iterable[Sum], multiply: "Multiply") -> Sum:
        constant, factors = 1.0, []
        for factor in sums:
            if factor.terms:
                factors.append(factor)
            else:
                constant *= factor.bias
        if not factors:
            return Sum((), constant)
        product = factors[0] if len(factors) == 1 else multiply(self, factors)
        return product.scaled(constant)

    def _power(self, part: sympy.Pow) -> Sum:
        base, exponent = part.args
        if self._is_constant(exponent):
            try:
                function = power_function(constant_value(exponent))
            except ConfigError as error:
                raise FormulaError(f"cannot compile {_shown(part)}: {error}") from None
            return self._apply(function, self.sum(base), part)
        if not self._is_constant(base):
            factors = [self.sum(exponent), self.logarithm(self.sum(base))]
            inner = self._product(factors, self._products.in_exponents)
        elif constant_value(base) > 0:
            inner = self.sum(exponent).scaled(log(constant_value(base)))
        else:
            raise _unsupported(part)
        return self._apply(library_function("exp"), inner, part)

    def multiplication_node(self, factors: Sequence[Sum]) -> Sum:
        """A product as a node of as many factors."""
        return Sum((Term("x", self.number(Product(tuple(map(self._apart, factors))))),))

    def applied(self, name: str, inner: Sum) -> Sum:
        """A function of a sum that is no constant."""
        return Sum((Term(name, *self._source(inner)),))

    def logarithm(self, inner: Sum) -> Sum:
        """log of a positive sum that is no constant; of exponentials and powers, what they are made of."""
        first = inner.terms[0]
        if inner == Sum((first._replace(c=1.0),)):
            argument = Sum((Term("x", first.source, c=first.a),), first.b)
            exponent = _exponent(first.function)
            if first.function == "exp":
                return argument
            if exponent not in (None, 1):
                return self.applied("log", argument).scaled(exponent)
        return self.applied("log", inner)

    def _apply(self, function: Function, inner: Sum, part: sympy.Basic) -> Sum:
        if function.name == "x":
            return inner
        if not inner.terms:
            value = float(function(torch.tensor(inner.bias, dtype=torch.float64)))
            if not isfinite(value):
                raise FormulaError(f"expected parts that are finite and real, got {_shown(part)} = {value}")
            return Sum((), value)
        return Sum((Term(function.name, *self._source(inner)),))

    def _source(self, inner: Sum) -> tuple[int, float, float]:
        """A node and numbers a and b such that the sum is a * node + b."""
        term = inner.terms[0]
        if len(inner.terms) > 1:
            return self.number(self._apart(Sum(inner.terms))), 1.0, inner.bias
        if term.function == "x":
            return term.source, term.c, inner.bias
        return self.number(Sum((term._replace(c=1.0),))), term.c, inner.bias

    def _apart(self, total: Sum) -> Sum:
        """The same sum with at most one term of each source; the others become nodes first."""
        uses = Counter(total.sources)
        if max(uses.values(), default=0) < 2:
            return total
        terms = [
            Term("x", self.number(Sum((term._replace(c=1.0),))), c=term.c) if uses[term.source] > 1 else term
            for term in total.terms
        ]
        return self._apart(Sum(tuple(terms), total.bias))


Multiply = Callable[[_GraphBuilder, Sequence[Sum]], Sum]


def _by_squares(builder: _GraphBuilder, factors: Sequence[Sum]) -> Sum:
    """u v = ((u + v)^2 - (u - v)^2) / 4, from the first factor on."""
    product = factors[0]
    for factor in factors[1:]:
        both = [_total([product, factor.scaled(sign)]) for sign in (1.0, -1.0)]
        squares = [builder.applied("x**2", each) if each.terms else Sum((), each.bias**2) for each in both]
        product = _total([squares[0].scaled(0.25), squares[1].scaled(-0.25)])
    return product


def _by_logarithms(builder: _GraphBuilder, factors: Sequence[Sum]) -> Sum:
    """A product of positive factors as the exponential of the sum of their logarithms."""
    constants = [factor.terms[0].c if factor.bias == 0 and len(factor.terms) == 1 else 1.0 for factor in factors]
    pairs = zip(factors, constants, strict=True)
    total = _total([builder.logarithm(factor.scaled(1 / constant)) for factor, constant in pairs])
    product = builder.applied("exp", total) if total.terms else Sum((), exp(total.bias))
    return product.scaled(prod(constants))


def _exponent(name: str) -> float | None:
    """p if the function is x**p with a sign that determines that of x, else None."""
    base, exponent = library_function(name).sympy(_ARGUMENT).as_base_exp()
    return float(exponent) if base == _ARGUMENT and not exponent.is_even else None


_ARGUMENT = sympy.Symbol("x", real=True)


class _Products(NamedTuple):
    """How to multiply sums, in general and in the exponent of x**y, where log x may be negative."""

    plain: Multiply
    in_exponents: Multiply


_PRODUCTS = {
    "nodes": _Products(_GraphBuilder.multiplication_node, _GraphBuilder.multiplication_node),
    "squares": _Products(_by_squares, _by_squares),
    "exp-log": _Products(_by_logarithms, _by_squares),
}


def _total(sums: Iterable[Sum]) -> Sum:
    """The sum of sums; equal functions of equal arguments are collected, and what cancels is dropped."""
    weights: dict[Term, float] = defaultdict(float)
    bias = 0.0
    for part in sums:
        bias += part.bias
        for term in part.terms:
            weights[term._replace(c=1.0)] += term.c
    return Sum(tuple(term._replace(c=c) for term, c in weights.items() if c != 0), bias)


def _factors(part: sympy.Basic) -> list[sympy.Basic]:
    if not isinstance(part, sympy.Mul):
        return [part]
    return [factor for argument in part.args for factor in _factors(argument)]


def _unsupported(part: sympy.Basic) -> FormulaError:
    return FormulaError(
        f"cannot compile {_shown(part)}: expected sums, products, quotients, powers with a number as exponent"
        " or a positive number as base, and functions of one variable in the library; see register_function"
    )


def _shown(part: sympy.Basic) -> str:
    text = str(part)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _names(nodes: Iterable[Node]) -> str:
    return ", ".join(node.name for node in nodes if isinstance(node, Input))
