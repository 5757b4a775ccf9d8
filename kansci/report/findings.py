"""Records of analysis as text and pictures."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any


def describe(record: Any) -> tuple[str, str]:
    """A heading, from the name of the record's class, and the record as text."""
    if isinstance(record, str):
        return "Note", record
    if isinstance(record, Mapping):
        return "Findings", "\n".join(f"{name}: {value}" for name, value in record.items())
    if isinstance(record, Sequence) and record and not isinstance(record, tuple):
        return f"{_heading(record[0])}s", "\n".join(map(str, record))
    return _heading(record), repr(record)


def _heading(record: Any) -> str:
    words = re.findall(r"[A-Z][a-z0-9]*|\w+", type(record).__name__)
    return " ".join(words).capitalize()


def drawings(record: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Captions and what draws the pictures that belong to a record."""
    if hasattr(record, "per_output"):
        from kansci.plot.attribution import draw_attribution

        yield "How much each input matters", lambda: draw_attribution(record)
    if getattr(record, "front", None):
        from kansci.plot.pareto import draw_pareto

        yield "Error against complexity", lambda: draw_pareto(record.front)
