"""Adam and SGD: epochs of random batches, by the optimizers of torch.

A step is an epoch: every point is used once, in an order that depends on the seed and on the number of the epoch only.
All terms are split into the same number of batches, a term with fewer points than batches is in every one of them, and
each batch has the mean of a term over its own points, so its gradient is that of the loss on average. Of several ranks
each splits its own points, all into the same number of batches.

References:
    Kingma, Ba, Adam, ICLR 2015, arXiv:1412.6980.
    Loshchilov, Hutter, SGDR, ICLR 2017, arXiv:1608.03983 (learning rates that fall along a cosine).
"""

import math
import operator
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from kansci.errors import CheckpointError
from kansci.sealed import Group
from kansci.solvers import ranks
from kansci.solvers.growth import escapes, grow
from kansci.solvers.method import Settings
from kansci.solvers.system import Evaluation, System

ADAM_RATE, SGD_RATE = 1e-2, 1e-2
MOMENTUM = 0.9
EPOCHS = 1_000_003  # distance of the seeds of two solves
MOST_EPOCHS = 2**32

New = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def cosine(rate: float) -> Callable[[float], float]:
    """A learning rate that falls from `rate` to 0 as the share of the epochs that have passed goes from 0 to 1.

    Example:
        >>> cosine(0.01)(0.5)
        0.005
    """
    return lambda share: rate * (1 + math.cos(math.pi * share)) / 2


def adam(settings: Settings) -> "FirstOrder":
    """Adam with moments 0.9 and 0.999."""
    return FirstOrder(settings, torch.optim.Adam, ADAM_RATE)


def sgd(settings: Settings) -> "FirstOrder":
    """Stochastic gradient descent with Nesterov's momentum."""
    return FirstOrder(
        settings, lambda unknowns: torch.optim.SGD(unknowns, lr=SGD_RATE, momentum=MOMENTUM, nesterov=True), SGD_RATE
    )


class FirstOrder:
    """An optimizer of torch, an epoch a step; ends "diverged" where the loss is not finite any more."""

    round = sys.maxsize
    damping = 0.0

    def __init__(self, settings: Settings, new: New, rate: float) -> None:
        """Start a schedule; `new` makes the optimizer, `rate` is its learning rate unless the settings have one."""
        self._settings, self._new = settings, new
        self._rate = cosine(rate) if settings.rate is None else settings.rate
        self._epoch, self._first = 0, 0
        self._forget()

    def _forget(self) -> None:
        self._vector = nn.Parameter(torch.zeros(0, dtype=torch.float64))
        self._optimizer = self._new([self._vector])

    def begin(self, system: System) -> None:
        """The schedule starts again, with no memory of other grids or points."""
        self._first = self._epoch
        self._forget()

    def step(self, system: System, at: Evaluation) -> Evaluation | str:
        """An epoch, after which grids grow where activations escape."""
        with torch.no_grad():
            self._vector.data = at.vector.clone()
        size = ranks.count(sum(term.size for term in system.terms))
        count = math.ceil(size / (self._settings.batch_size or size))
        for number, part in enumerate(self._batches(system, count)):
            share = (self._epoch - self._first + number / count) / self._settings.epochs
            self._move(part, self._rate(share))
            if ranks.agree(system.tick(sum(term.size for term in part.terms))):
                break
        self._epoch += 1
        found = system.evaluate(self._vector.detach().clone())
        if not math.isfinite(found.loss):
            return "diverged"
        return grow(system, found, found) if escapes(system, found) else found

    def _move(self, part: System, rate: float) -> None:
        """One step of the optimizer; free scalars stay within their bounds."""
        self._vector.grad = part.slope(self._vector.detach())
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        low, high = self._settings.bounds
        if len(low):
            self._vector.data[-len(low) :].clamp_(low, high)

    def _batches(self, system: System, count: int) -> Iterator[System]:
        """The system on each of so many batches of points, a random partition of all."""
        if count == 1:
            yield system
            return
        generator = torch.Generator().manual_seed(EPOCHS * self._settings.seed + self._epoch)
        orders = [_split(term.size, count, generator) for term in system.terms]
        for rows in zip(*orders, strict=True):
            terms = [term.at_rows(own) for term, own in zip(system.terms, rows, strict=True)]
            yield System(terms, system.models, system.scalars, system.single, system.penalty, system.prior)

    def pack(self) -> Group:
        """Number of the epoch and the memory of the optimizer."""
        return Group({"epoch": self._epoch, "first": self._first}, _tensors(self._optimizer))

    def unpack(self, state: Group, size: int) -> None:
        """The inverse of `pack`."""
        self._forget()
        self._epoch, self._first = operator.index(state.about["epoch"]), operator.index(state.about["first"])
        if not 0 <= self._first <= self._epoch < MOST_EPOCHS:
            raise CheckpointError(f"expected numbers of epochs, got {state.about}")
        if state.tensors:
            _check_shapes(state.tensors, self._memory(size))
            groups = self._optimizer.state_dict()["param_groups"]
            self._optimizer.load_state_dict({"state": {0: state.tensors}, "param_groups": groups})

    def _memory(self, size: int) -> dict[str, Tensor]:
        """What the optimizer remembers of so many unknowns."""
        vector = nn.Parameter(torch.zeros(size, dtype=torch.float64))
        vector.grad = torch.zeros_like(vector)
        optimizer = self._new([vector])
        optimizer.step()
        return _tensors(optimizer)


def _tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The memory of an optimizer of one parameter."""
    state = optimizer.state_dict()["state"].get(0, {})
    return {name: torch.as_tensor(value) for name, value in state.items() if value is not None}


def _check_shapes(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Refuse tensors of other names, shapes or dtypes."""
    kinds, wanted = ({name: (own.shape, own.dtype) for name, own in each.items()} for each in (found, expected))
    if kinds != wanted:
        raise CheckpointError(f"expected the tensors {wanted}, got {kinds}")


def _split(size: int, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """A random partition of so many rows, or all of them each time where there are fewer than parts."""
    if size < count:
        return (torch.arange(size),) * count
    return tuple(part.sort().values for part in torch.randperm(size, generator=generator).tensor_split(count))
