"""The error of a run against its own seconds: the clock stands still while an error is measured."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Function = Callable[[Tensor], Tensor]
PACE = 1.1  # from one measurement to the next the seconds grow by this factor at least


class Track:
    """What a run leaves behind.

    Attributes:
        seconds: when the error was measured, not counting the time that measuring took.
        errors: what it was; infinite where the function was not finite.
        parameters: how many the run trained.
    """

    def __init__(self, error: Callable[[Function], float], limit: float) -> None:
        """Nothing measured yet; `error` is that of a function, `limit` the seconds that the run may take."""
        self.seconds: list[float] = []
        self.errors: list[float] = []
        self.parameters = 0
        self._error, self._limit = error, limit
        self._begin = math.nan

    @property
    def limit(self) -> float:
        """Seconds that the run may take."""
        return self._limit

    def start(self, parameters: int) -> None:
        """Start the clock: everything is built and compiled."""
        self.parameters = parameters
        self._begin = time.perf_counter()

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._begin

    def look(self, find: Callable[[], Function]) -> bool:
        """To be called after each step: measure the error if it is time to.

        Args:
            find: gives the function as it is now; what that takes is not counted either.

        Returns:
            Whether the time is up.
        """
        now = self.elapsed()
        is_over = now >= self._limit
        if is_over or not self.seconds or now >= PACE * self.seconds[-1]:
            self._measure(now, find)
        return is_over

    def finish(self, find: Callable[[], Function]) -> None:
        """Measure what the run ends with, unless its time was up."""
        now = self.elapsed()
        if now < self._limit:
            self._measure(now, find)

    def _measure(self, now: float, find: Callable[[], Function]) -> None:
        error = self._error(find())
        self.seconds.append(now)
        self.errors.append(error if math.isfinite(error) else math.inf)
        self._begin = time.perf_counter() - now


@dataclass(frozen=True)
class Run:
    """What became of an entrant in a task.

    Attributes:
        library: the entrant's.
        method: the entrant's.
        parameters: how many it trained, on the finest grid.
        ended: "time", what the library calls its end, or "failed" with the reason.
        seconds: when errors were measured.
        errors: relative L2, infinite where the function was not finite.
    """

    library: str
    method: str
    parameters: int
    ended: str
    seconds: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def final(self) -> float:
        """The last error, infinite where there is none."""
        return self.errors[-1] if self.errors else math.inf

    def time_to(self, threshold: float) -> float | None:
        """When the error was first at a threshold or below, None if never.

        Example:
            >>> Run("kansci", "lm", 1, "time", (1.0, 2.0, 3.0), (1.0, 0.1, 0.2)).time_to(0.1)
            2.0
        """
        return next((at for at, error in zip(self.seconds, self.errors, strict=True) if error <= threshold), None)

    def pack(self) -> dict[str, Any]:
        """For JSON, which knows no infinity."""
        return {**vars(self), "errors": [error if math.isfinite(error) else None for error in self.errors]}

    @classmethod
    def unpack(cls, record: dict[str, Any]) -> "Run":
        """The inverse of `pack`."""
        errors = tuple(math.inf if error is None else error for error in record["errors"])
        return cls(**{**record, "seconds": tuple(record["seconds"]), "errors": errors})
