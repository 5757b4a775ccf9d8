"""HTML made of elements; what is not markup already is escaped."""

from collections.abc import Sequence
from html import escape
from itertools import zip_longest
from typing import Any

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
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


def number_text(value: Any, digits: int = 6) -> str:
    """A number of so many digits, a dash where there is none; anything else as it is.

    Example:
        >>> number_text(1.23456789e-7), number_text(12), number_text(None), number_text(True)
        ('1.23457 × 10⁻⁷', '12', '–', 'yes')
    """
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    if value is None or value != value:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    mantissa, _, exponent = (str(value) if isinstance(value, int) else f"{value:.{digits}g}").partition("e")
    power = f" × 10{str(int(exponent)).translate(RAISED)}" if exponent else ""
    return mantissa.replace("-", "−").replace("inf", "∞") + power


class Number(Markup):
    """Text that stands to the right in its column, as numbers do."""

    __slots__ = ()


def table(
    rows: Sequence[Sequence[Any]], header: Sequence[str] = (), *, digits: int = 6, label: str = "table"
) -> Markup:
    """Rows whose first cells are their headings, in a frame that scrolls where the page is narrower.

    Columns with numbers are set to the right.
    """
    right = [any(_is_number(own) for own in column) for column in zip_longest(*rows)]
    head = [element("th", name, scope="col", class_=_side(own)) for name, own in zip(header, right, strict=False)]
    body = []
    for first, *others in rows:
        cells = (
            element("td", _shown(own, digits), class_=_side(at)) for own, at in zip(others, right[1:], strict=False)
        )
        body.append(element("tr", element("th", _shown(first, digits), scope="row"), *cells))
    title = element("thead", element("tr", *head)) if head else None
    return scrolling(element("table", title, element("tbody", *body)), label)


def scrolling(content: Markup, label: str, kind: str = "scroll") -> Markup:
    """A frame that scrolls sideways, with the keyboard too."""
    return element("div", content, class_=kind, tabindex=0, role="region", aria_label=label)


def _is_number(value: Any) -> bool:
    return isinstance(value, Number) or not (value is None or isinstance(value, str | bool))


def _side(right: bool) -> str | None:
    return "number" if right else None


def _shown(value: Any, digits: int) -> str:
    return value if isinstance(value, Markup) else number_text(value, digits)
