"""The page: what is known of a run, in the order in which a reader wants it."""

import base64
import hashlib
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from kansci.report.markup import Markup, element, join
from kansci.report.run import Run
from kansci.report.sections import Section, sections_of
from kansci.solvers.solution import Solution

PACKAGES = ("kansci", "torch", "numpy", "scipy", "sympy", "matplotlib")


def write_report(
    path: str | Path,
    *,
    title: str = "Report",
    summary: str | None = None,
    solution: Solution | None = None,
    model: Any = None,
    data: Any = None,
    formula: Any = None,
    names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    metrics: Mapping[str, Any] | None = None,
    table: Sequence[Sequence[Any]] | None = None,
    constants: Any = None,
    analysis: Sequence[Any] = (),
    figures: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
) -> Path:
    """Write one HTML page about a run: a file that loads nothing else, now or in ten years.

    All arguments are optional, and each thing that is given has its section: formulas as MathML, those that are long
    in terms of named parts; metrics and tables; constants with standard errors; results of analysis with their
    pictures; the network and the history; further figures as SVG, which zoom; settings and versions. The page is for
    light and dark screens, for paper, and for readers who use the keyboard or a screen reader. Texts are escaped, and
    the page forbids itself to load anything.

    Args:
        path: of the file, replaced once the page is complete.
        title: the heading.
        summary: a sentence below it.
        solution: what `solve` or `fit` returned; gives model, history and constants.
        model: a network, or a dict of them, left unchanged.
        data: a `Dataset`, (x, y), or residual terms: where networks are looked at, and the source of the standard
            errors of a formula's constants.
        formula: SymPy expressions or text, one or several; by default those of a network of symbolic edges.
        names: of the raw inputs.
        output_names: of the outputs, which are the left sides of the formulas.
        metrics: numbers and booleans, None or NaN where not defined.
        table: rows, the first of them the header.
        constants: {name: Estimate}, or the records of `constant_estimates`; by default those of the formula, where
            there are data, and the solution's parameters.
        analysis: what `attribution_scores`, `suggest`, `snap` and others returned, or texts, or anything with a
            readable repr; those that can be drawn are.
        figures: captions and what to show: figures, axes, or functions that return one; "network" and "history"
            take the place of the pictures drawn by default.
        settings: names and values.
        versions: of packages; by default those installed.

    Returns:
        The path.

    Raises:
        ConfigError: a figure is none, or the number of names does not fit.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> path = write_report(folder / "report.html", title="A law", formula="exp(-x**2/2)", metrics={"error": 1e-9})
        >>> "<math" in path.read_text(encoding="utf-8")
        True
    """
    run = Run.of(solution, model, data, formula, names, output_names, constants)
    parts = sections_of(run, metrics or {}, table or (), analysis, figures or {}, settings or {})
    text = _page(title, summary, parts, _versions() if versions is None else versions)
    path = Path(path)
    temporary = path.with_name(f".unfinished-{path.name}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _page(title: str, summary: str | None, parts: Sequence[Section], versions: Mapping[str, str]) -> str:
    style, script = (
        Markup(files("kansci.report").joinpath(f"page.{kind}").read_text("utf-8")) for kind in ("css", "js")
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content="kansci"),
        element("title", title),
        element("style", style),
    )
    header = element("header", element("h1", title), element("p", summary, class_="lead") if summary else None)
    main = element("main", *(_section(part) for part in parts))
    body = element("body", header, _contents(parts), main, _footer(versions), element("script", script))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _policy(script: str) -> str:
    """Nothing is loaded, and no other script than the page's own runs."""
    own = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{own}'; base-uri 'none'"


def _contents(parts: Sequence[Section]) -> Markup | None:
    if len(parts) < 4:
        return None
    links = (element("li", element("a", part.heading, href=f"#{part.anchor}")) for part in parts)
    return element("nav", element("ul", *links), aria_label="contents")


def _section(part: Section) -> Markup:
    heading = element("h2", part.heading, id=part.anchor)
    return element("section", heading, join(part.content), aria_labelledby=part.anchor)


def _footer(versions: Mapping[str, str]) -> Markup:
    listed = ", ".join(f"{name} {number}" for name, number in versions.items())
    now = datetime.now().astimezone()
    when = element("time", now.strftime("%Y-%m-%d %H:%M %Z"), datetime=now.isoformat(timespec="seconds"))
    return element("footer", element("p", "Written ", when, " with ", listed, "."))


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
