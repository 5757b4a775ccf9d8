"""MLP: a multilayer perceptron with jets in closed form, to compare with on the same problem and solver."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kansci.config import parse_columns
from kansci.errors import ConfigError
from kansci.functions import library_function
from kansci.jets import Jet, check_needs
from kansci.nn.arguments import check_device, check_points, check_rows, read_domain


@dataclass(frozen=True)
class MLPConfig:
    """Sizes of the columns, inputs first, and the activation of the hidden ones, a LIBRARY row."""

    width: tuple[int, ...]
    activation: str

    def __post_init__(self) -> None:
        """Refuse an activation that LIBRARY does not have."""
        library_function(self.activation)


class DenseLayer(nn.Module):
    """y = W f(x) + b, with W ~ U(-s, s), s^2 = 6 / (n_in + n_out), and b = 0 to begin with.

    References:
        Glorot, Bengio, Understanding the difficulty of training deep feedforward networks, AISTATS 2010.
    """

    def __init__(self, n_in: int, n_out: int, activation: str, generator: torch.Generator) -> None:
        """Draw W in float64; f is a LIBRARY row."""
        super().__init__()
        self.activation = library_function(activation)
        bound = math.sqrt(6 / (n_in + n_out))
        draws = torch.rand(n_out, n_in, generator=generator, dtype=torch.float64)
        self.weight = nn.Parameter(bound * (2 * draws - 1))
        self.bias = nn.Parameter(torch.zeros(n_out, dtype=torch.float64))

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        """Values of y."""
        return nn.functional.linear(self.activation(x), self.weight, self.bias)

    def activate(self, jet: Jet) -> Jet:
        """The jet of f(x)."""
        return jet.apply(torch.stack(self.activation.jet(jet.channels[0], jet.orders - 1)))

    def combine(self, jet: Jet) -> Jet:
        """The jet of y from that of f(x)."""
        return jet.linear(self.weight, self.bias)

    def jet(self, jet: Jet) -> Jet:
        """The jet of y."""
        return self.combine(self.activate(jet))


class MLP(nn.Module):
    """Multilayer perceptron of inputs that are first scaled from their domain to [-1, 1].

    Attributes:
        layers: the layers, input side first; the first one's activation is the identity.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self,
        width: Sequence[Any],
        *,
        activation: str = "tanh",
        domain: Sequence[Any] = (-1.0, 1.0),
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        """Build a network with random weights.

        Args:
            width: sizes of the columns, e.g. [2, 20, 20, 1].
            activation: of the hidden columns, the name of a row of `kansci.functions.LIBRARY`.
            domain: one (low, high) for all inputs or one pair for each, in raw units.
            seed: of the initial weights.
            dtype: float64 or float32.
            device: where the tensors live.

        Raises:
            ConfigError: an argument makes no sense.
            DtypeError: the device has no such dtype.
            UnknownFunctionError: no such activation.

        Example:
            >>> model = MLP([2, 20, 1], domain=(0, 1))
            >>> model
            MLP([2, 20, 1], activation='tanh', 81 parameters, torch.float64)
            >>> model.jet(torch.zeros(3, 2, dtype=torch.float64), "laplacian").laplacian.shape
            torch.Size([3, 1])
        """
        super().__init__()
        columns = parse_columns(width)
        if any(column.arities for column in columns):
            raise ConfigError(f"expected a width without products, such as [2, 20, 20, 1], got {width!r}")
        config = MLPConfig(tuple(column.n_sum for column in columns), activation)
        self._assemble(config, read_domain(domain, columns[0].n_sum), seed)
        self.to(device=check_device(device, dtype), dtype=dtype)

    @classmethod
    def from_config(cls, config: MLPConfig) -> "MLP":
        """A network of the given configuration, to be filled by `load_state_dict`."""
        model = cls.__new__(cls)
        nn.Module.__init__(model)
        model._assemble(config, torch.zeros(config.width[0], 2, dtype=torch.float64), seed=0)
        return model

    def _assemble(self, config: MLPConfig, domain: Float[Tensor, "d 2"], seed: int) -> None:
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        layers = [
            DenseLayer(n_in, n_out, config.activation if number else "x", generator)
            for number, (n_in, n_out) in enumerate(pairwise(config.width))
        ]
        self.layers = cast(Sequence[DenseLayer], nn.ModuleList(layers))
        self.register_buffer("low", domain[:, 0].clone())
        self.register_buffer("high", domain[:, 1].clone())

    @property
    def n_inputs(self) -> int:
        """Number of inputs d."""
        return self.config.width[0]

    @property
    def n_outputs(self) -> int:
        """Number of outputs m."""
        return self.config.width[-1]

    @property
    def domain(self) -> tuple[Float[Tensor, "d"], Float[Tensor, "d"]]:
        """Lowest and highest value of each input."""
        return self.low, self.high

    @property
    def dtype(self) -> torch.dtype:
        """Floating point type of the tensors."""
        return self.low.dtype

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch m"]:
        """Values of the outputs, raw units in and out."""
        check_points(x, self.n_inputs, self.dtype)
        scale, bias = self._scaling()
        nodes = scale * x + bias
        for layer in self.layers:
            nodes = layer(nodes)
        return nodes

    def jet(self, x: Float[Tensor, "n d"], needs: str = "laplacian") -> Jet:
        """Values and derivatives of the outputs with respect to the raw inputs, in closed form.

        Args:
            x: points.
            needs: "value", "gradient", "laplacian", "diagonal" or "hessian"; a level contains the lower ones.

        Returns:
            The jet; one ordinary backward pass through it gives gradients of the parameters.

        Raises:
            ShapeError: x is not (n, d).
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
        return Jet.lift(x, needs).affine(*self._scaling())

    def _scaling(self) -> tuple[Tensor, Tensor]:
        """Scale and bias of the map from the domain to [-1, 1]."""
        span = self.high - self.low
        return 2 / span, -(self.high + self.low) / span

    def __repr__(self) -> str:
        """One line: the width, the activation, the number of trained parameters."""
        trained = sum(p.numel() for p in self.parameters() if p.requires_grad)
        width, activation = list(self.config.width), self.config.activation
        return f"MLP({width}, activation={activation!r}, {trained} parameters, {self.dtype})"
