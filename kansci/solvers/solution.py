"""What a solve returns: the model, how it went, and how well it is known."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from kansci.errors import ConfigError


class Estimate(NamedTuple):
    """A number with its standard error, infinite where the data do not determine it.

    Example:
        >>> Estimate(1.5, 0.25)
        1.5 +- 0.25
    """

    value: float
    standard_error: float

    def __repr__(self) -> str:
        """The number and its error."""
        return f"{self.value:g} +- {self.standard_error:.2g}"


class Now(NamedTuple):
    """Model, residual terms and free scalars in the middle of a solve."""

    model: Any
    residuals: list[Any]
    parameters: dict[str, float]


@dataclass(frozen=True)
class Step:
    """One step of a solve, as the history keeps it and callbacks see it.

    Attributes:
        step: number of the step, over all stages.
        stage: number of the stage of grids.
        seconds: since the solve began.
        loss: the loss.
        terms: its terms, by name.
        damping: of the next step.
        validation: the loss on validation points, NaN where there are none.
    """

    step: int
    stage: int
    seconds: float
    loss: float
    terms: dict[str, float]
    damping: float
    validation: float = math.nan
    source: Callable[[], Now] | None = field(default=None, repr=False, compare=False)

    @property
    def model(self) -> Any:
        """For callbacks: a copy of the model, or of the dict of models, as it is when asked for."""
        return self._now.model

    @property
    def residuals(self) -> list[Any]:
        """For callbacks: the residual terms as they are when asked for."""
        return self._now.residuals

    @property
    def parameters(self) -> dict[str, float]:
        """For callbacks: the free scalars as they are when asked for."""
        return self._now.parameters

    @property
    def _now(self) -> Now:
        if self.source is None:
            raise ConfigError("expected a step that a callback was given, got one of a history; it keeps numbers only")
        return self.source()


@dataclass(frozen=True)
class History:
    """The steps of a solve as arrays of equal length; `validation` is None where there was none."""

    step: Int[ndarray, "t"]
    stage: Int[ndarray, "t"]
    seconds: Float[ndarray, "t"]
    loss: Float[ndarray, "t"]
    terms: dict[str, Float[ndarray, "t"]]
    damping: Float[ndarray, "t"]
    validation: Float[ndarray, "t"] | None = None

    @classmethod
    def of(cls, steps: Sequence[Step]) -> "History":
        """Columns from rows."""
        kinds = {"step": int, "stage": int}
        own = ["step", "stage", "seconds", "loss", "damping"]
        if steps and not math.isnan(steps[0].validation):
            own.append("validation")
        columns = {name: np.array([getattr(s, name) for s in steps], dtype=kinds.get(name, float)) for name in own}
        names = steps[0].terms if steps else {}
        terms = {name: np.array([s.terms[name] for s in steps]) for name in names}
        return cls(**columns, terms=terms)

    def rows(self) -> list[dict[str, int | float]]:
        """One record a step, e.g. for a data frame."""
        columns = {
            "step": self.step,
            "stage": self.stage,
            "seconds": self.seconds,
            "loss": self.loss,
            **self.terms,
            **({} if self.validation is None else {"validation": self.validation}),
        }
        values = (column.tolist() for column in columns.values())
        return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]

    def __repr__(self) -> str:
        """How many steps, and the loss at both ends."""
        if not len(self.step):
            return "History(no steps)"
        return (
            f"History({self.step[-1]} steps, {self.seconds[-1]:.1f} s, loss {self.loss[0]:.2e} -> {self.loss[-1]:.2e})"
        )


@dataclass(frozen=True)
class Solution:
    """The result of `solve` or `fit`.

    Attributes:
        model: the solved model, or dict of models; the one passed in is unchanged.
        history: the accepted steps.
        status: "converged", "max_steps", "max_seconds", "stalled", "diverged", "interrupted" or "stopped_early" (by
            validation).
        parameters: free scalars with their standard errors.
        error_estimate: estimated relative error (L2) of the model's outputs, or None.
        loss: loss of the model; the history's last entry may be larger, where grids have just moved.
        evidence: the data at the end of the solve, for a fit with this solution as its prior; not in copies by pickle.
    """

    model: Any
    history: History
    status: str
    parameters: dict[str, Estimate] = field(default_factory=dict)
    error_estimate: float | None = None
    loss: float = math.nan
    evidence: Any = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Copies by pickle leave the data behind."""
        return {**self.__dict__, "evidence": None}

    def __repr__(self) -> str:
        """Status, loss, parameters and error estimate in one line."""
        pieces = [self.status, repr(self.history)]
        pieces += [f"{name} = {value}" for name, value in self.parameters.items()]
        if self.error_estimate is not None:
            pieces.append(f"error about {self.error_estimate:.1e}")
        return f"Solution({', '.join(pieces)})"


class Clock:
    """Seconds since a start."""

    def __init__(self, limit: float | None) -> None:
        """Start now."""
        self._start = time.perf_counter()
        self._limit = math.inf if limit is None else limit

    def seconds(self) -> float:
        """Time passed."""
        return time.perf_counter() - self._start

    def is_over(self) -> bool:
        """Whether the limit has passed."""
        return self.seconds() > self._limit

    def set_back(self, seconds: float) -> None:
        """Count time that passed before the start."""
        self._start -= seconds
