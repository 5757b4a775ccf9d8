"""Dense networks: affine maps of all nodes of a column at once, and a function at each node, given or learned.

Points run along the last axis inside, as everywhere.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kansci.config import LayerConfig, parse_columns
from kansci.errors import ConfigError
from kansci.functions import library_function
from kansci.jets import Jet, check_needs
from kansci.nn.arguments import check_points, check_rows
from kansci.nn.basis import NodeBasis
from kansci.nn.edges import SplineEdges, check_degree
from kansci.splines import evaluate_basis, spline_values


class DenseLayer(nn.Module):
    r"""y = u (W f(x) + b) + v, with a function f_j for each source.

    .. math:: f_j(x) = a(x) \quad\text{or}\quad f_j(x) = s_j\, a(x) + \sum_p c_{jp} B_{jp}(x)

    a is a LIBRARY row. W ~ U(-r, r), r^2 = 6 / (n_in + n_out), b = 0, s = 1 and c ~ N(0, 0.1^2) to begin with. u = 1
    and v = 0 unless set, as `fit` does for outputs in the units of the targets, and are not trained.

    Attributes:
        weight: W (out, in).
        bias: b (out).
        node_scale: u (out).
        node_bias: v (out).
        activation: a.
        scale_base: s (in), or None where f = a.
        splines: the B-splines as edges from each source to one subnode, which are not summed, or None; their `coef`
            (1, in, grid + k) is c.

    References:
        Glorot, Bengio, Understanding the difficulty of training deep feedforward networks, AISTATS 2010 (W).
    """

    def __init__(
        self, n_in: int, n_out: int, activation: str, generator: torch.Generator, splines: LayerConfig | None = None
    ) -> None:
        """Draw W, and then c, in float64."""
        super().__init__()
        self.activation = library_function(activation)
        bound = math.sqrt(6 / (n_in + n_out))
        draws = torch.rand(n_out, n_in, generator=generator, dtype=torch.float64)
        self.weight = nn.Parameter(bound * (2 * draws - 1))
        self.bias = nn.Parameter(torch.zeros(n_out, dtype=torch.float64))
        self.node_scale = nn.Parameter(torch.ones(n_out, dtype=torch.float64), requires_grad=False)
        self.node_bias = nn.Parameter(torch.zeros(n_out, dtype=torch.float64), requires_grad=False)
        self.splines = SplineEdges(splines, generator) if splines else None
        ones = nn.Parameter(torch.ones(n_in, dtype=torch.float64), requires_grad=activation != "zero")
        self.scale_base = ones if splines else None

    def forward(self, x: Float[Tensor, "in n"]) -> Float[Tensor, "out n"]:
        """Values of y."""
        weight, bias = self.maps
        return torch.addmm(bias[:, None], weight, self.curves(x, 1)[0])

    @property
    def maps(self) -> tuple[Float[Tensor, "out in"], Float[Tensor, "out"]]:
        """Weights and bias of y, u and v folded in."""
        return self.node_scale[:, None] * self.weight, self.node_scale * self.bias + self.node_bias

    def curves(self, x: Float[Tensor, "in n"], orders: int) -> Float[Tensor, "orders in n"]:
        """f and its derivatives, the value counted as one."""
        given = torch.stack(self.activation.jet(x, orders - 1))
        if self.splines is None or self.scale_base is None:
            return given
        config, weights = self.splines.config, self.splines.weights
        if config.uniform:
            splines = spline_values(x, weights[0], self.splines.knots, config.k, orders)
        else:
            splines = node_basis(self.splines, x, orders).sums(weights)
        return self.scale_base[:, None] * given + splines

    def activate(self, jet: Jet) -> Jet:
        """The jet of f(x)."""
        return jet.apply(self.curves(jet.channels[0], jet.orders))

    def jet(self, jet: Jet) -> Jet:
        """The jet of y."""
        return self.activate(jet).linear(*self.maps)

    def edge_values(self, x: Float[Tensor, "in n"]) -> Float[Tensor, "out in n"]:
        """W_kj f_j(x_j), the edges of a KAN; u (sum over j + b) + v is y."""
        return self.weight[..., None] * self.curves(x, 1)[0]

    def combine(self, sums: Jet) -> Jet:
        """Sums of edges into nodes."""
        return sums.affine(self.node_scale, self.maps[1])


def node_basis(edges: SplineEdges, x: Float[Tensor, "in n"], orders: int) -> NodeBasis:
    """What splines of nodes and their derivatives are linear in."""
    config = edges.config
    first, values = evaluate_basis(x, edges.knots, config.k, orders, uniform=config.uniform)
    return NodeBasis(values.transpose(0, 1), edges.numbers(first), config.n_coef)


class DenseNetwork(nn.Module):
    """A stack of dense layers on inputs that are first scaled from their domain to [-1, 1].

    Attributes:
        layers: the layers, input side first; the first one's function is the identity.
    """

    layers: Sequence[DenseLayer]
    low: Tensor
    high: Tensor

    def _assemble(
        self,
        width: Sequence[int],
        activation: str,
        domain: Float[Tensor, "d 2"],
        seed: int,
        splines: Sequence[LayerConfig] = (),
    ) -> None:
        """Draw the layers; `splines` are those of the hidden columns, if they have some."""
        generator = torch.Generator().manual_seed(seed)
        names = ["x", *[activation] * (len(width) - 2)]
        learned = [None, *splines] if splines else [None] * len(names)
        layers = [
            DenseLayer(n_in, n_out, name, generator, own)
            for (n_in, n_out), name, own in zip(pairwise(width), names, learned, strict=True)
        ]
        self.layers = cast(Sequence[DenseLayer], nn.ModuleList(layers))
        self.register_buffer("low", domain[:, 0].clone())
        self.register_buffer("high", domain[:, 1].clone())

    @property
    def width(self) -> tuple[int, ...]:
        """Sizes of the columns, inputs first."""
        return (self.n_inputs, *(len(layer.weight) for layer in self.layers))

    @property
    def n_inputs(self) -> int:
        """Number of inputs d."""
        return self.layers[0].weight.shape[1]

    @property
    def n_outputs(self) -> int:
        """Number of outputs m."""
        return len(self.layers[-1].weight)

    @property
    def domain(self) -> tuple[Float[Tensor, "d"], Float[Tensor, "d"]]:
        """Lowest and highest value of each input."""
        return self.low, self.high

    @property
    def dtype(self) -> torch.dtype:
        """Floating point type of the tensors."""
        return self.low.dtype

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch m"]:
        """Values of the outputs, raw units in and out.

        Args:
            x: points, with any leading dimensions.

        Returns:
            The values, differentiable any number of times; autograd, torch.func and compilers apply to them.

        Raises:
            ShapeError: the last dimension is not d.
            DtypeError: x has another dtype than the model.
        """
        check_points(x, self.n_inputs, self.dtype)
        scale, bias = self._scaling()
        nodes = (scale * x + bias).reshape(-1, self.n_inputs).T
        for layer in self.layers:
            nodes = layer(nodes)
        return nodes.T.reshape(*x.shape[:-1], self.n_outputs)

    def jet(self, x: Float[Tensor, "n d"], needs: str = "laplacian") -> Jet:
        """Values and derivatives of the outputs with respect to the raw inputs, in closed form.

        Args:
            x: points.
            needs: "value", "gradient", "laplacian", "diagonal" or "hessian"; a level contains the lower ones.

        Returns:
            The jet; one ordinary backward pass through it gives gradients of the parameters.

        Raises:
            ConfigError: `needs` is not a level.
            DerivativeError: a second derivative of splines with k < 3.
            ShapeError: x is not (n, d).
            DtypeError: x has another dtype than the model.
        """
        jet = self.lift(x, needs)
        for layer in self.layers:
            jet = layer.jet(jet)
        return jet

    def lift(self, x: Float[Tensor, "n d"], needs: str) -> Jet:
        """The jet of the scaled inputs."""
        check_needs(needs)
        check_points(x, self.n_inputs, self.dtype)
        check_rows(x)
        jet = Jet.lift(x, needs).affine(*self._scaling())
        check_degree(jet.orders, self.layers)
        return jet

    def _scaling(self) -> tuple[Tensor, Tensor]:
        """Scale and bias of the map from the domain to [-1, 1]."""
        span = self.high - self.low
        return 2 / span, -(self.high + self.low) / span

    def _describe(self, options: str) -> str:
        """One line: the width, some options, the number of trained parameters."""
        trained = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return f"{type(self).__name__}({list(self.width)}, {options}, {trained} parameters, {self.dtype})"


def read_width(width: Sequence[Any]) -> tuple[int, ...]:
    """Sizes of columns that have no products.

    Raises:
        ConfigError: no sizes of two columns or more.

    Example:
        >>> read_width([2, 20, 1])
        (2, 20, 1)
    """
    columns = parse_columns(width)
    if any(column.arities for column in columns):
        raise ConfigError(f"expected a width without products, such as [2, 20, 20, 1], got {width!r}")
    return tuple(column.n_sum for column in columns)
