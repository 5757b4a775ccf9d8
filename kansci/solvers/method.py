"""What a method of `solve` is: it takes a step, and knows what it must remember for the next one."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.sealed import Group
from kansci.solvers.normal import Pinned
from kansci.solvers.system import Evaluation, System


class Settings(NamedTuple):
    """What methods are told.

    Attributes:
        memory: bytes that a Jacobian may take.
        bounds: lowest and highest value of each unknown at the end of the vector, the free scalars.
        epochs: number of steps of a stage.
        batch_size: points of a batch, over all terms; None for all.
        rate: learning rate, as a function of the share of the epochs that have passed; None for the method's own.
        seed: of the order of points.
        damping: of the first step, where the method has one; None for its own.
    """

    memory: float
    bounds: tuple[Tensor, Tensor]
    epochs: int = 100
    batch_size: int | None = None
    rate: Callable[[float], float] | None = None
    seed: int = 0
    damping: float | None = None

    def clip(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "p"]:
        """The nearest vector within the bounds."""
        count = len(self.bounds[0])
        return torch.cat([vector[:-count], vector[-count:].clamp(*self.bounds)]) if count else vector

    def pinned(self, vector: Float[Tensor, "p"]) -> Pinned | None:
        """Which unknowns stand at a bound, or None if none has any."""
        low, high = self.bounds
        if not len(low):
            return None
        free = torch.zeros(len(vector) - len(low), dtype=torch.bool, device=low.device)
        scalars = vector[-len(low) :]
        return Pinned(torch.cat([free, scalars <= low]), torch.cat([free, scalars >= high]))


@runtime_checkable
class Method(Protocol):
    """A way to lower the loss of a system.

    Attributes:
        round: number of steps over which a tolerance is measured.
        damping: of the next step, for the history; 0 where there is none.
    """

    round: int
    damping: float

    def begin(self, system: System) -> None:
        """A stage begins: grids or points are other ones."""
        ...

    def step(self, system: System, at: Evaluation) -> Evaluation | str:
        """Where a step leads to, or the status with which there is none."""
        ...

    def pack(self) -> Group:
        """What `unpack` needs to go on to the bit."""
        ...

    def unpack(self, state: Group, size: int) -> None:
        """The inverse of `pack` for so many unknowns.

        Raises:
            CheckpointError: what no `pack` returns.
        """
        ...
