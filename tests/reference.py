"""A network evaluated from its definition, in 40 digits: slow, plain and independent of kansci's numerics."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import mpmath
import torch
from torch import Tensor

from kansci.nn.edges import SplineEdges
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.nn.symbols import SymbolicEdges

mp = mpmath.MPContext()
mp.dps = 40

FUNCTIONS: dict[str, Any] = {
    "zero": lambda x: mp.zero,
    "x": lambda x: x,
    "x**2": lambda x: x**2,
    "exp": mp.exp,
    "sin": mp.sin,
    "tanh": mp.tanh,
    "gaussian": lambda x: mp.exp(-(x**2)),
    "silu": lambda x: x / (1 + mp.exp(-x)),
}


def basis(x: Any, knots: Sequence[Any], k: int) -> dict[int, Any]:
    """The values of the k + 1 B-splines of degree k alive at x, by their numbers (Cox and de Boor)."""
    last = len(knots) - k - 2
    interval = max(j for j in range(k, last + 1) if j == k or knots[j] <= x)
    alive = {interval: mp.one}
    for degree in range(1, k + 1):
        alive = {
            j: _ramp(x, knots[j], knots[j + degree]) * alive.get(j, 0)
            + (1 - _ramp(x, knots[j + 1], knots[j + degree + 1])) * alive.get(j + 1, 0)
            for j in range(interval - degree, interval + 1)
        }
    return alive


def _ramp(x: Any, start: Any, stop: Any) -> Any:
    return (x - start) / (stop - start)


def spline(x: Any, knots: Sequence[Any], k: int, coef: Sequence[Any]) -> Any:
    """A spline, continued linearly outside its grid."""
    inside = min(max(x, knots[k]), knots[-k - 1])
    value = mp.fsum(coef[j] * b for j, b in basis(inside, knots, k).items())
    if x == inside:
        return value
    slopes = [k * (b - a) / (knots[j + k] - knots[j]) for j, (a, b) in enumerate(pairwise(coef), 1)]
    slope = mp.fsum(slopes[j] * b for j, b in basis(inside, knots[1:-1], k - 1).items())
    return value + (x - inside) * slope


def numbers(tensor: Tensor) -> Any:
    """The entries of a tensor, exactly."""
    if tensor.ndim == 0:
        return mp.mpf(tensor.item())
    return [numbers(row) for row in tensor.detach()]


class Network:
    """The function of a model; call it with one number for each input."""

    def __init__(self, model: MultKAN) -> None:
        self.layers = [_Layer(layer) for layer in model.layers]

    def __call__(self, *x: Any) -> list[Any]:
        nodes = list(x)
        for layer in self.layers:
            nodes = layer(nodes)
        return nodes

    def table(self, x: Tensor, orders: Sequence[int] = ()) -> Tensor:
        """A partial derivative (the value by default) of each output at each point, (n, m)."""
        rows = [self._derivatives(point, tuple(orders)) for point in numbers(x)]
        return torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)

    def _derivatives(self, point: list[Any], orders: tuple[int, ...]) -> list[Any]:
        if not any(orders):
            return self(*point)
        outputs = range(len(self(*point)))
        return [mp.diff(lambda *x, m=m: self(*x)[m], tuple(point), orders) for m in outputs]


class _Layer:
    def __init__(self, layer: KANLayer) -> None:
        self.out = layer.config.out
        self.parts = [_Splines(layer.splines)] if layer.splines is not None else []
        self.parts += [_Symbols(layer.symbols)] if layer.symbols is not None else []
        self.subnode_maps = list(zip(numbers(layer.subnode_scale), numbers(layer.subnode_bias), strict=True))
        self.node_maps = list(zip(numbers(layer.node_scale), numbers(layer.node_bias), strict=True))

    def __call__(self, x: list[Any]) -> list[Any]:
        subnodes = [
            scale * mp.fsum(part(target, source, v) for part in self.parts for source, v in enumerate(x)) + bias
            for target, (scale, bias) in enumerate(self.subnode_maps)
        ]
        return [
            scale * mp.fprod(subnodes[s] for s in self.out.subnodes(node)) + bias
            for node, (scale, bias) in enumerate(self.node_maps)
        ]


class _Splines:
    def __init__(self, edges: SplineEdges) -> None:
        self.config = edges.config
        self.coef, self.mask = numbers(edges.coef), numbers(edges.mask)
        self.scale_base, self.scale_spline = numbers(edges.scale_base), numbers(edges.scale_spline)
        self.ends = list(zip(*map(numbers, edges.domain), strict=True))
        self.knots = [
            self._even(low, high) if self.config.uniform else knots
            for knots, (low, high) in zip(numbers(edges.knots), self.ends, strict=True)
        ]

    def _even(self, low: Any, high: Any) -> list[Any]:
        grid, k = self.config.grid, self.config.k
        return [low + (high - low) * j / grid for j in range(-k, grid + k + 1)]

    def __call__(self, target: int, source: int, x: Any) -> Any:
        mask = self.mask[target][source]
        low, high = self.ends[source]
        coef = self.coef[target][source]
        if source in self.config.periodic:
            x -= mp.floor((x - low) / (high - low)) * (high - low)
            coef = [coef[j % self.config.grid] for j in range(self.config.n_coef)]
            base = mp.zero
        else:
            base = self.scale_base[target][source] * self._base(2 * _ramp(x, low, high) - 1)
        curve = spline(x, self.knots[source], self.config.k, coef)
        return mask * (base + self.scale_spline[target][source] * curve)

    def _base(self, x: Any) -> Any:
        f = FUNCTIONS[self.config.base]
        inside = min(max(x, -mp.one), mp.one)
        return f(inside) + (0 if x == inside else (x - inside) * mp.diff(f, inside))


class _Symbols:
    def __init__(self, edges: SymbolicEdges) -> None:
        self.affine, self.mask = numbers(edges.affine), numbers(edges.mask)
        self.names = {
            (target, source): group.function.name
            for group in edges.groups
            for target, source in zip(group.targets, group.sources, strict=True)
        }

    def __call__(self, target: int, source: int, x: Any) -> Any:
        if (target, source) not in self.names:
            return mp.zero
        a, b, c, d = self.affine[target][source]
        return self.mask[target][source] * (c * FUNCTIONS[self.names[target, source]](a * x + b) + d)
