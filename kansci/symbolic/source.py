"""Formulas as source code of other languages, by SymPy's printers."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import sympy
from sympy.functions.elementary.miscellaneous import Max, Min
from sympy.functions.elementary.piecewise import ExprCondPair
from sympy.printing.c import C99CodePrinter
from sympy.printing.codeprinter import CodePrinter
from sympy.printing.fortran import FCodePrinter
from sympy.printing.julia import JuliaCodePrinter
from sympy.printing.numpy import SciPyPrinter

from kansci.errors import ConfigError, FormulaError
from kansci.symbolic.evaluate import constant_value, find_call
from kansci.symbolic.parse import symbols_of

LARGEST_INTEGER = 2**31 - 1
DIGITS = 17


def source_code(
    expressions: sympy.Expr | Sequence[sympy.Expr], names: Sequence[str], *, language: str, function: str = "f"
) -> str:
    """Expressions as a function in another language.

    Parts that occur more than once are computed once. Numbers are in double precision. Several outputs are written
    to an array (C, Fortran) or returned together (Julia, NumPy). C needs the library m, Julia the package
    SpecialFunctions where special functions occur, and NumPy SciPy.

    Args:
        expressions: one or several, of real variables.
        names: the variables, the arguments of the function in this order.
        language: "c" (C99), "fortran" (2008), "julia", "numpy", or "latex" for one equation for each output.
        function: its name.

    Returns:
        The source code.

    Raises:
        FormulaError: an expression has another variable, or a function that the language lacks, which the message
            names; or the name of a variable is that of a function that the code calls.
        ConfigError: the language is none of these.

    Example:
        >>> x, y = sympy.symbols("x y", real=True)
        >>> print(source_code(sympy.sin(x) * y**2 + sympy.sin(x), ["x", "y"], language="c"))
        #include <math.h>
        <BLANKLINE>
        double f(double x, double y)
        {
            const double t1 = sin(x);
            return t1*pow(y, 2) + t1;
        }
        <BLANKLINE>
    """
    if language not in ("latex", *_LANGUAGES):
        raise ConfigError(f"expected a language out of {', '.join(('latex', *_LANGUAGES))}, got {language!r}")
    several = [expressions] if isinstance(expressions, sympy.Expr) else list(expressions)
    known = symbols_of([*names, function])
    unknown = {s.name for each in several for s in each.free_symbols if isinstance(s, sympy.Symbol)} - set(names)
    if unknown or not several:
        raise FormulaError(f"expected expressions of {', '.join(names)}, got {sorted(unknown) or 'none'}")
    if language == "latex":
        return _equations(several, [known[name] for name in names], function)
    return _program(several, [sympy.Symbol(name, real=True) for name in names], _LANGUAGES[language], function)


def _equations(expressions: Sequence[sympy.Expr], symbols: Sequence[sympy.Symbol], function: str) -> str:
    arguments = ", ".join(map(sympy.latex, symbols))
    labels = [function] if len(expressions) == 1 else [f"{function}_{{{k}}}" for k in range(1, len(expressions) + 1)]
    pairs = zip(labels, expressions, strict=True)
    return "".join(f"{label}({arguments}) = {sympy.latex(expression)}\n" for label, expression in pairs)


class _Body(NamedTuple):
    """What a function is made of, as text.

    Attributes:
        name: of the function.
        arguments: names of its arguments.
        steps: names and values of intermediate results.
        results: the values of the outputs.
        values: a name for all of them.
    """

    name: str
    arguments: list[str]
    steps: list[tuple[str, str]]
    results: list[str]
    values: str


@dataclass(frozen=True)
class _Language:
    """How to print expressions and functions.

    Attributes:
        title: the name of the language.
        printer: makes a printer of expressions.
        functions: what it calls functions of LIBRARY that the printer does not know or not by their best name.
        layout: the source code of a function.
        forms: how it expresses others which the printer gets wrong, by their class.
    """

    title: str
    printer: Callable[[], CodePrinter]
    functions: Mapping[str, str]
    layout: Callable[[_Body, CodePrinter], str]
    forms: Mapping[Any, Callable[..., Any]] = field(default_factory=dict)


def _program(
    expressions: Sequence[sympy.Expr], symbols: Sequence[sympy.Symbol], language: _Language, function: str
) -> str:
    done: dict[sympy.Basic, Any] = {}
    prepared = [_prepared(expression, language, done) for expression in expressions]
    taken = {function.lower(), *(symbol.name.lower() for symbol in symbols)}
    steps, results = sympy.cse(prepared, symbols=map(_real_symbol, _free("t", taken)))
    printer = language.printer()
    arguments = [_printed(symbol, printer, language) for symbol in symbols]
    lines = [(symbol.name, _printed(value, printer, language)) for symbol, value in steps]
    values = [_printed(result, printer, language) for result in results]
    body = _Body(function, arguments, lines, values, next(_free("values", taken, start=0)))
    _check_names(body)
    return language.layout(body, printer)


def _free(prefix: str, taken: Collection[str], *, start: int = 1) -> Iterator[str]:
    """Numbered names that are not taken, the prefix itself for 0."""
    return (name for name in (f"{prefix}{k or ''}" for k in count(start)) if name not in taken)


def _check_names(body: _Body) -> None:
    """Refuse names that hide a function which is called."""
    texts = [*(value for _, value in body.steps), *body.results]
    called = {name for text in texts for name in re.findall(r"\b(\w+)\(", text)}
    clashes = sorted(called & {*body.arguments, body.name})
    if clashes:
        raise FormulaError(f"expected names other than those of functions that the code calls, got {clashes}; rename")


def _real_symbol(name: str) -> sympy.Symbol:
    return sympy.Symbol(name, real=True)


def _prepared(part: Any, language: _Language, done: dict[sympy.Basic, Any]) -> Any:
    """The same in terms of functions that the language has, constants in double precision."""
    if part not in done:
        done[part] = _rewritten(part, language, done)
    return done[part]


def _rewritten(part: Any, language: _Language, done: dict[sympy.Basic, Any]) -> Any:
    if isinstance(part, sympy.Expr) and not part.free_symbols:
        small = isinstance(part, sympy.Rational) and max(abs(part.p), part.q) <= LARGEST_INTEGER
        return part if small else sympy.Float(constant_value(part), DIGITS)
    call = find_call(part)
    if call is not None and call[0].name in language.functions:
        return sympy.Function(language.functions[call[0].name])(_prepared(call[1], language, done))
    inner = [_prepared(argument, language, done) for argument in part.args]
    if part.func in language.forms:
        return language.forms[part.func](*inner)
    return part if not inner or tuple(inner) == part.args else part.func(*inner)


def _printed(expression: Any, printer: Any, language: _Language) -> str:
    _, missing, text = printer.doprint(expression)
    if missing:
        names = ", ".join(sorted({part.func.__name__ for part in missing}))
        raise FormulaError(f"{language.title} has no function {names}; expected others, or another language")
    return text


def _c(body: _Body, printer: CodePrinter) -> str:
    arguments = [f"double {name}" for name in body.arguments]
    steps = [f"const double {name} = {value};" for name, value in body.steps]
    if len(body.results) == 1:
        kind, results = "double", [f"return {body.results[0]};"]
    else:
        kind, results = "void", [f"{body.values}[{k}] = {value};" for k, value in enumerate(body.results)]
        arguments.append(f"double {body.values}[{len(body.results)}]")
    lines = _indented([*steps, *results])
    return f"#include <math.h>\n\n{kind} {body.name}({', '.join(arguments) or 'void'})\n{{\n{lines}}}\n"


def _fortran(body: _Body, printer: CodePrinter) -> str:
    n, out = len(body.results), body.values
    kind, arguments = ("function", body.arguments) if n == 1 else ("subroutine", [*body.arguments, out])
    declared = [f"double precision, intent(in) :: {name}" for name in body.arguments]
    declared.append(f"double precision :: {out}" if n == 1 else f"double precision, intent(out) :: {out}({n})")
    declared += [f"double precision :: {name}" for name, _ in body.steps]
    targets = [out] if n == 1 else [f"{out}({k})" for k in range(1, n + 1)]
    assigned = [f"{name} = {value}" for name, value in [*body.steps, *zip(targets, body.results, strict=True)]]
    head = f"pure {kind} {body.name}({', '.join(arguments)})" + (f" result({out})" if n == 1 else "")
    return f"{head}\n{_indented(['implicit none', *declared, *assigned])}end {kind} {body.name}\n"


def _julia(body: _Body, printer: CodePrinter) -> str:
    lines = [*(f"{name} = {value}" for name, value in body.steps), f"return {', '.join(body.results)}"]
    source = f"function {body.name}({', '.join(body.arguments)})\n{_indented(lines)}end\n"
    return f"using SpecialFunctions\n\n{source}" if re.search(r"\b(erfc?|gamma|bessel\w+)\(", source) else source


def _numpy(body: _Body, printer: Any) -> str:
    modules = "".join(f"import {module}\n" for module in sorted({"numpy", *printer.module_imports}))
    lines = [*(f"{name} = {value}" for name, value in body.steps), f"return {', '.join(body.results)}"]
    return f"{modules}\n\ndef {body.name}({', '.join(body.arguments)}):\n{_indented(lines)}"


def _indented(lines: Sequence[str]) -> str:
    return "".join(f"    {line}\n" for text in lines for line in text.splitlines())


def _printer(kind: Callable[[dict[str, Any]], CodePrinter], names: Iterable[str], **settings: Any) -> Any:
    """What makes a printer that knows further functions."""
    return lambda: kind({"human": False, "user_functions": {name: name for name in names}, **settings})


def _real(number: Any) -> Any:
    """A number as Fortran needs it beside others in merge and max; its zero is else printed as an integer."""
    if not number.is_Rational:
        return number
    return sympy.Float(number) if number else _ZERO


def _maximum(*arguments: Any) -> Any:
    return _MAX(*map(_real, arguments))


def _minimum(*arguments: Any) -> Any:
    return _MIN(*map(_real, arguments))


def _by_sign(u: Any, negative: Any, zero: Any, positive: Any) -> Any:
    inner = _MERGE(_real(negative), _real(zero), sympy.Lt(u, 0, evaluate=False))
    return _MERGE(_real(positive), inner, sympy.Gt(u, 0, evaluate=False))


_ZERO = sympy.Symbol("0.0d0")
_MAX, _MIN, _MERGE = map(sympy.Function, ("max", "min", "merge"))
_ONE = sympy.Integer(1)
_FORTRAN_FORMS = {
    Max: _maximum,
    Min: _minimum,
    ExprCondPair: lambda value, condition: ExprCondPair(sympy.Float(value) if value.is_Rational else value, condition),
    sympy.sign: lambda u: _by_sign(u, -_ONE, 0 * _ONE, _ONE),
    sympy.Heaviside: lambda u, middle: _by_sign(u, 0 * _ONE, middle, _ONE),
    sympy.sinc: lambda u: _MERGE(sympy.sin(u) / u, _real(_ONE), sympy.Ne(u, 0, evaluate=False)),
}
_JULIA_FORMS = {Max: _MAX, Min: _MIN}

_BESSEL = ("j0", "j1", "y0", "y1")
_C = {name: name for name in ("cbrt", "exp2", "lgamma", *_BESSEL)}
_FORTRAN = {
    **{name: name for name in ("asinh", "acosh", "atanh", "erfc", "gamma")},
    **{name: f"bessel_{name}" for name in _BESSEL},
    "lgamma": "log_gamma",
}
_NUMPY = {
    **{name: f"scipy.special.{name}" for name in (*_BESSEL, "i0", "i1", "k0", "k1")},
    "cbrt": "numpy.cbrt",
    "exp2": "numpy.exp2",
    "lgamma": "scipy.special.gammaln",
    "sigmoid": "scipy.special.expit",
}
_EXTREMES = ("max", "min")
_FORTRAN_PRINTER = _printer(
    FCodePrinter, (*_FORTRAN.values(), *_EXTREMES, "merge"), standard=2008, source_format="free"
)
_LANGUAGES = {
    "c": _Language("C", _printer(C99CodePrinter, _C.values()), _C, _c),
    "fortran": _Language("Fortran", _FORTRAN_PRINTER, _FORTRAN, _fortran, _FORTRAN_FORMS),
    "julia": _Language("Julia", _printer(JuliaCodePrinter, _EXTREMES), {}, _julia, _JULIA_FORMS),
    "numpy": _Language("NumPy", _printer(SciPyPrinter, _NUMPY.values()), _NUMPY, _numpy),
}
