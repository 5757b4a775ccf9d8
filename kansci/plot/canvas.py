"""A frameless drawing area measured in inches, for pictures made of lines, boxes and circles."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import Collection, EllipseCollection, LineCollection, PolyCollection

from kansci.plot.style import INK, PAPER, new_axes


@dataclass(frozen=True)
class Canvas:
    """Axes of equal scales in which a length of 1 is an inch at the picture's own size.

    Each method adds one artist for all that it is given, on top of what is there. Line widths and letters are
    measured in points at the picture's own size and grow with it.

    Attributes:
        ax: the axes.
        zoom: size of the axes relative to the picture's own.
    """

    ax: Axes
    zoom: float

    @classmethod
    def spread(cls, ax: Axes | None, lower: tuple[float, float], upper: tuple[float, float], scale: float) -> "Canvas":
        """The rectangle between two corners, in the given axes or in a new figure `scale` times its size."""
        width, height = upper[0] - lower[0], upper[1] - lower[1]
        if ax is None:
            canvas = cls(new_axes(scale * width, scale * height), scale)
        else:
            available = _size(ax)
            canvas = cls(ax, min(available[0] / width, available[1] / height))
        canvas.ax.set_axis_off()
        canvas.ax.set(xlim=(lower[0], upper[0]), ylim=(lower[1], upper[1]), aspect="equal")
        return canvas

    def lines(
        self,
        points: Float[np.ndarray, "m p 2"],
        width: float | Float[np.ndarray, "m"],
        color: Any = INK,
        gid: str | None = None,
    ) -> None:
        """Lines through p points each, of one width and color or of m."""
        lines = LineCollection(list(points), colors=color, linewidths=self.zoom * width)
        lines.set(capstyle="round", joinstyle="round")
        self._add(lines, gid)

    def squares(
        self, centers: Float[np.ndarray, "m 2"], side: float, width: float, color: Any, gid: str | None = None
    ) -> None:
        """White squares with rims of one color or of m."""
        corners = centers[:, None] + side / 2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        rim = {"edgecolors": color, "linewidths": self.zoom * width}
        self._add(PolyCollection(list(corners), facecolors=PAPER, **rim), gid)

    def circles(
        self,
        centers: Float[np.ndarray, "m 2"],
        radius: float,
        face: Any,
        rim: Any = INK,
        gid: str | None = None,
    ) -> None:
        """Discs and their rims, of one color or of m."""
        diameter = np.full(len(centers), 2 * radius)
        place = {"units": "xy", "offsets": centers, "offset_transform": self.ax.transData}
        colors = {"facecolors": face, "edgecolors": rim, "linewidths": 0.8 * self.zoom}
        self._add(EllipseCollection(diameter, diameter, 0 * diameter, **place, **colors), gid)

    def text(self, x: float, y: float, text: str, size: float, **style: Any) -> None:
        """Letters at a point."""
        self.ax.text(x, y, text, fontsize=self.zoom * size, **{"color": INK, **style})

    def _add(self, artists: Collection, gid: str | None) -> None:
        artists.set(zorder=1, gid=gid)
        self.ax.add_collection(artists, autolim=False)


def _size(ax: Axes) -> tuple[float, float]:
    """Width and height [inch]."""
    share, figure = ax.get_position(original=True), ax.figure
    return share.width * figure.bbox.width / figure.dpi, share.height * figure.bbox.height / figure.dpi
