"""MLP: a multilayer perceptron with jets in closed form, to compare with on the same problem and solver."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from kansci.functions import library_function
from kansci.nn.arguments import check_device, read_domain
from kansci.nn.dense import DenseNetwork, read_width


@dataclass(frozen=True)
class MLPConfig:
    """Sizes of the columns, inputs first, and the activation of the hidden ones, a LIBRARY row."""

    width: tuple[int, ...]
    activation: str

    def __post_init__(self) -> None:
        """Refuse an activation that LIBRARY does not have."""
        library_function(self.activation)


class MLP(DenseNetwork):
    """Multilayer perceptron of inputs that are first scaled from their domain to [-1, 1].

    Attributes:
        config: the width and the activation.
        layers: the layers, input side first; the first one's activation is the identity.
    """

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
        self.config = MLPConfig(read_width(width), activation)
        self._assemble(self.config.width, activation, read_domain(domain, self.config.width[0]), seed)
        self.to(device=check_device(device, dtype), dtype=dtype)

    @classmethod
    def from_config(cls, config: MLPConfig) -> "MLP":
        """A network of the given configuration, to be filled by `load_state_dict`."""
        model = cls.__new__(cls)
        nn.Module.__init__(model)
        model.config = config
        model._assemble(config.width, config.activation, torch.zeros(config.width[0], 2, dtype=torch.float64), seed=0)
        return model

    def __repr__(self) -> str:
        """One line: the width, the activation, the number of trained parameters."""
        return self._describe(f"activation={self.config.activation!r}")
