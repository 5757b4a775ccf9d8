"""The networks that are compared, each built as its users would, and the tasks they are given."""

import math
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

import kansci as ks


def inkan(width: Sequence[int], grid: int, **options: Any) -> nn.Module:
    """inKAN with everything at its default: cubic, its basis compiled for these very shapes."""
    torch._dynamo.reset()
    return import_module("inkan").KANNetwork(list(width), grid_size=grid, **options)


def pykan(width: Sequence[int], dtype: torch.dtype, *, speed: bool) -> nn.Module:
    """pykan as it comes, but that nothing is saved; or without its symbolic branch, as its documentation advises."""
    model = import_module("kan").KAN(width=list(width), grid=5, k=3, seed=0, auto_save=False)
    return (model.speed() if speed else model).to(dtype)


def perceptron(n_in: int, n_out: int, parameters: int) -> nn.Module:
    """MLP with two equal hidden layers, as wide as the number of parameters allows."""
    hidden = equal_width(n_in, n_out, parameters, layers=2)
    return nn.Sequential(
        nn.Linear(n_in, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, n_out)
    )


def equal_width(n_in: int, n_out: int, parameters: int, layers: int) -> int:
    """Width of that many equal hidden layers, two or more, with as many parameters or just fewer.

    Example:
        >>> equal_width(2, 1, 921, layers=3)  # [2, 20, 20, 20, 1]
        20
    """
    a, b = layers - 1, n_in + n_out + layers
    return max(int((math.sqrt(b**2 + 4 * a * (parameters - n_out)) - b) / (2 * a)), 1)


def count_parameters(model: nn.Module) -> int:
    """How many parameters are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def random_points(n: int, d: int, dtype: torch.dtype) -> Tensor:
    """Points in [-1, 1]^d."""
    return 2 * torch.rand(n, d, generator=torch.Generator().manual_seed(0), dtype=dtype) - 1


def gradient_of(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], object]:
    """The task: a loss and its gradient with respect to all trained parameters."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return lambda: torch.autograd.grad(loss(), trained, allow_unused=True)


def mean_square(model: nn.Module, x: Tensor) -> Callable[[], object]:
    """Forward and backward pass of the mean square of the outputs."""
    return gradient_of(model, lambda: model(x).square().mean())


def poisson_by_jets(model: ks.MultKAN, x: Tensor) -> Callable[[], object]:
    """Forward and backward pass of the mean square of laplacian u + 1."""
    return gradient_of(model, lambda: (model.jet(x, "laplacian").laplacian + 1).square().mean())


def poisson_by_autograd(model: nn.Module, x: Tensor) -> Callable[[], object]:
    """The same by nested automatic differentiation."""
    return gradient_of(model, lambda: (nested_laplacian(model, x) + 1).square().mean())


def nested_laplacian(model: nn.Module, x: Tensor) -> Tensor:
    """The Laplacian of the only output, differentiable once more."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    rows = [torch.autograd.grad(column.sum(), x, create_graph=True)[0] for column in gradient.unbind(1)]
    return sum((row[:, i] for i, row in enumerate(rows)), torch.zeros_like(x[:, 0]))
