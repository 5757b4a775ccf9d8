"""LAN: a network with a learnable activation on each node, between a perceptron and a KAN."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kansci.config import LayerConfig, Width, describe_grids
from kansci.errors import ConfigError, DomainError
from kansci.functions import library_function
from kansci.nn.arguments import check_device, check_finite, read_domain
from kansci.nn.dense import DenseNetwork, read_width
from kansci.nn.mlp import MLP
from kansci.nn.samples import sobol_points, spread
from kansci.splines import uniform_knots

MARGIN = 0.1  # of a grid beyond the activations, as a share of their range


class Grid(NamedTuple):
    """Intervals and degree of the splines of a column, and whether their knots are equidistant."""

    intervals: int
    k: int
    uniform: bool = True

    @classmethod
    def read(cls, intervals: Any, k: Any) -> "Grid":
        """An equidistant grid.

        Raises:
            ConfigError: a number that makes no sense.
        """
        checked = LayerConfig(1, Width(1), intervals, k)
        return cls(checked.grid, checked.k)


@dataclass(frozen=True)
class LANConfig:
    """What is needed, beside the tensors, to rebuild a LAN.

    Attributes:
        width: sizes of the columns, inputs first.
        activation: of the hidden columns, a LIBRARY row.
        grids: of each hidden column.

    Example:
        >>> config = LANConfig((2, 8, 1), "silu", (Grid(5, 3),))
        >>> config.splines[0].n_in, config.splines[0].n_coef
        (8, 8)
    """

    width: tuple[int, ...]
    activation: str
    grids: tuple[Grid, ...]

    def __post_init__(self) -> None:
        """Refuse an activation that LIBRARY does not have."""
        library_function(self.activation)

    @property
    def splines(self) -> list[LayerConfig]:
        """The splines of each hidden column, as edges from its nodes to one subnode."""
        pairs = zip(self.width[1:-1], self.grids, strict=True)
        return [
            LayerConfig(size, Width(1), own.intervals, own.k, base="zero", uniform=own.uniform) for size, own in pairs
        ]


class LAN(DenseNetwork):
    r"""Learnable activation network: a perceptron with a function of its own on each hidden node.

    .. math:: x_{l+1} = W_l f_l(x_l) + b_l, \qquad
        f_{l,j}(x) = s_{l,j}\, a(x) + \sum_p c_{l,j,p} B_{l,j,p}(x)

    with a given activation a and B-splines B, which continue linearly outside of their grids. Where a KAN has a
    function on each edge, a LAN has one on each node, of which weights make multiples. Inputs are first scaled from
    their domain to [-1, 1], and have no function.

    Attributes:
        layers: the layers, input side first; the first one's function is the identity.

    Example:
        >>> LAN([2, 8, 1], grid=5, k=3)
        LAN([2, 8, 1], activation='silu', grid=5, k=3, 105 parameters, torch.float64)

    References:
        Liu et al., KAN: Kolmogorov-Arnold Networks, arXiv:2404.19756, appendix B.
    """

    def __init__(
        self,
        width: Sequence[Any],
        *,
        grid: int = 5,
        k: int = 3,
        activation: str = "silu",
        domain: Sequence[Any] = (-1.0, 1.0),
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        """Build a network with random weights and functions; grids span what Sobol points of the domain reach.

        Args:
            width: sizes of the columns, e.g. [2, 20, 20, 1].
            grid: intervals G of each function.
            k: polynomial degree of the splines, 1 to 9.
            activation: a, the name of a row of `kansci.functions.LIBRARY`; "zero" for none.
            domain: one (low, high) for all inputs or one pair for each, in raw units.
            seed: of the initial weights and coefficients.
            dtype: float64 or float32.
            device: where the tensors live.

        Raises:
            ConfigError: an argument makes no sense.
            DomainError: the activation is not defined where hidden nodes are.
            DtypeError: the device has no such dtype.
            UnknownFunctionError: no such activation.
        """
        super().__init__()
        sizes = read_width(width)
        config = LANConfig(sizes, activation, (Grid.read(grid, k),) * (len(sizes) - 2))
        self._build(config, read_domain(domain, sizes[0]), seed)
        self.to(device="cpu", dtype=torch.float64)
        self._place_grids(sobol_points(*self.domain))
        self.to(device=check_device(device, dtype), dtype=dtype)

    @classmethod
    def from_config(cls, config: LANConfig) -> "LAN":
        """A network of the given configuration, to be filled by `load_state_dict`."""
        model = cls.__new__(cls)
        nn.Module.__init__(model)
        model._build(config, torch.zeros(config.width[0], 2, dtype=torch.float64), seed=0)
        return model

    @classmethod
    @torch.no_grad()
    def from_mlp(cls, mlp: MLP, x: Float[Tensor, "n d"] | None = None, *, grid: int = 5, k: int = 3) -> "LAN":
        """The function of a perceptron as a LAN, whose activations can then be trained.

        The splines are zero, s = 1, and all else is the perceptron's own, so both are equal everywhere.

        Args:
            mlp: left unchanged.
            x: points whose activations the grids span, with a margin; by default Sobol points of its domain.
            grid: intervals G of each function.
            k: polynomial degree of the splines, 1 to 9.

        Raises:
            ConfigError: not an MLP, or a grid or degree that makes no sense.
            ShapeError: x is not (n, d) for this model.
            DtypeError: x has another dtype than the model.
            DataError: x is empty or not finite.
            DomainError: the activation is not defined where hidden nodes are.

        Example:
            >>> mlp = MLP([2, 8, 1])
            >>> x = torch.rand(10, 2, dtype=torch.float64)
            >>> bool((LAN.from_mlp(mlp)(x) - mlp(x)).abs().max() < 1e-14)
            True
        """
        if not isinstance(mlp, MLP):
            raise ConfigError(f"expected a kansci.MLP, got {type(mlp).__name__}; build one and copy the weights")
        grids = (Grid.read(grid, k),) * (len(mlp.width) - 2)
        model = cls.from_config(LANConfig(mlp.width, mlp.config.activation, grids)).to(mlp.low)
        model.load_state_dict(mlp.state_dict(), strict=False)
        for layer in model.layers:
            if layer.splines is not None:
                layer.splines.coef.zero_()
        if x is not None:
            model.lift(x, "value")
            check_finite(x, "x")
        model._place_grids(sobol_points(*model.domain) if x is None else x)
        return model

    def _build(self, config: LANConfig, domain: Float[Tensor, "d 2"], seed: int) -> None:
        self.activation = config.activation
        self._assemble(config.width, config.activation, domain, seed, config.splines)

    @torch.no_grad()
    def _place_grids(self, x: Float[Tensor, "n d"]) -> None:
        """Bring the grid of each hidden node to its values at x, with a margin."""
        nodes = self.lift(x, "value").channels[0]
        for layer in self.layers:
            if layer.splines is not None:
                if not nodes.isfinite().all():
                    raise DomainError(
                        f"expected hidden nodes with finite values, got others with activation {self.activation!r}; "
                        "take an activation that is defined everywhere"
                    )
                config = layer.splines.config
                layer.splines.knots = uniform_knots(*spread(nodes.T, MARGIN), config.grid, config.k)
            nodes = layer(nodes)

    @property
    def config(self) -> LANConfig:
        """The configuration as it is, with the grids that nodes have by now."""
        found = [layer.splines.config for layer in self.layers if layer.splines is not None]
        return LANConfig(self.width, self.activation, tuple(Grid(own.grid, own.k, own.uniform) for own in found))

    def __repr__(self) -> str:
        """One line: the width, the activation, the grids, the number of trained parameters."""
        splines = self.config.splines
        grids = f", {describe_grids(splines)}" if splines else ""
        return self._describe(f"activation={self.activation!r}{grids}")
