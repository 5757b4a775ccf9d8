"""SymPy expressions as MathML Core, the part of MathML that browsers draw.

SymPy's printer makes the tree; here its names are escaped, its numbers rounded, and Bessel functions, cases, powers of
functions and long exponentials are written as on paper.
"""

import re
from html import escape, unescape
from typing import Any

import sympy
from sympy.printing.mathml import MathMLPresentationPrinter

from kansci.report.markup import Markup

DIGITS = 6
LONG = 5  # operations beyond which e^... is written exp(...)
TIMES, APPLY = "⁢", "⁡"  # invisible
THIN_SPACE = '<mspace width="0.17em"></mspace>'
NAMES = {"ExponentialE": "e", "ImaginaryI": "i", "InvisibleTimes": TIMES, "ApplyFunction": APPLY}
KNOWN = frozenset(dir(sympy.functions))
SHORTER = {"log": "ln", "gamma": "Γ", "sign": "sgn", "asin": "arcsin", "acos": "arccos", "atan": "arctan"}
UNNAMED = (sympy.exp, sympy.Abs, sympy.Piecewise)
LEADING = ("mrow", "msup", "msub", "mfrac")


def as_mathml(expression: sympy.Basic, left: sympy.Basic | None = None, *, digits: int = DIGITS) -> Markup:
    """An expression, or an equation, as a MathML element that is a line of its own.

    Args:
        expression: what to show; floating-point numbers are rounded.
        left: what it is equal to.
        digits: of floating-point numbers.

    Returns:
        The element, to be put into an HTML page as it is. Any name of a symbol is safe.

    Example:
        >>> as_mathml(sympy.Symbol("x") ** 2)
        '<math display="block"><msup><mi>x</mi><mn>2</mn></msup></math>'
    """
    printer = _Printer(digits)
    text = _serialize(printer.print(expression))
    if left is not None:
        text = f"<mrow>{_serialize(printer.print(left))}<mo>=</mo>{text}</mrow>"
    return Markup(f'<math display="block">{text}</math>')


def rounded(value: sympy.Float, digits: int) -> str:
    """A floating-point number of so many digits, without zeros at its end."""
    return f"{float(value):.{digits}g}"


class Exponential(sympy.Function):
    """e^x as a name that SymPy takes for no power."""


class _Printer(MathMLPresentationPrinter):
    """SymPy's printer, where it does not write what people do."""

    def __init__(self, digits: int) -> None:
        super().__init__()
        self.digits = digits

    def print(self, expression: Any) -> Any:
        return self._print(expression)

    def leaf(self, tag: str, text: str) -> Any:
        node = self.dom.createElement(tag)
        node.appendChild(self.dom.createTextNode(text))
        return node

    def node(self, tag: str, *children: Any) -> Any:
        node = self.dom.createElement(tag)
        for child in children:
            node.appendChild(child)
        return node

    def applied(self, name: Any, *arguments: Any) -> Any:
        """name(arguments)."""
        inner = [part for own in arguments for part in (self.leaf("mo", ","), self._print(own))][1:]
        brackets = self.node("mrow", self.leaf("mo", "("), *inner, self.leaf("mo", ")"))
        return self.node("mrow", name, self.leaf("mo", APPLY), brackets)

    def _print_Float(self, expr: Any) -> Any:
        mantissa, _, exponent = rounded(expr, self.digits).partition("e")
        sign, mantissa = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
        parts = [self.leaf("mo", "-")] if sign else []
        if exponent:
            power = self.node("msup", self.leaf("mn", "10"), self._print(sympy.Integer(int(exponent))))
            parts += [self.leaf("mn", mantissa), self.leaf("mo", "·"), power]
        else:
            parts.append(self.leaf("mn", mantissa))
        return parts[0] if len(parts) == 1 else self.node("mrow", *parts)

    def _print_Function(self, expr: Any, *_: Any, **__: Any) -> Any:
        return self.applied(self.name(expr), *expr.args)

    _print_log = _print_erf = _print_gamma = _print_Function

    def name(self, expr: Any) -> Any:
        """The name of a function, with its subscript."""
        name = type(expr).__name__
        return self.leaf("mi", SHORTER.get(name, name)) if name in KNOWN else self._print(sympy.Symbol(name))

    def _print_besselj(self, expr: Any) -> Any:
        return self._bessel("J", expr)

    def _print_bessely(self, expr: Any) -> Any:
        return self._bessel("Y", expr)

    def _print_besseli(self, expr: Any) -> Any:
        return self._bessel("I", expr)

    def _print_besselk(self, expr: Any) -> Any:
        return self._bessel("K", expr)

    def _bessel(self, letter: str, expr: Any) -> Any:
        order, argument = expr.args
        return self.applied(self.node("msub", self.leaf("mi", letter), self._print(order)), argument)

    def _print_Heaviside(self, expr: Any) -> Any:
        return self.applied(self.leaf("mi", "Θ"), expr.args[0])

    def _print_Exponential(self, expr: Any) -> Any:
        argument = expr.args[0]
        if sympy.count_ops(argument) > LONG:
            return self.applied(self.leaf("mi", "exp"), argument)
        return self.node("msup", self.leaf("mi", "e"), self._print(argument))

    _print_exp = _print_Exponential

    def _print_Mul(self, expr: Any) -> Any:
        """SymPy's, but e^-x stays above the line of a fraction, and 3.7 is not 37/10."""
        factors: list[Any] = [_plain_factor(own) for own in expr.args]
        return super()._print_Mul(sympy.Mul(*factors, evaluate=False))

    def _print_Rational(self, e: Any) -> Any:
        return self._print_Float(e) if _is_decimal(e) else super()._print_Rational(e)

    def _print_Pow(self, e: Any) -> Any:
        base, exponent = e.as_base_exp()
        simple = (
            isinstance(base, sympy.Function) and len(base.args) == 1 and not isinstance(base, sympy.exp | sympy.Abs)
        )
        if simple and exponent.is_Integer and exponent > 1:
            return self.applied(self.node("msup", self.name(base), self._print(exponent)), *base.args)
        return super()._print_Pow(e)

    def _print_Piecewise(self, expr: Any) -> Any:
        rows = []
        for value, condition in expr.args:
            when = self.leaf("mtext", "otherwise") if condition == sympy.true else self._print(condition)
            rows.append(self.node("mtr", self.node("mtd", self._print(value)), self.node("mtd", when)))
        return self.node("mrow", self.leaf("mo", "{"), self.node("mtable", *rows))


def _plain_factor(factor: Any) -> Any:
    if isinstance(factor, sympy.exp):
        return Exponential(*factor.args)
    return sympy.Float(factor) if factor.is_Rational and _is_decimal(factor) else factor


def _is_decimal(number: Any) -> bool:
    """Whether a fraction is a decimal of few digits, and no half or quarter."""
    return number.q % 10 == 0 and 10**DIGITS % number.q == 0 and abs(number.p) < 10**DIGITS


def _serialize(node: Any) -> str:
    """The tree as text, all names escaped, with a dot between factors where the second begins with a number."""
    if node.nodeType == node.TEXT_NODE:
        return escape(_plain(node.data))
    parts = []
    for child in node.childNodes:
        text = _serialize(child)
        if text == f"<mo>{TIMES}</mo>" and _begins_with_number(child.nextSibling):
            text = "<mo>·</mo>"
        elif text == f"<mo>{TIMES}</mo>" and _begins_with_word(child.nextSibling):
            text += THIN_SPACE
        parts.append(text)
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in node.attributes.items())
    return f"<{node.tagName}{attributes}>{''.join(parts)}</{node.tagName}>"


def _plain(text: str) -> str:
    """Characters instead of their names."""
    for name, character in NAMES.items():
        text = text.replace(f"&{name};", character)
    text = unescape(text) if re.fullmatch(r"&#?\w+;", text) else text
    return re.sub(r"^-(?=[\d.]*$)", "−", text)


def _begins_with_number(node: Any) -> bool:
    first = _first_leaf(node)
    return first is not None and first.tagName == "mn"


def _begins_with_word(node: Any) -> bool:
    """As sin and exp do."""
    first = _first_leaf(node)
    return first is not None and first.tagName == "mi" and len(_plain(first.firstChild.data)) > 1


def _first_leaf(node: Any) -> Any:
    while node is not None and node.tagName in LEADING:
        node = node.firstChild
    return node
