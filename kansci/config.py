"""What a model is made of, as frozen records: columns of nodes, layers, models, and edge addresses."""

import json
import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeGuard

from kansci.errors import ConfigError
from kansci.functions import library_function
from kansci.splines import MAX_DEGREE


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

    An addition node copies one subnode; a multiplication node multiplies `arity` subnodes. Subnodes are
    numbered in the order of their nodes.

    Attributes:
        n_sum: number of addition nodes.
        arities: of the multiplication nodes, 2 or more each.

    Raises:
        ConfigError: no node at all, or a product of fewer than two.

    Example:
        >>> width = Width.parse([3, [2, 3]])
        >>> width.n_nodes, width.n_subnodes, list(width.subnodes(4))
        (5, 8, [5, 6, 7])
    """

    n_sum: int
    arities: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an empty column and products of fewer than two."""
        if self.n_nodes < 1 or any(arity < 2 for arity in self.arities):
            raise ConfigError(
                f"expected at least one node, and products of two or more, got {self.n_sum} sums "
                f"and products of {list(self.arities)}; write e.g. [5, 3] or [5, [2, 3]]"
            )

    @classmethod
    def parse(cls, entry: "int | Sequence[Any] | Width") -> "Width":
        """Read 5, [5, 3] (5 sums and 3 products of two) or [5, [2, 3]] (products of two and of three).

        Raises:
            ConfigError: the entry is none of these, or a count is out of range.

        Example:
            >>> Width.parse([5, 3])
            Width(n_sum=5, arities=(2, 2, 2))
        """
        if isinstance(entry, Width):
            return entry
        pair: Any = entry if isinstance(entry, Sequence) and len(entry) == 2 else (entry, ())
        sums, products = pair
        arities = [2] * operator.index(products) if _is_count(products) else products
        if not _is_count(sums) or not isinstance(arities, Sequence) or not all(map(_is_count, arities)):
            raise ConfigError(
                f"expected a width entry such as 5, [5, 3] or [5, [2, 3]], got {entry!r}; "
                "the first number counts sums, the second products of two (or lists their arities)"
            )
        return cls(operator.index(sums), tuple(map(operator.index, arities)))

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


def _is_count(value: Any) -> TypeGuard[int]:
    try:
        return operator.index(value) >= 0 and not isinstance(value, bool)
    except TypeError:
        return False


@dataclass(frozen=True)
class LayerConfig:
    """A layer: its sources, its targets and its edges.

    Attributes:
        n_in: number of source nodes.
        out: the target column.
        grid: number of intervals G.
        k: polynomial degree.
        base: name of the base function of the spline edges, smooth on [-1, 1]; "zero" for none.
        splines: whether the layer has spline edges at all.
        uniform: whether the knots are equidistant.
        periodic: source nodes whose domain is one period.
        symbols: names of the symbolic edges, [target subnode][source]; "" where there is none.

    Raises:
        ConfigError: an attribute is out of range.
        UnknownFunctionError: `base` is not in the LIBRARY.

    Example:
        >>> LayerConfig(2, Width(5), grid=10).n_coef
        13
    """

    n_in: int
    out: Width
    grid: int = 5
    k: int = 3
    base: str = "silu"
    splines: bool = True
    uniform: bool = True
    periodic: Sequence[int] = ()
    symbols: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no layer can have; keep plain integers."""
        self._check_grid()
        self._check_periodic()
        self._check_symbols()
        _check_base(self.base)
        for name in ("grid", "k"):
            object.__setattr__(self, name, operator.index(getattr(self, name)))
        object.__setattr__(self, "periodic", tuple(map(operator.index, self.periodic)))

    def _check_grid(self) -> None:
        if not _is_count(self.grid) or self.grid < 1:
            raise ConfigError(f"expected grid to be a number of intervals, 1 or more, got {self.grid!r}")
        if not _is_count(self.k) or not 1 <= self.k <= MAX_DEGREE:
            raise ConfigError(f"expected the degree k to be from 1 to {MAX_DEGREE}, got {self.k!r}; 3 is cubic")

    def _check_periodic(self) -> None:
        listed = isinstance(self.periodic, Sequence)
        if not listed or not all(_is_count(source) and source < self.n_in for source in self.periodic):
            raise ConfigError(
                f"expected periodic to list inputs from 0 to {self.n_in - 1}, got {self.periodic!r}; "
                "write e.g. periodic=(0,)"
            )
        if self.periodic and self.grid <= self.k:
            raise ConfigError(
                f"expected more than k = {self.k} intervals for periodic inputs, got grid={self.grid}; "
                f"use grid={self.k + 1} or more"
            )

    def _check_symbols(self) -> None:
        rows, columns = self.out.n_subnodes, self.n_in
        fits = len(self.symbols) == rows and all(len(row) == columns for row in self.symbols)
        if self.symbols and not fits:
            raise ConfigError(
                f"expected symbols as a table of {rows} subnodes by {columns} sources, got {self.symbols!r}; "
                'write "" where there is none'
            )

    @property
    def n_coef(self) -> int:
        """Spline coefficients of an edge."""
        return self.grid + self.k


def _check_base(name: Any) -> None:
    if not isinstance(name, str):
        raise ConfigError(f"expected base to be the name of a function, got {name!r}; 'zero' is none")
    base = library_function(name)
    if not base.domain[0] <= -1 < 1 <= base.domain[1] or any(-1 <= point <= 1 for point in base.singular):
        raise ConfigError(
            f"expected a base function that is smooth on [-1, 1], got {name!r}; use 'silu', 'x' or 'zero'"
        )


@dataclass(frozen=True)
class ModelConfig:
    """A stack of layers; what is needed, beside the tensors, to rebuild a model.

    Attributes:
        layers: input side first.
        inputs: columns of the data that are the raw inputs, where surgery has left out or moved some; else ().

    Example:
        >>> config = ModelConfig((LayerConfig(2, Width(3)), LayerConfig(3, Width(1))))
        >>> ModelConfig.from_json(config.to_json()) == config
        True
    """

    layers: tuple[LayerConfig, ...]
    inputs: tuple[int, ...] = ()

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
        values = json.loads(text)
        return cls(tuple(_layer_from(layer) for layer in values["layers"]), tuple(values.get("inputs", ())))


def _layer_from(values: dict[str, Any]) -> LayerConfig:
    out = Width(values["out"]["n_sum"], tuple(values["out"]["arities"]))
    symbols = tuple(tuple(row) for row in values["symbols"])
    return LayerConfig(**{**values, "out": out, "symbols": symbols})


def describe_grids(layers: Sequence[LayerConfig]) -> str:
    """Intervals and degrees of layers in few words: one number where all agree.

    Example:
        >>> describe_grids([LayerConfig(2, Width(5), grid=10), LayerConfig(5, Width(1), grid=20)])
        'grid=[10, 20], k=3'
    """
    found = {name: sorted({getattr(layer, name) for layer in layers}) for name in ("grid", "k")}
    return ", ".join(f"{name}={values[0] if len(values) == 1 else values}" for name, values in found.items())


def parse_columns(width: Sequence[Any]) -> tuple[Width, ...]:
    """Read a whole width such as [2, [5, 3], 1].

    Raises:
        ConfigError: fewer than two columns, a bad entry, or products among the inputs.

    Example:
        >>> parse_columns([2, [5, 1], 1])
        (Width(n_sum=2, arities=()), Width(n_sum=5, arities=(2,)), Width(n_sum=1, arities=()))
    """
    if isinstance(width, str) or not isinstance(width, Sequence) or len(width) < 2:
        raise ConfigError(
            f"expected a width of two columns or more, such as [2, 5, 1] or [2, [5, 3], 1], got {width!r}"
        )
    columns = tuple(Width.parse(entry) for entry in width)
    if columns[0].arities:
        raise ConfigError(f"expected a number of inputs as the first entry of width, got {width[0]!r}")
    return columns
