"""Names beside a column of nodes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from kansci.errors import ConfigError
from kansci.nn.features import AuxiliaryFeatures
from kansci.nn.multkan import MultKAN
from kansci.nn.networks import Network
from kansci.plot.canvas import Canvas
from kansci.plot.style import POINTS_PER_INCH, text_length

LARGEST, SMALLEST = 11.0, 7.5  # letters [points]
LINE = 0.2  # height of a line [inch]
GAP = 0.14  # between a node's center and its name [inch]


@dataclass(frozen=True)
class Names:
    """Names of the nodes of a column, level where they fit and upright where they do not.

    Attributes:
        texts: the names.
        letters: their size [points].
        upright: which are turned by 90 degrees.
        height: from the nodes' centers to the far end [inch].
    """

    texts: Sequence[str]
    letters: float
    upright: Sequence[bool]
    height: float

    @classmethod
    def fit(cls, texts: Sequence[str], width: float) -> "Names":
        """Names that share a width [inch]."""
        slot = 0.9 * width / len(texts) * POINTS_PER_INCH
        lengths = [text_length(text) for text in texts]
        upright = [SMALLEST * length > slot for length in lengths]
        level = [length for length, turned in zip(lengths, upright, strict=True) if not turned]
        letters = min(LARGEST, slot / max([1.0, *level]))
        longest = max(length * turned for length, turned in zip(lengths, upright, strict=True))
        return cls(texts, letters, upright, GAP + max(LINE, longest * letters / POINTS_PER_INCH))

    def draw(self, canvas: Canvas, nodes: Float[np.ndarray, "node 2"], *, below: bool) -> None:
        """Write each under its node, or above it."""
        va, gap = ("top", -GAP) if below else ("bottom", GAP)
        for (x, y), text, turned in zip(nodes, self.texts, self.upright, strict=True):
            canvas.text(x, y + gap, text, self.letters, ha="center", va=va, rotation=90 if turned else 0)


def name_inputs(model: Network, names: Sequence[str] | None) -> list[str]:
    """Names of the first column: those given, then the features' own, by default x_1, x_2 ...

    Raises:
        ConfigError: there are neither as many names as raw inputs nor as many as nodes.
    """
    d = model.n_inputs
    n_nodes = model.config.columns[0].n_nodes if isinstance(model, MultKAN) else d
    if isinstance(model, MultKAN) and isinstance(model.features, AuxiliaryFeatures):
        known = list(model.features.names)
    else:
        numbers = [i + 1 for i in model.inputs] if isinstance(model, MultKAN) else range(1, d + 1)
        known = [*_numbered("x", numbers), *_numbered("f", range(1, n_nodes - d + 1))]
    if names is None:
        return known
    if isinstance(names, str) or len(names) not in (d, n_nodes):
        wanted = f"{d} names of inputs" + (f", or {n_nodes} with features" if n_nodes > d else "")
        raise ConfigError(f"expected {wanted}, got {names!r}; pass a list of texts")
    return [*names, *known[len(names) :]]


def name_outputs(model: Network, names: Sequence[str] | None) -> list[str]:
    """Names of the outputs, by default y, or y_1, y_2 ...

    Raises:
        ConfigError: there are not as many names as outputs.
    """
    if names is None:
        return ["$y$"] if model.n_outputs == 1 else _numbered("y", range(1, model.n_outputs + 1))
    if isinstance(names, str) or len(names) != model.n_outputs:
        raise ConfigError(f"expected {model.n_outputs} names of outputs, got {names!r}; pass a list of texts")
    return list(names)


def _numbered(letter: str, numbers: Sequence[int]) -> list[str]:
    return [f"${letter}_{{{number}}}$" for number in numbers]
