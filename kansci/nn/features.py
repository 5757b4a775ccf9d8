"""Auxiliary features: functions of the raw inputs that a network takes as further inputs."""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kansci.errors import ConfigError
from kansci.jets import Jet
from kansci.nn.multkan import MultKAN


class AuxiliaryFeatures(nn.Module):
    """The map x -> [x, features of x], which is not trained.

    The features are the outputs of a network of symbolic edges, so that jets, files and formulas of networks
    serve them too. All derivatives are with respect to the raw inputs.

    Attributes:
        network: the features as functions of the raw inputs.
        formulas: each feature as text.
        names: of the columns of the result: the raw inputs, then the features.

    Example:
        >>> from kansci.symbolic.kanpiler import auxiliary_features
        >>> auxiliary_features({"r2": "x**2 + y**2"}, ["x", "y"])
        AuxiliaryFeatures(x, y, r2 = x**2 + y**2)

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 3.1.
    """

    def __init__(self, network: MultKAN, formulas: Sequence[str], names: Sequence[str]) -> None:
        """Keep a frozen copy of the network.

        Raises:
            ConfigError: not one formula for each output of the network, or not one name for each input and
                output.
        """
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.formulas = tuple(formulas)
        self.names = tuple(names)
        if len(self.formulas) != self.n_features or len(self.names) != self.n_inputs + self.n_features:
            raise ConfigError(
                f"expected {self.n_features} formulas, and names of {self.n_inputs} inputs and of the "
                f"features, got {self.formulas} and {self.names}"
            )

    @property
    def n_inputs(self) -> int:
        """Number of raw inputs d."""
        return self.network.n_inputs

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.network.n_outputs

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch in"]:
        """Raw inputs with their features."""
        return torch.cat([x, self.network(x)], -1)

    def jet(self, x: Float[Tensor, "n d"], needs: str = "laplacian") -> Jet:
        """Values and derivatives of raw inputs and features with respect to the raw inputs."""
        features = self.network.jet(x, needs)
        return Jet(torch.cat([Jet.lift(x, needs).channels, features.channels], 1), needs, features.d)

    def __repr__(self) -> str:
        """The names of the columns, and the formulas."""
        named = zip(self.names[self.n_inputs :], self.formulas, strict=True)
        features = [formula if name == formula else f"{name} = {formula}" for name, formula in named]
        return f"AuxiliaryFeatures({', '.join([*self.names[: self.n_inputs], *features])})"
