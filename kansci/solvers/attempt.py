"""One run of a sweep: from settings to numbers and a model, whatever happens."""

import copy
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

from kansci.solvers.interrupt import Interrupt
from kansci.solvers.solution import Estimate, Solution

Number = float | int | bool | str | None


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        results: its numbers, its status among them.
        model: the model or dict of models, or None.
        is_cut_short: whether Ctrl-C was pressed in the meantime.
    """

    results: dict[str, Number]
    model: Any = None
    is_cut_short: bool = False


class _Watch(Interrupt):
    """Takes note of Ctrl-C and lets it happen; a solve within ends after its step instead."""

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._note()
        raise KeyboardInterrupt


def attempt(run: Callable[..., Any], settings: Mapping[str, Any], threads: int) -> Outcome:
    """Call `run` with a copy of its settings; an error is an outcome too.

    The number of threads stays as it is then: other runs of the same process may have begun in the meantime.
    """
    torch.set_num_threads(threads)
    start = time.perf_counter()
    with _Watch() as watch:
        try:
            results, model = read_result(run(**copy.deepcopy(dict(settings))))
        except (Exception, SystemExit) as error:  # noqa: BLE001
            results, model = failure(error).results, None
    seconds = time.perf_counter() - start
    return Outcome({**results, "seconds": results.get("seconds", seconds)}, model, watch.pressed)


def failure(error: BaseException) -> Outcome:
    """The outcome of a run that raised an error, which is told with its place in the source."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return Outcome({"status": "failed", "error": f"{type(error).__name__}: {error}{place}"})


def read_result(result: Any) -> tuple[dict[str, Number], Any]:
    """Numbers and model of what a run returned.

    Raises:
        TypeError: it is none of what a run may return.

    Example:
        >>> read_result({"mass": Estimate(1.5, 0.25)})
        ({'status': 'done', 'mass': 1.5, 'mass_standard_error': 0.25}, None)
    """
    match result:
        case Solution():
            return _read_solution(result), result.model
        case nn.Module():
            return {"status": "done"}, result
        case Mapping():
            return {"status": "done", **_read_numbers(result)}, None
        case (Solution() | nn.Module() as found, Mapping() as numbers):
            results, model = read_result(found)
            return {**results, **_read_numbers(numbers)}, model
    raise TypeError(
        f"expected a run to return a Solution, a model, a mapping of numbers, or a pair (Solution or model, mapping), "
        f"got {type(result).__name__}"
    )


def _read_solution(solution: Solution) -> dict[str, Number]:
    own = {
        "status": solution.status,
        "loss": float(solution.loss),
        "steps": len(solution.history.step),
        "error_estimate": solution.error_estimate,
    }
    return joined(own, _read_numbers(solution.parameters), "parameter")


def joined(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Both in one; names of the second that are taken get a prefix.

    Example:
        >>> joined({"seconds": 60}, {"seconds": 12.5, "loss": 0.1}, "result")
        {'seconds': 60, 'result_seconds': 12.5, 'loss': 0.1}
    """
    return {**first, **{f"{prefix}_{name}" if name in first else name: value for name, value in second.items()}}


def _read_numbers(values: Mapping[str, Any]) -> dict[str, Number]:
    numbers: dict[str, Number] = {}
    for name, value in values.items():
        if isinstance(value, Estimate):
            numbers |= {name: float(value.value), f"{name}_standard_error": float(value.standard_error)}
        else:
            numbers[name] = _read_number(name, value)
    return numbers


def _read_number(name: str, value: Any) -> Number:
    """A number of torch or NumPy as Python's own."""
    plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value
    if not isinstance(plain, Number):
        raise TypeError(f"expected {name} to be a number, an Estimate, text or None, got {type(value).__name__}")
    return plain
