"""A fuzzer of parse_formula that is guided by coverage: python -m tests.symbolic.fuzz_parse --seconds 600

It changes formulas at random and keeps those that take a new path through the parser, end in a new error or
contain a new function. Whatever the text, the outcome is a FormulaError or a real expression of the given names
whose text is read again as the same function, and either takes at most a second. A text for which this does not
hold is shortened and printed; equal seeds find equal texts.
"""

import argparse
import random
import re
import string
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import sympy
import torch

from kansci.errors import FormulaError
from kansci.functions import ALIASES, LIBRARY
from kansci.symbolic import build, parse
from kansci.symbolic.evaluate import constant_value, torch_function

NAMES = ["x", "y", "S", "I", "beta"]
SECONDS = 1.0
FILES = {parse.__file__, build.__file__}

CALLS = sorted({name for name in [*LIBRARY, *ALIASES] if name.isidentifier() and name not in ("x", "zero")})
BINARY = ["log", "atan2", "hypot", "Max", "Min", "max", "min"]
BESSEL = [f"bessel{kind}({n}, " for kind in "jyik" for n in (0, 1, 2)]
WHOLE = ["0", "1", "2", "3", "7", "-1", "171", "172", "1000", "1001", "999999999999"]
NUMBERS = [*WHOLE, "0.5", ".25", "1e3", "1e-3", "1/3", "0.3333333333", "1e16", "1e300", "1e-300", "1e400"]
OPERATORS = ["+", "-", "*", "/", "**"]
TOKENS = [*NUMBERS, *NAMES, *OPERATORS, "pi", "E", "e", "^", "(", ")", ",", " ", "oo", "nan", "=", ".", "_"]
SEEDS = [
    "x + y",
    "2*x**2 - 3/y",
    "exp(-x**2/2)/sqrt(2*pi)",
    "sin(pi*x) + cos(x)/2",
    "log(x, 2) + ln(y)",
    "Max(x, y, 0) - Min(x, 2)",
    "atan2(y, x) + hypot(x, y)",
    "besselj(0, x)*bessely(1, y)",
    "log(Abs(gamma(x)))",
    "1/(1 + exp(-S*I))",
    "x**(1/3) + cbrt(beta)",
    "2**x + x**y",
    "tan(x + pi/2) + acos(cos(1))",
    "x*" * 60 + "x",
    "sqrt(" * 20 + "x" + ")" * 20,
]

Outcome = tuple[str | None, set]


class Tracer:
    """Collects the arcs between lines of the parser that a call takes."""

    def __init__(self) -> None:
        self.arcs: set = set()

    def __enter__(self) -> "Tracer":
        self.before = sys.gettrace()
        sys.settrace(self.enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self.before)

    def enter(self, frame, event, argument):
        if frame.f_code.co_filename not in FILES:
            return None
        last = frame.f_lineno

        def line(frame, event, argument):
            nonlocal last
            self.arcs.add((frame.f_code.co_name, last, frame.f_lineno, event == "exception"))
            last = frame.f_lineno
            return line

        return line


def examine(text: str, trace: bool = False) -> Outcome:
    """What is wrong with the outcome of parsing a text, None if nothing is; and what is to be seen of it."""
    seen: set = set()
    tracer = Tracer()
    start = time.thread_time()
    try:
        if trace:
            with tracer:
                expression = parse.parse_formula(text, NAMES)
        else:
            expression = parse.parse_formula(text, NAMES)
    except FormulaError as error:
        seen = {("error", re.sub(r"\W.*", "", str(error)[:40]), "\n" in str(error))}
        return slow(start, text, trace), tracer.arcs | seen
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {str(error)[:200]}", tracer.arcs
    seen = {("contains", part.func.__name__) for part in sympy.preorder_traversal(expression) if part.args}
    return slow(start, text, trace) or unsound(expression), tracer.arcs | seen


def slow(start: float, text: str, traced: bool) -> str | None:
    """Whether parsing took too long; tracing takes time itself, so that it is done once more without."""
    seconds = time.thread_time() - start
    if seconds <= SECONDS:
        return None
    if traced:
        sympy.core.cache.clear_cache()
        return examine(text)[0]
    return f"took {seconds:.2f} s"


def unsound(expression: sympy.Expr) -> str | None:
    """What is wrong with an expression that was accepted."""
    if any(str(symbol) not in NAMES or not symbol.is_real for symbol in expression.free_symbols):
        return f"symbols {expression.free_symbols}"
    try:
        for part in sympy.preorder_traversal(expression):
            if isinstance(part, sympy.Expr) and not part.free_symbols:
                constant_value(part)
        torch_function(expression, NAMES)
        text = str(expression)
        again = parse.parse_formula(text, NAMES)
    except FormulaError as error:
        bounds = "characters|inside one another|too long|written out"
        return None if re.search(bounds, str(error)) else f"it or its text is refused: {error}"
    except Exception as error:  # noqa: BLE001
        return f"its text: {type(error).__name__}: {str(error)[:200]}"
    return None if again == expression or agree(expression, again) else f"{text[:300]} is read as {str(again)[:300]}"


def agree(first: sympy.Expr, second: sympy.Expr) -> bool:
    """Whether two expressions have equal values, as far as rounding lets them."""
    points = 0.3 + 2 * torch.rand(8, len(NAMES), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    points = torch.cat([points, -points])
    rounded: Any = first.xreplace({number: sympy.Float(str(number)) for number in first.atoms(sympy.Float)})
    f, g = (torch_function(expression, NAMES) for expression in (rounded, second))
    exact, values = f(points), g(points)
    spread = torch.stack([(f(points * (1 + h)) - exact).abs() for h in (1e-14, -1e-14, 3e-14)]).sum(0)
    usable = exact.isfinite() & values.isfinite() & (spread < 1e-3 * exact.abs())
    tolerance = 1e-9 * (exact.abs() + 1e-12) + 1e3 * spread
    if ((exact - values).abs() <= tolerance)[usable].all():
        return True
    subs: Any = {name: sympy.Rational(7, 5 + 2 * i) for i, name in enumerate(sorted(first.free_symbols, key=str))}
    difference = (rounded - second).evalf(40, subs=subs)
    return bool(abs(difference) <= 1e-9 * (1 + abs(rounded.evalf(40, subs=subs))))


def mutate(text: str, other: str, rng: random.Random) -> str:
    """A text with a few random changes."""
    for _ in range(rng.choice([1, 1, 2, 3, 5])):
        text = rng.choice(CHANGES)(text, other, rng)
    return text[:12_000]


def insert(text: str, other: str, rng: random.Random) -> str:
    at = rng.randint(0, len(text))
    return text[:at] + rng.choice(TOKENS) + text[at:]


def replace(text: str, other: str, rng: random.Random) -> str:
    pieces = list(re.finditer(r"\w+(?:\.\w+)?|\W", text))
    if not pieces:
        return rng.choice(TOKENS)
    piece = rng.choice(pieces)
    return text[: piece.start()] + rng.choice(TOKENS) + text[piece.end() :]


def delete(text: str, other: str, rng: random.Random) -> str:
    start = rng.randint(0, len(text))
    return text[:start] + text[start + rng.choice([1, 1, 2, 5, 20]) :]


def splice(text: str, other: str, rng: random.Random) -> str:
    return text[: rng.randint(0, len(text))] + other[rng.randint(0, len(other)) :]


def operate(text: str, other: str, rng: random.Random) -> str:
    return f"({text}){rng.choice(OPERATORS)}({other})"


def substitute(text: str, other: str, rng: random.Random) -> str:
    name = rng.choice(NAMES[:2])
    return re.sub(rf"\b{name}\b", f"({other[:500]})", text, count=rng.choice([0, 1]))


def call(text: str, other: str, rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.7:
        return f"{rng.choice(CALLS)}({text})"
    if kind < 0.85:
        return f"{rng.choice(BINARY)}({text}, {other})"
    return f"{rng.choice(BESSEL)}{text})"


def number(text: str, other: str, rng: random.Random) -> str:
    values = list(re.finditer(r"[0-9.]+", text))
    if not values:
        return insert(text, other, rng)
    value = rng.choice(values)
    fresh = rng.choice([str(rng.randint(0, 10 ** rng.randint(1, 25))), f"{rng.random():.{rng.randint(1, 17)}g}"])
    return text[: value.start()] + rng.choice([fresh, rng.choice(NUMBERS)]) + text[value.end() :]


def repeat(text: str, other: str, rng: random.Random) -> str:
    start = rng.randint(0, len(text))
    return text[:start] + text[start : start + rng.randint(1, 12)] * rng.choice([2, 3, 10, 60]) + text[start:]


def garble(text: str, other: str, rng: random.Random) -> str:
    at = rng.randint(0, len(text))
    return text[:at] + rng.choice([*string.printable, "\0", "é", "²", "х", "\u202e"]) + text[at:]


Change = Callable[[str, str, random.Random], str]
CHANGES: list[Change] = [insert, replace, delete, splice, operate, substitute, call, call, number, repeat, garble]


def shortened(text: str, seconds: float = 60.0) -> str:
    """A shorter text that still is a finding."""
    deadline, size = time.monotonic() + seconds, max(1, len(text) // 2)
    while time.monotonic() < deadline:
        for start in range(0, len(text), size):
            shorter = text[:start] + text[start + size :]
            sympy.core.cache.clear_cache()
            if examine(shorter)[0]:
                text = shorter
                break
        else:
            if size == 1:
                break
            size //= 2
    return text


def fuzz(seconds: float, seed: int) -> tuple[str | None, int, int]:
    """The first finding, None if there is none, the number of texts tried, and the size of the corpus."""
    warnings.simplefilter("error")
    rng = random.Random(seed)
    deadline = time.monotonic() + seconds
    corpus, seen, queue = [], set(), [*SEEDS, *(f"{name}(x)" for name in CALLS)]
    tried = 0
    while time.monotonic() < deadline:
        text = queue.pop() if queue else mutate(rng.choice(corpus), rng.choice(corpus), rng)
        finding, features = examine(text, trace=True)
        tried += 1
        if finding:
            return text, tried, len(corpus)
        if not features <= seen and len(text) < 2000:
            seen |= features
            corpus.append(text)
    return None, tried, len(corpus)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    finding, tried, kept = fuzz(options.seconds, options.seed)
    print(f"{tried} texts tried, {kept} kept")
    if finding is None:
        return 0
    print(f"found: {finding!r}\n{examine(finding)[0]}")
    short = shortened(finding)
    print(f"shortened: {short!r}\n{examine(short)[0]}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
