"""Figures as SVG elements of a page."""

import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from kansci.errors import ConfigError
from kansci.report.markup import Markup, element

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SETTINGS: Any = {"svg.fonttype": "path", "svg.hashsalt": "kansci"}
PADDING = 0.06  # [inch]
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def draw_figure(drawing: "Figure | Axes | Callable[[], Any]", caption: str, number: int) -> Markup:
    """A figure that can be moved and enlarged, with its caption.

    Args:
        drawing: a figure, axes, or what draws them when called; those made by the call are closed.
        caption: below the figure, also its name for those who cannot see it.
        number: of the figure in the page.

    Raises:
        ConfigError: it is none of the three.
    """
    import matplotlib.pyplot as plt

    figure = _figure_of(drawing() if callable(drawing) else drawing)
    picture = as_svg(figure, caption, f"f{number}-")
    if callable(drawing):
        plt.close(figure)
    hint = f"{caption}; + and - to zoom, arrows to move, 0 for all"
    canvas = element("div", picture, class_="canvas", tabindex=0, role="group", aria_label=hint)
    tools = element("div", *(_button(*each) for each in BUTTONS), class_="tools")
    return element("figure", canvas, tools, element("figcaption", caption))


BUTTONS = (("+", "zoom in", "in"), ("−", "zoom out", "out"), ("all", "show all", "reset"))


def _button(text: str, label: str, action: str) -> Markup:
    return element("button", text, type="button", aria_label=label, title=label, data_zoom=action)


def _figure_of(drawn: Any) -> "Figure":
    figure = getattr(drawn, "figure", None)
    figure = drawn if figure is None else figure
    if not hasattr(figure, "savefig"):
        raise ConfigError(f"expected a figure, axes, or a function that draws them, got {type(drawn).__name__}")
    return figure


def as_svg(figure: "Figure", label: str, prefix: str) -> Markup:
    """A figure as an SVG element whose names begin with a prefix; letters are shapes, so that no font is needed."""
    import matplotlib as mpl

    with io.StringIO() as file, mpl.rc_context(SETTINGS):
        figure.savefig(file, format="svg", metadata=NO_METADATA, bbox_inches="tight", pad_inches=PADDING)
        text = file.getvalue()
    _, _, body = text.partition("<svg")
    attributes, _, inside = body.partition(">")
    width, height = (float(value) for value in _viewbox(attributes)[2:])
    inside = re.sub(r"<metadata>.*?</metadata>", "", inside, count=1, flags=re.DOTALL)
    inside = _renamed(inside, prefix)
    inside = re.sub(r' d="[^"]*"', lambda own: _shorter(own.group()), inside)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img"'
        f' aria-label="{escape(label)}" viewBox="0 0 {width:g} {height:g}" style="width:{width / 72:.2f}in">'
    )
    return Markup(f"{opening}<title>{escape(label)}</title>{inside.rstrip()}")


def _renamed(text: str, prefix: str) -> str:
    """Names that are referred to get a prefix, all others go: several artists may have the same."""
    needed = set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', text))
    text = re.sub(r'\sid="([^"]*)"', lambda own: own.group() if own.group(1) in needed else "", text)
    return re.sub(r'(\sid="|xlink:href="#|url\(#)', rf"\g<1>{prefix}", text)


def _viewbox(attributes: str) -> list[str]:
    found = re.search(r'viewBox="([^"]*)"', attributes)
    return found.group(1).split() if found else ["0", "0", "1", "1"]


def _shorter(path: str) -> str:
    """Coordinates to a hundredth of a point."""
    return re.sub(r"(\.\d\d)\d+", r"\1", path)
