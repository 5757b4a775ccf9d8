"""MultKAN: a stack of KAN layers with addition and multiplication nodes."""

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kansci.config import LayerConfig, ModelConfig, describe_grids, parse_columns
from kansci.errors import ConfigError, DomainError
from kansci.jets import Jet, check_needs
from kansci.nn.arguments import check_device, check_points, check_rows, read_domain
from kansci.nn.edges import check_degree
from kansci.nn.layer import KANLayer
from kansci.nn.samples import sobol_points, spread
from kansci.splines import uniform_knots


@runtime_checkable
class Features(Protocol):
    """What MultKAN asks of auxiliary features: raw inputs in, raw inputs and features out."""

    @property
    def n_inputs(self) -> int:
        """Number of raw inputs."""
        ...

    @property
    def n_features(self) -> int:
        """Number of features."""
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """Inputs with their features."""
        ...

    def jet(self, x: Tensor, needs: str) -> Jet:
        """The same as a jet."""
        ...


class MultKAN(nn.Module):
    r"""Kolmogorov-Arnold network with sum and product nodes.

    Node j of column l + 1 is a sum, or a product of sums, of univariate functions of the nodes of column l:

    .. math:: x_{l+1,j} = \prod_{s \in j} \sum_i \varphi_{l,s,i}(x_{l,i})

    Attributes:
        layers: the layers, input side first.
        features: auxiliary features, or None.
        inputs: columns of the data that are the raw inputs: 0, 1, 2 ..., until surgery leaves out or moves some. Then
            `x[:, model.inputs]` are the points of the model, for points x of the first one.

    Example:
        >>> MultKAN([2, [3, 2], 1], grid=5, k=3)
        MultKAN([2, [3, [2, 2]], 1], grid=5, k=3, 171 parameters, torch.float64)

    References:
        Liu et al., KAN: Kolmogorov-Arnold Networks, arXiv:2404.19756.
        Liu et al., KAN 2.0, arXiv:2408.10205 (multiplication nodes).
    """

    def __init__(
        self,
        width: Sequence[Any],
        *,
        grid: int = 5,
        k: int = 3,
        domain: Sequence[Any] = (-1.0, 1.0),
        base: str = "silu",
        sparse: bool = False,
        features: Features | None = None,
        periodic: Sequence[int] = (),
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        """Build a network with random edges.

        Args:
            width: columns of nodes, e.g. [2, 5, 1], [2, [3, 2], 1] (3 sums, 2 products of two),
                [2, [3, [2, 3]], 1] (products of two and of three); with features, the first counts raw inputs
                and features.
            grid: intervals G of each edge.
            k: polynomial degree of the splines, 1 to 9.
            domain: one (low, high) for all raw inputs or one pair for each, in raw units.
            base: name of the base function, a row of `kansci.functions.LIBRARY`; "zero" for none.
            sparse: start with each node joined only to its nearest neighbors by position.
            features: auxiliary features that extend the raw inputs; the model keeps a copy.
            periodic: raw inputs whose domain is one period.
            seed: of the initial coefficients.
            dtype: float64 or float32.
            device: where the tensors live.

        Raises:
            ConfigError: an argument makes no sense, or width[0] is not the number of raw inputs and features.
            DomainError: a feature is not finite on the domain.
            DtypeError: the device has no such dtype.
        """
        super().__init__()
        columns = parse_columns(width)
        generator = torch.Generator().manual_seed(seed)
        configs = [
            LayerConfig(a.n_nodes, b, grid, k, base, periodic=() if number else periodic)
            for number, (a, b) in enumerate(pairwise(columns))
        ]
        self._assemble([KANLayer(config, generator) for config in configs], copy.deepcopy(features))
        self.to(device="cpu", dtype=torch.float64)
        if sparse:
            self._thin_out()
        self.set_domain(read_domain(domain, self.n_inputs))
        self.to(device=check_device(device, dtype), dtype=dtype)

    @classmethod
    def from_layers(
        cls, layers: Sequence[KANLayer], features: Features | None = None, inputs: Sequence[int] = ()
    ) -> "MultKAN":
        """A network of existing layers; nothing is drawn and no domain is set.

        Raises:
            ConfigError: the first layer does not take all raw inputs and features, or `inputs` are not as many.
        """
        model = cls.__new__(cls)
        nn.Module.__init__(model)
        model._assemble(layers, features, inputs)
        return model

    @classmethod
    def from_config(cls, config: ModelConfig, features: Features | None = None) -> "MultKAN":
        """A network of the given configuration, to be filled by `load_state_dict`."""
        generator = torch.Generator().manual_seed(0)
        return cls.from_layers([KANLayer(layer, generator) for layer in config.layers], features, config.inputs)

    def _assemble(self, layers: Sequence[KANLayer], features: Features | None, inputs: Sequence[int] = ()) -> None:
        self.layers = cast(Sequence[KANLayer], nn.ModuleList(layers))
        self.features = features
        first = layers[0].config.n_in
        if features is not None and first != features.n_inputs + features.n_features:
            raise ConfigError(
                f"expected width[0] = {features.n_inputs} raw inputs + {features.n_features} features, got {first}"
            )
        self.inputs = tuple(map(int, inputs)) or tuple(range(self.n_inputs))
        if len(self.inputs) != self.n_inputs:
            raise ConfigError(f"expected a column of the data for each of {self.n_inputs} inputs, got {self.inputs}")

    @property
    def config(self) -> ModelConfig:
        """The configuration of the layers, and which columns of the data they take."""
        moved = self.inputs != tuple(range(self.n_inputs))
        return ModelConfig(tuple(layer.config for layer in self.layers), self.inputs if moved else ())

    @property
    def n_inputs(self) -> int:
        """Number of raw inputs d."""
        return self.layers[0].config.n_in if self.features is None else self.features.n_inputs

    @property
    def n_outputs(self) -> int:
        """Number of outputs m."""
        return self.layers[-1].config.out.n_nodes

    @property
    def domain(self) -> tuple[Float[Tensor, "d"], Float[Tensor, "d"]]:
        """Lowest and highest value of each raw input; infinite where no spline bounds it."""
        splines = self.layers[0].splines
        if splines is None:
            free = torch.full_like(self.layers[0].node_scale[:1].expand(self.n_inputs), torch.inf)
            return -free, free
        low, high = (end[: self.n_inputs].clone() for end in splines.domain)
        periodic = list(self.layers[0].config.periodic)
        low[periodic], high[periodic] = -torch.inf, torch.inf
        return low, high

    @property
    def dtype(self) -> torch.dtype:
        """Floating point type of the tensors."""
        return self.layers[0].node_scale.dtype

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch m"]:
        """Values of the outputs, raw units in and out.

        Args:
            x: points, with any leading dimensions.

        Returns:
            The values, differentiable any number of times; autograd, torch.func and compilers apply to them.

        Raises:
            ShapeError: the last dimension is not d.
            DtypeError: x has another dtype than the model.

        Example:
            >>> MultKAN([2, 5, 1])(torch.zeros(10, 20, 2, dtype=torch.float64)).shape
            torch.Size([10, 20, 1])
        """
        self._check_points(x)
        nodes = x.reshape(-1, self.n_inputs)
        if self.features is not None:
            nodes = self.features(nodes)
        nodes = nodes.T.contiguous()
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

        Example:
            >>> jet = MultKAN([2, 5, 1]).jet(torch.zeros(10, 2, dtype=torch.float64), needs="hessian")
            >>> jet.value.shape, jet.gradient.shape, jet.laplacian.shape, jet.hessian.shape
            (torch.Size([10, 1]), torch.Size([10, 1, 2]), torch.Size([10, 1]), torch.Size([10, 1, 2, 2]))
        """
        jet = self.lift(x, needs)
        for layer in self.layers:
            jet = layer.jet(jet)
        return jet

    def lift(self, x: Float[Tensor, "n d"], needs: str) -> Jet:
        """The jet of the first column of nodes: raw inputs and features."""
        check_needs(needs)
        self._check_points(x)
        check_rows(x)
        jet = Jet.lift(x, needs) if self.features is None else self.features.jet(x, needs)
        check_degree(jet.orders, self.layers)
        return jet

    def _check_points(self, x: Tensor) -> None:
        hint = "" if self.features is not None else "; did you forget AuxiliaryFeatures?"
        check_points(x, self.n_inputs, self.dtype, hint)

    @torch.no_grad()
    def set_domain(
        self,
        domain: Float[Tensor, "d 2"],
        samples: int = 1024,
        margin: float = 0.1,
        *,
        sources: Sequence[Bool[Tensor, "_"]] | None = None,
    ) -> None:
        """Set the grids: of raw inputs to `domain`, of features and hidden nodes to what Sobol points reach.

        Args:
            domain: lowest and highest value of each raw input.
            samples: number of Sobol points.
            margin: share of its range added on each side of a feature's or hidden node's grid.
            sources: for each layer, the sources whose grids are set, by default all.

        Raises:
            DomainError: a feature or a hidden node is not finite on the domain.
        """
        domain = domain.to(self.layers[0].node_scale)
        low, high = domain.unbind(1)
        nodes = sobol_points(low, high, samples)
        if self.features is not None:
            nodes = self.features(nodes)
            low, high = (
                torch.cat([a, b[self.n_inputs :]]) for a, b in zip((low, high), spread(nodes, margin), strict=True)
            )
        for number, layer in enumerate(self.layers):
            if layer.splines is not None:
                knots, chosen = layer.splines.knots, slice(None) if sources is None else sources[number]
                _check_reached(nodes[:, chosen], domain)
                knots[chosen] = uniform_knots(low[chosen], high[chosen], layer.config.grid, layer.config.k)
            nodes = layer(nodes.T).T
            low, high = spread(nodes, margin)

    def _thin_out(self) -> None:
        for layer in self.layers:
            if layer.splines is not None:
                layer.splines.mask.copy_(nearest_neighbors(layer.config.out.n_subnodes, layer.config.n_in))

    def __repr__(self) -> str:
        """One line: the width, the grids, the degrees, the number of trained parameters."""
        first, *others = self.config.columns
        width = [first.n_sum, *([w.n_sum, list(w.arities)] if w.arities else w.n_sum for w in others)]
        trained = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return f"MultKAN({width}, {describe_grids(self.config.layers)}, {trained} parameters, {self.dtype})"


def _check_reached(nodes: Tensor, domain: Tensor) -> None:
    if not nodes.isfinite().all():
        raise DomainError(
            "expected features and hidden nodes that are finite on the domain, got infinite or undefined values "
            f"on {domain.tolist()}; change the domain or the formulas"
        )


def nearest_neighbors(targets: int, sources: int) -> Float[Tensor, "targets sources"]:
    """1 where the source is nearest to the target, or the target to the source, by relative position; else 0.

    Example:
        >>> nearest_neighbors(2, 4)
        tensor([[1., 1., 0., 0.],
                [0., 0., 1., 1.]], dtype=torch.float64)
    """
    mask = torch.zeros(targets, sources, dtype=torch.float64)
    target_places = (torch.arange(targets) + 0.5) / targets
    source_places = (torch.arange(sources) + 0.5) / sources
    distance = (target_places[:, None] - source_places).abs()
    mask[torch.arange(targets), distance.argmin(1)] = 1
    mask[distance.argmin(0), torch.arange(sources)] = 1
    return mask
