"""The sections of the page."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import sympy

from kansci.nn.dense import DenseNetwork
from kansci.nn.multkan import MultKAN
from kansci.report.findings import describe, drawings
from kansci.report.fold import fold
from kansci.report.graphics import draw_figure
from kansci.report.markup import Markup, element, number_text, scrolling, table
from kansci.report.mathml import as_mathml
from kansci.report.run import Run
from kansci.solvers.solution import Estimate, History

FEW = 8  # metrics that are shown side by side
ROWS = 12  # of a history that are listed


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
        Section("Analysis", _analysis(analysis, pictures)),
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
        parts = [_part(name, own) for name, own in folded.parts.items()]
        whole = [_equation(name, own) for name, own in zip(left, run.formulas, strict=True) if own in expressions]
        blocks += [element("p", "with"), *parts, element("details", element("summary", "written out"), *whole)]
    if expressions:
        listed = [f"{name} = {own}" for name, own in zip(left, run.formulas, strict=True)]
        blocks.append(_folded_text("as text", "\n".join(listed)))
        blocks.append(_folded_text("as LaTeX", "\n".join(sympy.latex(own) for own in expressions)))
    return blocks


def _equation(left: sympy.Symbol, right: sympy.Expr) -> Markup:
    return scrolling(as_mathml(right, left), f"{left} = {right}", "formula")


def _part(name: sympy.Symbol, expression: sympy.Expr) -> Markup:
    """One named part, open; a reader may close it."""
    inputs = ", ".join(sorted(map(str, expression.free_symbols)))
    body = scrolling(as_mathml(expression, name), f"{name} = {expression}", "formula part")
    return element("details", element("summary", f"{name} of {inputs}"), body, open=True)


def _folded_text(heading: str, text: str) -> Markup:
    return element("details", element("summary", heading), element("pre", text, class_="wrap"))


def _result(run: Run, metrics: Mapping[str, Any], rows: Sequence[Sequence[Any]]) -> list[Markup]:
    shown = dict(metrics)
    if run.solution is not None:
        own = {"status": run.solution.status, "loss": run.solution.loss, "error estimate": run.solution.error_estimate}
        shown = {**{name: value for name, value in own.items() if value is not None}, **shown}
    blocks = []
    if shown and len(shown) <= FEW:
        pairs = (
            element("div", element("dt", _words(name)), element("dd", number_text(v))) for name, v in shown.items()
        )
        blocks.append(element("dl", *pairs, class_="chips"))
    elif shown:
        blocks.append(table([(_words(name), value) for name, value in shown.items()], ["metric", "value"]))
    if rows:
        header, *body = rows
        blocks.append(table(body, list(map(str, header))))
    return blocks


def _chip(name: str, value: Any) -> Markup:
    return element("div", element("dt", _words(name)), element("dd", number_text(value)))


def _words(name: str) -> str:
    return name.replace("_", " ")


def _constants(constants: Mapping[str, Estimate]) -> list[Markup]:
    if not constants:
        return []
    rows = [(name, own.value, own.standard_error) for name, own in constants.items()]
    return [table(rows, ["constant", "value", "standard error"])]


def _analysis(records: Sequence[Any], pictures: _Pictures) -> list[Markup]:
    blocks = []
    for record in records:
        heading, text = describe(record)
        blocks += [element("h3", heading), element("pre", text, class_="wrap")]
        drawn = [pictures.draw(caption, drawing) for caption, drawing in drawings(record)]
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
    return lambda: draw_network(run.models[name], run.points, names=run.names, output_names=names)


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


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | None) else str(value)
