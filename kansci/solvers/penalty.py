r"""Penalties that keep a network small and smooth.

With |phi| the mean magnitude of an edge over sample points, and p = |phi| / sum |phi| over the edges of a layer,

.. math:: \lambda_1 \sum_l \sum_e |\phi_e| - \lambda_S \sum_l \sum_e p_e \ln p_e
    + \lambda_2 \sum_e \frac 1 n \sum_i (\Delta^2 c_{ei})^2

The first two terms are those of the KAN paper with l1 = lambda mu_1 and entropy = lambda mu_2; the third one, of second
differences of the coefficients, is the P-spline penalty. Gradients are exact. For Gauss-Newton, |phi| is majorized by
phi^2 / 2 |phi_0| + |phi_0| / 2 in the parameters of its own edge, which gives iteratively reweighted least squares; a
step is taken only if the true objective falls.

References:
    Liu et al., KAN: Kolmogorov-Arnold Networks, arXiv:2404.19756, section 2.5.1.
    Daubechies, DeVore, Fornasier, Guentuerk, Comm. Pure Appl. Math. 63 (2010) 1 (iterative reweighting).
    Eilers, Marx, Statistical Science 11 (1996) 89.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kansci.errors import ConfigError
from kansci.jets import Jet
from kansci.nn.dense import DenseLayer
from kansci.nn.edges import SplineEdges
from kansci.nn.layer import KANLayer
from kansci.nn.networks import Layer, Network
from kansci.solvers.unknowns import Unknowns

SAMPLES = 4096
SMALLEST = 1e-6  # magnitude, relative to the largest of the layer, below which reweighting grows no more
TINY = torch.finfo(torch.float64).tiny
NONE = -1
ALL = slice(None)


@dataclass(frozen=True)
class Penalty:
    """Weights of the penalties.

    Attributes:
        l1: of the magnitudes of edges, lambda mu_1 of the KAN paper.
        entropy: of their distribution in each layer, lambda mu_2.
        smoothness: of second differences of neighboring coefficients, their mean square for each edge.

    Raises:
        ConfigError: a weight that is negative or not finite.

    Example:
        >>> Penalty(l1=1e-3)
        Penalty(l1=0.001, entropy=0.0, smoothness=0.0)
    """

    l1: float = 0.0
    entropy: float = 0.0
    smoothness: float = 0.0

    def __post_init__(self) -> None:
        """Refuse weights that make no sense."""
        if not all(math.isfinite(own) and own >= 0 for own in (self.l1, self.entropy, self.smoothness)):
            raise ConfigError(f"expected weights that are finite and not negative, got {self}")


@dataclass
class Edges:
    """The edges of a layer over sample points.

    Attributes:
        layer: the layer.
        x: activations of its sources.
        values: of its edges.
    """

    layer: Layer
    x: Float[Tensor, "in n"]
    values: Float[Tensor, "subnode in n"]

    @property
    def magnitudes(self) -> Float[Tensor, "subnode in"]:
        """|phi| of each edge."""
        return self.values.abs().mean(2)


def look(model: nn.Module, x: Float[Tensor, "n d"]) -> list[Edges]:
    """The edges of all layers at x, differentiable.

    Raises:
        ConfigError: a model without edges.
    """
    if not isinstance(model, Network):
        raise ConfigError(f"expected a MultKAN, LAN or MLP to penalize edges of, got {type(model).__name__}")
    nodes = model.lift(x, "value")
    found = []
    for layer in model.layers:
        source = nodes.channels[0]
        found.append(Edges(layer, source, layer.edge_values(source)))
        nodes = layer.combine(Jet(found[-1].values.sum(1)[None], "value", 0))
    return found


def penalize(penalty: Penalty, layers: list[Edges]) -> Tensor:
    """The penalty of the edges of all layers, differentiable."""
    return torch.stack([_of_layer(penalty, edges) for edges in layers]).sum()


def _of_layer(penalty: Penalty, edges: Edges) -> Tensor:
    total = edges.values.new_zeros(())
    if penalty.l1 or penalty.entropy:
        magnitudes = edges.magnitudes
        total = total + penalty.l1 * magnitudes.sum() + penalty.entropy * entropy(magnitudes)
    if penalty.smoothness and edges.layer.splines is not None:
        total = total + penalty.smoothness * roughness(edges.layer.splines).sum()
    return total


def entropy(magnitudes: Tensor) -> Tensor:
    """-sum p ln p of p = magnitudes / their sum; 0 where all of them are.

    Example:
        >>> entropy(torch.ones(2, 2))
        tensor(1.3863)
    """
    total = magnitudes.sum()
    shares = magnitudes / torch.where(total > 0, total, 1.0)
    return torch.special.entr(shares.clamp(min=TINY)).sum()


def roughness(splines: SplineEdges) -> Float[Tensor, "subnode in"]:
    """Mean square of the second differences of each edge's coefficients, its factors included."""
    coef = splines.coef * (splines.scale_spline * splines.mask)[..., None]
    if splines.config.n_coef < 3:
        return coef.new_zeros(coef.shape[:2])
    return coef.diff(n=2, dim=2).square().mean(2)


def sample(points: Float[Tensor, "n d"], before: int = 0, size: int | None = None) -> Float[Tensor, "samples d"]:
    """At most SAMPLES of the points, evenly spread over their numbers.

    Of points that are some of `size`, which come after so many `before`, those among the samples of all.
    """
    size = len(points) if size is None else size
    if size <= SAMPLES:
        return points
    numbers = torch.arange(SAMPLES, device=points.device) * size // SAMPLES - before
    return points[numbers[(numbers >= 0) & (numbers < len(points))]]


@dataclass
class Curvature:
    """A positive semidefinite matrix of a penalty: one block for each edge of a layer.

    Attributes:
        columns: numbers of the unknowns of each edge, NONE where a function has no unknown.
        blocks: half the second derivatives of the majorized penalty.
    """

    columns: Int[Tensor, "edge functions"]
    blocks: Float[Tensor, "edge functions functions"]

    def add_to(self, gram: Float[Tensor, "p p"]) -> None:
        """Add the matrix."""
        rows, columns = torch.broadcast_tensors(self.columns[:, :, None], self.columns[:, None])
        kept = (rows != NONE) & (columns != NONE)
        gram.index_put_((rows[kept], columns[kept]), self.blocks[kept], accumulate=True)

    def times(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "p"]:
        """The product with a vector."""
        kept = self.columns != NONE
        parts = torch.where(kept, vector[self.columns], 0.0)
        image = torch.einsum("efg,eg->ef", self.blocks, parts)
        return torch.zeros_like(vector).index_put_((self.columns[kept],), image[kept], accumulate=True)

    def diagonal(self, size: int) -> Float[Tensor, "p"]:
        """The diagonal of the matrix."""
        kept = self.columns != NONE
        own = self.blocks.diagonal(dim1=1, dim2=2)[kept]
        return own.new_zeros(size).index_put_((self.columns[kept],), own, accumulate=True)


@torch.no_grad()
def curvatures(penalty: Penalty, unknowns: Unknowns, x: Float[Tensor, "n d"], first: int) -> Iterator[Curvature]:
    """The blocks of each layer with trained coefficients; `first` is the number of the model's first unknown."""
    numbers = torch.full((unknowns.size,), NONE, device=x.device)
    active = torch.arange(unknowns.size, device=x.device) if unknowns.active is None else unknowns.active
    numbers[active] = torch.arange(first, first + len(unknowns), device=x.device)
    for number, edges in enumerate(look(unknowns.model, x)):
        linear = _linear(edges)
        if linear is None:
            continue
        functions, factors, names = linear
        columns = torch.full(factors.shape, NONE, device=x.device)
        for name, own in names.items():
            place = unknowns.slices.get(f"layers.{number}.{name}")
            if place is not None:
                columns[..., own] = numbers[place].view(columns[..., own].shape)
        blocks = _blocks(penalty, edges, functions, factors)
        yield Curvature(columns.flatten(0, 1), blocks.flatten(0, 1))


class Linear(NamedTuple):
    """What the edges of a layer are linear in.

    Attributes:
        functions: of each source.
        factors: what they are multiplied with besides the parameters.
        names: which functions belong to which parameter.
    """

    functions: Float[Tensor, "in functions n"]
    factors: Float[Tensor, "subnode in functions"]
    names: dict[str, slice]


def _linear(edges: Edges) -> Linear | None:
    layer = edges.layer
    if isinstance(layer, DenseLayer):
        return Linear(layer.curves(edges.x, 1)[0][:, None], torch.ones_like(layer.weight)[..., None], {"weight": ALL})
    if layer.splines is None:
        return None
    n, functions = layer.splines.config.n_coef, layer.splines.functions_at(edges.x)
    names = {"splines.coef": slice(n), "splines.scale_base": slice(n, functions.shape[1])}
    return Linear(functions, layer.splines.factors, {name: own for name, own in names.items() if own != slice(n, n)})


def _blocks(
    penalty: Penalty,
    edges: Edges,
    functions: Float[Tensor, "in functions n"],
    factors: Float[Tensor, "subnode in functions"],
) -> Float[Tensor, "subnode in functions functions"]:
    magnitudes = edges.magnitudes
    floor = SMALLEST * magnitudes.amax().clamp(min=TINY)
    weights = _slopes(penalty, magnitudes)[..., None] / edges.values.abs().clamp(min=floor) / (2 * edges.x.shape[1])
    blocks = torch.stack([(functions * own[:, None]) @ functions.transpose(1, 2) for own in weights])
    blocks *= factors[..., None] * factors[..., None, :]
    if penalty.smoothness and isinstance(edges.layer, KANLayer) and edges.layer.splines is not None:
        n = edges.layer.splines.config.n_coef
        differences = torch.eye(n, dtype=functions.dtype, device=functions.device).diff(n=2, dim=0)
        scale = penalty.smoothness * factors[..., 0].square()[..., None, None]
        blocks[..., :n, :n] += scale * (differences.T @ differences) / max(len(differences), 1)
    return blocks


def _slopes(penalty: Penalty, magnitudes: Float[Tensor, "subnode in"]) -> Float[Tensor, "subnode in"]:
    """Derivatives of the penalty with respect to magnitudes, where they are positive."""
    total = magnitudes.sum().clamp(min=TINY)
    shares = (magnitudes / total).clamp(min=TINY)
    return (penalty.l1 - penalty.entropy * (shares.log() + entropy(magnitudes)) / total).clamp(min=0)
