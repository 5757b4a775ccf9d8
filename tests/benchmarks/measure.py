"""Times contenders side by side, in turns: whatever else the machine does falls on all of them alike."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from statistics import median

import torch

WARM_UP = 10
CALLS = 5
PAUSE = 0.2


@dataclass(frozen=True)
class Target:
    """The median of `ours` is to be at most `limit` times that of `reference`."""

    ours: str
    reference: str
    limit: float


@dataclass(frozen=True)
class Case:
    """Contenders in one task.

    Attributes:
        name: what the command line calls it.
        summary: the task.
        unit: of the figures, "ms" or "MB".
        measure: figures of each contender, from a number of rounds.
        targets: what is claimed of them.
    """

    name: str
    summary: str
    unit: str
    measure: Callable[[int], Mapping[str, list[float]]]
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Verdict:
    """What became of a target: medians of both sides and their ratio."""

    target: Target
    ours: float
    reference: float

    @property
    def ratio(self) -> float:
        """Ours by the reference; less is better."""
        return self.ours / self.reference

    @property
    def holds(self) -> bool:
        """Whether the target is reached."""
        return self.ratio <= self.target.limit


def set_threads(count: int) -> None:
    """Threads of torch and of the BLAS behind NumPy and SciPy."""
    torch.set_num_threads(count)
    import_module("threadpoolctl").threadpool_limits(count)


def judge(target: Target, figures: Mapping[str, list[float]]) -> Verdict:
    """Compare the medians of two contenders."""
    return Verdict(target, median(figures[target.ours]), median(figures[target.reference]))


def interleave(
    contenders: Mapping[str, Callable[[], object]], rounds: int, *, pause: float = PAUSE
) -> dict[str, list[float]]:
    """Milliseconds of each call, A B A B: in every round each contender has a block of calls.

    Before a block comes a pause, in which the threads of the contender before go to sleep (thread pools of
    different libraries wait by spinning, on each other's cores), and one call that is not measured.
    """
    for run in contenders.values():
        for _ in range(WARM_UP):
            run()
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            time.sleep(pause)
            run()
            figures[name] += [_milliseconds(run) for _ in range(CALLS)]
    return figures


def _milliseconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)
