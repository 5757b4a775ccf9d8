"""The sections of the page."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import sympy

from kansci.nn.dense import DenseNetwork
from kansci.nn.multkan import MultKAN
from kansci.report.findings import describe, drawings, heading_of
from kansci.report.fold import fold
from kansci.report.graphics import draw_figure
from kansci.report.markup import Markup, Number, element, number_text, scrolling, table
from kansci.report.mathml import as_mathml
from kansci.report.run import Run
from kansci.solvers.solution import Estimate, History

FEW = 8  # metrics that are shown side by side, and parts of formulas that are open
ROWS = 12  # of a history that are listed
DIGITS = 4  # of metrics
PLACES = 12  # most decimals of a constant


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    heading: str
    content: Sequence[Markup]

    @property
    def anchor(self) -> str:
        """Its name in the page."""
        return re.sub(r"\W+", "-", self.heading.lower())


def sections_of(
    run: Run,
    metrics: Mapping[str, Any],
    rows: Sequence[Sequence[Any]],
    analysis: Sequence[Any],
    figures: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> list[Section]:
    """All sections that have something to say."""
    pictures, others = _Pictures(), dict(figures)
    known = {name: others.pop(name) for name in ("network", "history") if name in others}
    found = [
        Section("Formula", formula_blocks(run)),
        Section("Result", _result(run, metrics, rows)),
        Section("Constants", _constants(run.constants)),
        Section("Analysis", _analysis(analysis, run.names, pictures)),
        Section("Network", _networks(run, known.get("network"), pictures)),
        Section("History", _history(run, known.get("history"), pictures)),
        Section("Figures", _figures(others, pictures)),
        Section("Settings", [table([(name, _plain(value)) for name, value in settings.items()])] if settings else []),
    ]
    return [section for section in found if section.content]


class _Pictures:
    """Draws figures and numbers them."""

    def __init__(self) -> None:
        self.numbers = count(1)

    def draw(self, caption: str, drawing: Any) -> Markup:
        return draw_figure(drawing, caption, next(self.numbers))


def formula_blocks(run: Run) -> list[Markup]:
    """Formulas in terms of parts, the parts, and formulas as they are and as text."""
    expressions = [own for own in run.formulas if isinstance(own, sympy.Basic)]
    folded = fold(expressions)
    left, short = run.left_sides(), iter(folded.formulas)
    blocks = [
        _equation(name, next(short)) if isinstance(own, sympy.Basic) else element("pre", own, class_="wrap")
        for name, own in zip(left, run.formulas, strict=True)
    ]
    if folded.parts:
        opened = len(folded.parts) <= FEW
        parts = [_part(name, own, opened=opened) for name, own in folded.parts.items()]
        pairs = zip(left, run.formulas, strict=True)
        whole = [_equation(name, own) for name, own in pairs if isinstance(own, sympy.Basic)]
        blocks += [element("p", "with"), *parts, element("details", element("summary", "written out"), *whole)]
    if expressions:
        listed = [f"{name} = {own}" for name, own in zip(left, run.formulas, strict=True)]
        blocks.append(_folded_text("as text", "\n".join(listed)))
        blocks.append(_folded_text("as LaTeX", "\n".join(sympy.latex(own) for own in expressions)))
    return blocks


def _equation(left: sympy.Symbol, right: sympy.Basic) -> Markup:
    return scrolling(as_mathml(right, left), f"{left} = {right}", "formula")


def _part(name: sympy.Symbol, expression: sympy.Expr, *, opened: bool) -> Markup:
    """What a name stands for, which a reader may open and close."""
    inputs = sorted(expression.free_symbols, key=str)
    heading = element("summary", as_mathml(_call(name, inputs)))
    body = scrolling(as_mathml(expression, name), f"{name} = {expression}", "formula part")
    return element("details", heading, body, open=opened)


def _call(name: sympy.Symbol, inputs: Sequence[Any]) -> Any:
    """name(inputs)."""
    function: Any = sympy.Function(str(name))
    return function(*inputs)


def _folded_text(heading: str, text: str) -> Markup:
    return element("details", element("summary", heading), element("pre", text, class_="wrap"))


def _result(run: Run, metrics: Mapping[str, Any], rows: Sequence[Sequence[Any]]) -> list[Markup]:
    """Metrics side by side or one below the other, but those that the table has already."""
    shown: dict[str, Any] = {}
    if run.solution is not None:
        own = {"status": run.solution.status, "loss": run.solution.loss, "error estimate": run.solution.error_estimate}
        shown = {name: value for name, value in own.items() if value is not None}
    listed = {str(row[0]) for row in rows}
    shown |= {name: value for name, value in metrics.items() if name not in listed}
    blocks = []
    if shown and len(shown) <= FEW:
        blocks.append(element("dl", *(_chip(name, value) for name, value in shown.items()), class_="chips"))
    elif shown:
        pairs = [(_words(name), value) for name, value in shown.items()]
        blocks.append(table(pairs, ["metric", "value"], digits=DIGITS, label="metrics"))
    if rows:
        (first, *others), *body = rows
        named = [(_words(str(own[0])), *own[1:]) for own in body]
        blocks.append(table(named, [str(own) for own in (first, *others)], digits=DIGITS))
    return blocks


def _chip(name: str, value: Any) -> Markup:
    return element("div", element("dt", _words(name)), element("dd", number_text(value, DIGITS)))


def _words(name: str) -> str:
    return name.replace("_", " ")


def _constants(constants: Mapping[str, Estimate]) -> list[Markup]:
    """Those that the data determine, each to the second digit of its error, then the others."""
    known = {name: own for name, own in constants.items() if math.isfinite(own.standard_error)}
    blocks = []
    if known:
        rows = [(name, *estimate_texts(own)) for name, own in known.items()]
        blocks.append(table(rows, ["constant", "value", "standard error"], label="constants"))
    others = [(name, own.value) for name, own in constants.items() if name not in known]
    if others:
        heading = element("summary", f"not determined by the data: {len(others)}")
        blocks.append(element("details", heading, table(others, ["constant", "value"])))
    return blocks


def estimate_texts(estimate: Estimate) -> tuple[Number, Number]:
    """Value and standard error, rounded to the second digit of the error.

    Example:
        >>> estimate_texts(Estimate(3.14159265, 0.000123)), estimate_texts(Estimate(-0.5, 3.3e-5))
        (('3.14159', '0.00012'), ('−0.500000', '0.000033'))
    """
    value, error = estimate
    places = 1 - math.floor(math.log10(error)) if error > 0 else 0
    if not 0 < places <= PLACES or abs(value) >= 10**PLACES:
        return Number(number_text(value, 15)), Number(number_text(float(error), 2))
    return Number(f"{value:.{places}f}".replace("-", "−")), Number(f"{error:.{places}f}")


def _analysis(analysis: Sequence[Any], names: Sequence[str] | None, pictures: _Pictures) -> list[Markup]:
    blocks = []
    for record in analysis:
        blocks += [element("h3", heading_of(record)), describe(record)]
        drawn = [pictures.draw(caption, drawing) for caption, drawing in drawings(record, names)]
        if drawn:
            blocks.append(element("div", *drawn, class_="figures"))
    return blocks


def _networks(run: Run, given: Any, pictures: _Pictures) -> list[Markup]:
    """A line and a picture for each network."""
    blocks = [
        element("p", f"{name}: " if name else "", element("code", _shape(own))) for name, own in run.models.items()
    ]
    if given is not None:
        return [*blocks, pictures.draw("The network", given)]
    return [*blocks, *(pictures.draw(f"The network {name}".strip(), _drawing(run, name)) for name in run.models)]


def _shape(model: Any) -> str:
    return str(model).partition("\n")[0] if isinstance(model, MultKAN | DenseNetwork) else type(model).__name__


def _drawing(run: Run, name: str) -> Callable[[], Any]:
    from kansci.plot.network import draw_network

    n_outputs = run.models[name].n_outputs
    names = run.output_names if run.output_names is not None and len(run.output_names) == n_outputs else None
    labels = [None if own is None else [_symbol(each) for each in own] for own in (run.names, names)]
    return lambda: draw_network(run.models[name], run.points, names=labels[0], output_names=labels[1])


def _symbol(name: str) -> str:
    """A name as mathematics; what is no name of a variable stays as it is."""
    from kansci.plot.tree import leaf_name

    return leaf_name(name) if name.isidentifier() else name


def _history(run: Run, given: Any, pictures: _Pictures) -> list[Markup]:
    history = None if run.solution is None else run.solution.history
    if history is None or not len(history.step):
        return [] if given is None else [pictures.draw("The loss", given)]
    from kansci.plot.history import draw_history

    picture = pictures.draw("The loss", given if given is not None else lambda: draw_history(history))
    rows = history.rows()
    listed = table([tuple(rows[i].values()) for i in _chosen(history)], [_words(name) for name in rows[0]])
    return [picture, element("details", element("summary", "steps"), listed)]


def _chosen(history: History) -> Iterator[int]:
    """Steps at equal distances, the first and the last among them."""
    last, parts = len(history.step) - 1, min(len(history.step), ROWS) - 1
    yield from sorted({round(last * i / max(parts, 1)) for i in range(parts + 1)})


def _figures(figures: Mapping[str, Any], pictures: _Pictures) -> list[Markup]:
    drawn = [pictures.draw(_words(caption), drawing) for caption, drawing in figures.items()]
    return [element("div", *drawn, class_="figures")] if drawn else []


def _plain(value: Any) -> str:
    """As text, to the left in its cell."""
    return number_text(value) if isinstance(value, bool | None) else str(value)
