"""Least squares systems for tests, and their Jacobians as matrices."""

import torch
from torch import Tensor, nn

from kansci.jets import Jet
from kansci.solvers.blocks import Block
from kansci.solvers.residual import Residual
from kansci.solvers.system import Evaluation, System
from kansci.solvers.unknowns import Unknowns


def make(terms: list[Residual], model: nn.Module | dict[str, nn.Module], chunk: int = 512, **options) -> System:
    several = isinstance(model, dict)
    models = {name: Unknowns(each) for name, each in (model if several else {"": model}).items()}
    return System(terms, models, single=not several, chunk=chunk, **options)


def start(system: System) -> Evaluation:
    return system.evaluate(system.read(torch.zeros(0, dtype=torch.float64)))


def dense(block: Block) -> Tensor:
    """All derivatives, (p, r, n)."""
    return torch.stack([block.dense(component) for component in range(len(block.rows))], 1)


def jacobian_of(system: System, at: Evaluation) -> Tensor:
    """The whole Jacobian, its rows in the order of `Evaluation.flat`."""
    jacobian = torch.full((len(at.flat), system.size), torch.nan, dtype=torch.float64)
    numbers = torch.arange(len(at.flat)).split([rows.numel() for rows in at.rows])
    for block in system.jacobian(at):
        own = numbers[block.term].view(at.rows[block.term].shape)[:, block.part]
        assert torch.equal(at.flat[own], block.rows)
        jacobian[own] = dense(block).permute(1, 2, 0)
    return jacobian


def mixture(jet: Jet, x: Tensor, *_) -> Tensor:
    """Two nonlinear residuals of everything that a jet holds."""
    channels, m, _ = jet.channels.shape
    weights = torch.linspace(0.5, 1.5, channels * m, dtype=x.dtype).view(channels, m, 1)
    total = (weights * jet.channels).sum((0, 1))
    return torch.stack([total.sin() + x[:, 0] * jet.value[:, 0], total * jet.channels[-1, -1]], 1)
