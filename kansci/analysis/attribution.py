r"""How much each input, node, subnode and edge of a network matters for its outputs.

Scores go from the outputs down. With A the scores of nodes, E the standard deviations of edges and N those of the
subnodes that they lead to,

.. math:: A_{L,i} = 1, \quad B_{l-1,j,i} = A_{l,j} E_{l,j,i} / N_{l,j}, \quad A_{l-1,i} = \sum_j B_{l-1,j,i}

and each factor of a product has the score of the product. A large edge into a node that nothing reads counts nothing.
Edges that cancel each other count more than what they leave, so scores of a column need not sum to 1.

Effects are scores where a factor of a product has only that part of the score by which the product would change if
the factor were its mean, in standard deviations: a factor that hardly varies has hardly any. Pruning goes by them.

Shares do sum to 1: those of an edge are its covariance with its subnode over the variance of that, and the variance of
a product is split among its factors by the integral of its slopes from the means of the factors to their values.

References:
    Liu et al., KAN 2.0, arXiv:2408.10205, section 4.1.
    Aumann, Shapley, Values of Non-Atomic Games, Princeton 1974 (shares of a product).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from kansci.errors import ConfigError
from kansci.nn.arguments import as_points
from kansci.nn.layer import KANLayer
from kansci.nn.networks import Layer, Network
from kansci.tracing import Trace, trace

ROUNDING = 32  # spacings of floating point numbers within which values are constant
SHOWN = 8  # inputs that a repr lists


@dataclass(frozen=True)
class Scores:
    """One number for each part of a network, for each output or averaged over them.

    Attributes:
        nodes: for each column, inputs first, (outputs, nodes) or (nodes,).
        subnodes: for each layer, (outputs, subnodes) or (subnodes,).
        edges: for each layer, (outputs, subnodes, sources) or (subnodes, sources).
    """

    nodes: tuple[Float[Tensor, "*outputs _"], ...]
    subnodes: tuple[Float[Tensor, "*outputs _"], ...]
    edges: tuple[Float[Tensor, "*outputs _ _"], ...]

    @property
    def inputs(self) -> Float[Tensor, "*outputs _"]:
        """Those of the first column: raw inputs, then features."""
        return self.nodes[0]

    def mean(self) -> "Scores":
        """The averages over the outputs."""
        return Scores(*(tuple(own.mean(0) for own in each) for each in (self.nodes, self.subnodes, self.edges)))

    def largest(self) -> "Scores":
        """What each part has for the output that it matters most for."""
        return Scores(*(tuple(own.amax(0) for own in each) for each in (self.nodes, self.subnodes, self.edges)))

    def __repr__(self) -> str:
        """Those of the inputs, the largest first."""
        own = self.inputs.reshape(-1, self.inputs.shape[-1]).mean(0)
        first = own.argsort(descending=True)[:SHOWN].tolist()
        listed = ", ".join(f"x{place + 1} {own[place]:.2g}" for place in first)
        return f"Scores({listed}{', ...' if len(own) > SHOWN else ''})"


@dataclass(frozen=True)
class Attribution:
    """Scores of all parts of a network.

    Attributes:
        per_output: the scores for each output, those of all others being 0.
        effects_per_output: the effects for each output.
        shares_per_output: the shares for each output.
    """

    per_output: Scores
    effects_per_output: Scores
    shares_per_output: Scores

    @property
    def inputs(self) -> Float[Tensor, "_"]:
        """Scores of raw inputs, then features, averaged over the outputs."""
        return self.per_output.mean().inputs

    @property
    def nodes(self) -> tuple[Float[Tensor, "_"], ...]:
        """Scores of each column's nodes, inputs first, averaged over the outputs."""
        return self.per_output.mean().nodes

    @property
    def subnodes(self) -> tuple[Float[Tensor, "_"], ...]:
        """Scores of each layer's subnodes, averaged over the outputs."""
        return self.per_output.mean().subnodes

    @property
    def edges(self) -> tuple[Float[Tensor, "_ _"], ...]:
        """Scores of each layer's edges, averaged over the outputs."""
        return self.per_output.mean().edges

    @property
    def shares(self) -> Scores:
        """Shares averaged over the outputs: in each column they sum to 1 where no output is constant."""
        return self.shares_per_output.mean()

    def __repr__(self) -> str:
        """Scores and shares of the inputs, the largest first."""
        return f"Attribution({repr(self.per_output)[7:-1]}; shares {repr(self.shares_per_output)[7:-1]})"


def attribution_scores(
    model: Network, x: Float[Tensor, "n d"] | Float[np.ndarray, "n d"], *, column: int = -1
) -> Attribution:
    """How much each part of a network matters, as seen on some points.

    Args:
        model: a MultKAN, LAN or MLP, left unchanged.
        x: points, raw units.
        column: whose nodes count as outputs, inputs being 0; by default the last one.

    Returns:
        The scores; 0 where nothing varies. Those of parts above `column` are left out.

    Raises:
        ConfigError: there is no such column.
        ShapeError: x is not (n, d) for this model.
        DataError: x is empty or not finite.

    Example:
        >>> from kansci import kanpile
        >>> x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
        >>> attribution_scores(kanpile("3*x + 4*y", ["x", "y"]), x)
        Attribution(x2 0.8, x1 0.6; shares x2 0.64, x1 0.36)

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 4.1.
    """
    depth = len(model.layers)
    if not -depth - 1 <= column <= depth:
        raise ConfigError(f"expected a column from 0, the inputs, to {depth}, the outputs, got {column}")
    found, layers = trace(model, as_points(x, model.layers[0].node_scale)), list(model.layers)
    last = range(depth + 1)[column]
    views = [_look(layer, found, number) for number, layer in enumerate(layers[:last])]
    start = torch.eye(found.nodes[last].shape[1], dtype=found.output.dtype, device=found.output.device)
    varies = (deviation(found.nodes[last]) > 0).to(start)
    return Attribution(
        _descend(start, [(view.owners, *view.scores()) for view in views]),
        _descend(start * varies, [(view.owners, *view.effects()) for view in views]),
        _descend(start * varies, [(view.owners, *view.shares()) for view in views]),
    )


def feature_interactions(
    model: Network,
    x: Float[Tensor, "n d"] | Float[np.ndarray, "n d"],
    column: int = 1,
    *,
    threshold: float = 1e-2,
) -> dict[tuple[int, ...], int]:
    """Which inputs the nodes of a column combine, and how many nodes combine the same ones.

    Args:
        model: a MultKAN, LAN or MLP, left unchanged.
        x: points, raw units.
        column: whose nodes are looked at, inputs being 0.
        threshold: score, relative to the largest of a node, above which an input belongs to it.

    Returns:
        Numbers of nodes for each set of inputs, the most frequent first. Nodes that are constant are left out.

    Raises:
        ConfigError: there is no such column.
        ShapeError: x is not (n, d) for this model.

    Example:
        >>> from kansci import MultKAN, kanpile
        >>> x = torch.rand(50, 3, dtype=torch.float64)
        >>> feature_interactions(kanpile("sin(x + y)*z", ["x", "y", "z"]), x, -1)
        {(0, 1, 2): 1}
    """
    scores = attribution_scores(model, x, column=column).per_output.inputs
    counts: Counter[tuple[int, ...]] = Counter()
    for own in scores[scores.amax(1) > 0]:
        counts[tuple((own > threshold * own.max()).nonzero().flatten().tolist())] += 1
    return dict(counts.most_common())


@dataclass(frozen=True)
class _View:
    """One layer, as seen on some points.

    Attributes:
        owners: the node that each subnode belongs to.
        nodes: values of the nodes.
        subnodes: sums of edges, before their affine maps.
        edges: values of the edges.
        products: for each product, its subnodes and the values of its factors.
    """

    owners: Int[Tensor, "subnode"]
    nodes: Float[Tensor, "n node"]
    subnodes: Float[Tensor, "n subnode"]
    edges: Float[Tensor, "n subnode in"]
    products: Sequence["_Product"]

    def scores(self) -> tuple[Float[Tensor, "subnode"], Float[Tensor, "subnode in"]]:
        """What a subnode has of the score of its node, and an edge of that of its subnode."""
        return self._copied(), _ratio(deviation(self.edges), self._sums()[:, None])

    def effects(self) -> tuple[Float[Tensor, "subnode"], Float[Tensor, "subnode in"]]:
        """The same of effects."""
        factors, edges = self.scores()
        for subnodes, values in self.products:
            changes = torch.stack([_changed(values, own) for own in range(len(subnodes))], 1)
            factors[subnodes] *= _ratio(deviation(changes), deviation(values.prod(1)))
        return factors, edges

    def shares(self) -> tuple[Float[Tensor, "subnode"], Float[Tensor, "subnode in"]]:
        """The same of shares."""
        factors = self._copied()
        for subnodes, values in self.products:
            product = values.prod(1)
            factors[subnodes] *= _ratio(_covariance(_parts(values), product[:, None]), deviation(product).square())
        shared = _covariance(self.edges, self.subnodes[..., None])
        return factors, _ratio(shared, self._sums()[:, None].square())

    def _copied(self) -> Float[Tensor, "subnode"]:
        """1 for the subnodes of nodes that vary, else 0."""
        return (deviation(self.nodes) > 0).to(self.nodes)[self.owners]

    def _sums(self) -> Float[Tensor, "subnode"]:
        """Standard deviations of the sums of edges; 0 where edges cancel but for rounding."""
        return deviation(self.subnodes, self.edges.abs().sum(2).amax(0))


class _Product(NamedTuple):
    subnodes: list[int]
    factors: Float[Tensor, "n arity"]


def _look(layer: Layer, found: Trace, number: int) -> _View:
    nodes, subnodes, edges = found.nodes[number + 1], found.subnodes[number], found.edges[number]
    owners, products = list(range(nodes.shape[1])), []
    if isinstance(layer, KANLayer):
        width = layer.config.out
        owners = [node for node in range(width.n_nodes) for _ in width.subnodes(node)]
        factors = layer.subnode_scale.detach() * subnodes + layer.subnode_bias.detach()
        for node in range(width.n_sum, width.n_nodes):
            own = list(width.subnodes(node))
            products.append(_Product(own, factors[:, own]))
    return _View(torch.tensor(owners, device=nodes.device), nodes, subnodes, edges, products)


def _descend(start: Tensor, ratios: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Scores:
    """Scores of all parts from those of the last column's nodes."""
    nodes, subnodes, edges = [start], [], []
    for owners, factors, weights in reversed(ratios):
        subnodes.append(nodes[-1][:, owners] * factors)
        edges.append(subnodes[-1][..., None] * weights)
        nodes.append(edges[-1].sum(1))
    return Scores(*(tuple(reversed(each)) for each in (nodes, subnodes, edges)))


def _changed(factors: Float[Tensor, "n arity"], own: int) -> Float[Tensor, "n"]:
    """How a product changes with one of its factors from the mean of that to its values."""
    others = torch.cat([factors[:, :own], factors[:, own + 1 :]], 1)
    return (factors[:, own] - factors[:, own].mean()) * others.prod(1)


def _parts(factors: Float[Tensor, "n arity"]) -> Float[Tensor, "n arity"]:
    """What each factor adds to a product on the straight way from the means of all factors; exact, as in a sum."""
    means = factors.mean(0)
    steps, parts = factors - means, torch.zeros_like(factors)
    for place, weight in _gauss_legendre(factors.shape[1]):
        here = means + place * steps
        for own in range(factors.shape[1]):
            others = [other for other in range(factors.shape[1]) if other != own]
            parts[:, own] += weight * steps[:, own] * here[:, others].prod(1)
    return parts


def _gauss_legendre(degree: int) -> Iterator[tuple[float, float]]:
    """Places in [0, 1] and weights that integrate polynomials below the degree exactly."""
    places, weights = np.polynomial.legendre.leggauss((degree + 1) // 2)
    yield from zip(((places + 1) / 2).tolist(), (weights / 2).tolist(), strict=True)


def deviation(values: Float[Tensor, "n *parts"], size: Tensor | None = None) -> Float[Tensor, "*parts"]:
    """Standard deviations; 0 for values that are constant but for rounding at their size."""
    size = values.abs().amax(0) if size is None else size
    deviation = values.std(0, correction=0)
    return torch.where(deviation > ROUNDING * torch.finfo(values.dtype).eps * size, deviation, 0.0)


def _covariance(a: Float[Tensor, "n *parts"], b: Float[Tensor, "n *#parts"]) -> Float[Tensor, "*parts"]:
    return ((a - a.mean(0)) * (b - b.mean(0))).mean(0)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b, 0 where b is."""
    return torch.where(b == 0, 0.0, a / torch.where(b == 0, 1.0, b))
