"""Records of analysis as text, tables and pictures."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from kansci.report.markup import Markup, element, table
from kansci.symbolic.snap import Snap, Snapping
from kansci.symbolic.suggest import Suggestion

SUGGESTIONS = ("function", "a", "b", "c", "d", "error", "complexity", "score")
SNAPS = ("edge", "function", "loss with splines", "loss with the function")


def heading_of(record: Any) -> str:
    """The name of a record's class in words.

    Example:
        >>> heading_of(Suggestion("sin", (1.0, 0.0, 1.0, 0.0), 0.1, 2, -1.0)), heading_of("some text")
        ('Suggestion', 'Note')
    """
    if isinstance(record, str):
        return "Note"
    if isinstance(record, Mapping):
        return "Findings"
    if isinstance(record, list) and record:
        return f"{heading_of(record[0])}s"
    return " ".join(re.findall(r"[A-Z][a-z0-9]*|\w+", type(record).__name__)).capitalize()


def describe(record: Any) -> Markup:
    """A table where its entries are known, else what the record says of itself."""
    if isinstance(record, Snapping):
        return _snaps(record.steps)
    if isinstance(record, Mapping):
        return table(list(record.items()), label="findings")
    several: list[Any] = record if isinstance(record, list) and record else [record]
    if all(isinstance(own, Suggestion) for own in several):
        return _suggestions(several)
    if all(isinstance(own, Snap) for own in several):
        return _snaps(several)
    return element("pre", "\n".join(own if isinstance(own, str) else repr(own) for own in several), class_="wrap")


def _suggestions(records: Sequence[Suggestion]) -> Markup:
    rows = [(own.function, *own.constants, own.error, own.complexity, own.score) for own in records]
    return table(rows, SUGGESTIONS, digits=4, label="suggestions of c f(a x + b) + d")


def _snaps(records: Sequence[Snap]) -> Markup:
    rows = [(", ".join(map(str, own.edge)), own.function, own.spline_loss, own.loss) for own in records]
    return table(rows, SNAPS, digits=4, label="edges that became functions")


def drawings(record: Any, names: Sequence[str] | None) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Captions and what draws the pictures that belong to a record, inputs being called by these names."""
    import kansci.plot as plot

    known = {
        "per_output": ("How much each input matters", "draw_attribution", {"names": names}),
        "front": ("Error against complexity", "draw_pareto", {"names": names}),
        "hessian": ("How strongly inputs act together", "draw_hessian", {"names": names}),
        "root": ("The tree of the function", "draw_structure", {}),
    }
    for attribute, (caption, function, options) in known.items():
        shown, draw = getattr(record, attribute, None), getattr(plot, function, None)
        if draw is not None and shown is not None and len(shown if isinstance(shown, tuple) else (shown,)):
            yield caption, partial(draw, shown if attribute == "front" else record, **options)
