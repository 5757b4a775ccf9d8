"""What a model is made of, as frozen records: columns of nodes, layers, models, and edge addresses."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from kansci.errors import ConfigError


class Edge(NamedTuple):
    """Address of an edge: the layer it belongs to, its target subnode and its source node.

    Example:
        >>> Edge(layer=0, target=2, source=1)
        Edge(layer=0, target=2, source=1)
    """

    layer: int
    target: int
    source: int


@dataclass(frozen=True)
class Width:
    """One column of nodes: addition nodes first, then one multiplication node for each arity.

    An addition node copies one subnode; a multiplication node multiplies `arity` subnodes. Subnodes are numbered in
    the order of their nodes.

    Example:
        >>> width = Width.parse([3, [2, 3]])
        >>> width.n_nodes, width.n_subnodes, list(width.subnodes(4))
        (5, 8, [5, 6, 7])
    """

    n_sum: int
    arities: tuple[int, ...] = ()

    @classmethod
    def parse(cls, entry: "int | Sequence[Any] | Width") -> "Width":
        """Read 5, [5, 3] (5 sums and 3 products of two) or [5, [2, 3]] (products of two and of three).

        Raises:
            ConfigError: the entry is none of these, or a count is out of range.
        """
        if isinstance(entry, Width):
            return entry
        sums, products = entry if isinstance(entry, Sequence) and len(entry) == 2 else (entry, ())
        arities = (2,) * products if _is_count(products) else products
        if not _is_count(sums) or not isinstance(arities, Sequence) or not all(map(_is_count, arities)):
            raise ConfigError(
                f"expected a width entry such as 5, [5, 3] or [5, [2, 3]], got {entry!r}; "
                "the first number counts sums, the second products of two (or lists their arities)"
            )
        width = cls(int(sums), tuple(int(arity) for arity in arities))
        if width.n_nodes < 1 or any(arity < 2 for arity in width.arities):
            raise ConfigError(f"expected at least one node and arities of 2 or more, got {entry!r}")
        return width

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return self.n_sum + len(self.arities)

    @property
    def n_subnodes(self) -> int:
        """Number of subnodes."""
        return self.n_sum + sum(self.arities)

    def subnodes(self, node: int) -> range:
        """The subnodes that a node copies or multiplies."""
        if node < self.n_sum:
            return range(node, node + 1)
        product = node - self.n_sum
        start = self.n_sum + sum(self.arities[:product])
        return range(start, start + self.arities[product])


def _is_count(value: object) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and int(value) >= 0  # type: ignore[call-overload]


@dataclass(frozen=True)
class LayerConfig:
    """A layer: its sources, its targets and its edges.

    Attributes:
        n_in: number of source nodes.
        out: the target column.
        grid: number of intervals G.
        k: polynomial degree.
        base: name of the base function of the spline edges, a LIBRARY row.
        splines: whether the layer has spline edges at all.
        uniform: whether the knots are equidistant.
        periodic: source nodes whose domain is one period.
        symbols: names of the symbolic edges, [target subnode][source]; "" where there is none.
    """

    n_in: int
    out: Width
    grid: int = 5
    k: int = 3
    base: str = "silu"
    splines: bool = True
    uniform: bool = True
    periodic: tuple[int, ...] = ()
    symbols: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no layer can have."""
        if not _is_count(self.grid) or self.grid < 1:
            raise ConfigError(f"expected grid to be a positive number of intervals, got {self.grid!r}")
        if not _is_count(self.k) or not 1 <= self.k <= 9:
            raise ConfigError(f"expected the degree k to be from 1 to 9, got {self.k!r}")
        if not set(self.periodic) <= set(range(self.n_in)):
            raise ConfigError(f"expected periodic inputs out of 0 to {self.n_in - 1}, got {self.periodic!r}")
        if self.periodic and self.grid <= self.k:
            raise ConfigError(f"periodic inputs need more than k = {self.k} intervals, got grid={self.grid}")

    @property
    def n_coef(self) -> int:
        """Spline coefficients of an edge."""
        return self.grid + self.k


@dataclass(frozen=True)
class ModelConfig:
    """A stack of layers; what is needed, beside the tensors, to rebuild a model."""

    layers: tuple[LayerConfig, ...]

    @property
    def columns(self) -> tuple[Width, ...]:
        """The columns of nodes, inputs first."""
        return (Width(self.layers[0].n_in), *(layer.out for layer in self.layers))

    def to_json(self) -> str:
        """The configuration as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ModelConfig":
        """The inverse of `to_json`."""
        return cls(tuple(_layer_from(layer) for layer in json.loads(text)["layers"]))


def _layer_from(values: dict[str, Any]) -> LayerConfig:
    out = Width(values["out"]["n_sum"], tuple(values["out"]["arities"]))
    symbols = tuple(tuple(row) for row in values["symbols"])
    return LayerConfig(**{**values, "out": out, "periodic": tuple(values["periodic"]), "symbols": symbols})


def parse_columns(width: Sequence[Any]) -> tuple[Width, ...]:
    """Read a whole width such as [2, [5, 3], 1].

    Raises:
        ConfigError: fewer than two columns, a bad entry, or products among the inputs.
    """
    if isinstance(width, str) or not isinstance(width, Sequence) or len(width) < 2:
        raise ConfigError(f"expected a width such as [2, 5, 1] or [2, [5, 3], 1], got {width!r}")
    columns = tuple(Width.parse(entry) for entry in width)
    if columns[0].arities:
        raise ConfigError(f"the inputs cannot be products, got {width[0]!r} as the first entry of width")
    return columns
