"""HTML made of elements; what is not markup already is escaped."""

from collections.abc import Sequence
from html import escape
from typing import Any

VOID = frozenset({"meta", "br"})


class Markup(str):
    """Text that is HTML as it stands."""

    __slots__ = ()


def element(tag: str, *children: Any, **attributes: Any) -> Markup:
    """An HTML element.

    Args:
        tag: its name.
        children: markup, or anything else as escaped text; None is left out.
        attributes: `class_` and `for_` lose their last underline, others become hyphens; None and False are left out,
            True stands without a value.

    Example:
        >>> element("p", "a < b", element("br"), class_="note", hidden=False)
        '<p class="note">a &lt; b<br></p>'
    """
    listed = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in VOID:
        return Markup(f"<{tag}{listed}>")
    return Markup(f"<{tag}{listed}>{join(children)}</{tag}>")


def join(children: Sequence[Any]) -> Markup:
    """Elements and texts one after the other."""
    return Markup("".join(_text(child) for child in children if child is not None))


def _text(child: Any) -> str:
    return child if isinstance(child, Markup) else escape(str(child))


def _attribute(name: str, value: Any) -> str:
    name = name.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'


def number_text(value: Any) -> str:
    """A number with up to six digits, a dash where there is none; anything else as it is.

    Example:
        >>> number_text(1.23456789e-7), number_text(12), number_text(None), number_text(True)
        ('1.23457e−07', '12', '–', 'yes')
    """
    if hasattr(value, "item") and getattr(value, "size", None) != 0:
        value = value.item() if _is_scalar(value) else value
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "–" if value != value else f"{value:.6g}".replace("-", "−").replace("inf", "∞")
    return str(value).replace("-", "−", 1) if isinstance(value, int) else str(value)


def _is_scalar(value: Any) -> bool:
    return getattr(value, "ndim", 0) == 0


def table(rows: Sequence[Sequence[Any]], header: Sequence[str] = (), caption: str | None = None) -> Markup:
    """Rows whose first cells are their headings, in a frame that scrolls where the page is narrower."""
    head = element("thead", element("tr", *(element("th", name, scope="col") for name in header))) if header else None
    body = element("tbody", *(_row(row) for row in rows))
    title = element("caption", caption) if caption else None
    return scrolling(element("table", title, head, body), caption or "table")


def scrolling(content: Markup, label: str, kind: str = "scroll") -> Markup:
    """A frame that scrolls sideways, with the keyboard too."""
    return element("div", content, class_=kind, tabindex=0, role="region", aria_label=label)


def _row(row: Sequence[Any]) -> Markup:
    first, *others = row
    return element("tr", element("th", _shown(first), scope="row"), *(_cell(own) for own in others))


def _cell(value: Any) -> Markup:
    numeric = not isinstance(value, str)
    return element("td", _shown(value), class_="number" if numeric and not isinstance(value, Markup) else None)


def _shown(value: Any) -> str:
    return value if isinstance(value, Markup) else number_text(value)
