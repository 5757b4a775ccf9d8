"""What a sweep returns: its runs, as records, as a data frame and as a table."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kansci.checkpoint import load
from kansci.errors import ConfigError
from kansci.solvers.attempt import Number, joined
from kansci.solvers.workers import require

SHOWN = 30
WIDEST = 40


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a sweep.

    Attributes:
        settings: what it was called with.
        results: its numbers, of which "status" is always there: that of the `Solution`, or "done" where it returned
            none, "failed" (then "error" says why), or "missing".
    """

    settings: dict[str, Any]
    results: dict[str, Number]
    _model: Any = field(default=None, repr=False)

    @property
    def status(self) -> str:
        """How it ended."""
        return str(self.results["status"])

    @property
    def model(self) -> Any:
        """The model, or dict of models, read from its file where it has one; None where the run returned none.

        Raises:
            CheckpointError: the file has been damaged or removed.
        """
        return load(self._model) if isinstance(self._model, Path) else self._model

    @property
    def record(self) -> dict[str, Any]:
        """Settings and results in one; results with the name of a setting are called result_NAME."""
        return joined(self.settings, self.results, "result")


@dataclass(frozen=True, repr=False, eq=False)
class Sweep(Sequence[Run]):
    """The runs of a sweep, in the order of their settings.

    Attributes:
        runs: each with `.settings`, `.results`, `.status` and `.model`.

    Example:
        >>> runs = Sweep((Run({"grid": 5}, {"status": "done", "loss": 0.1}), Run({"grid": 9}, {"status": "failed"})))
        >>> runs
        Sweep(2 runs: 1 done, 1 failed)
        grid  status  loss
        ----  ------  ----
           5    done   0.1
           9  failed     -
        >>> runs.best("loss").settings
        {'grid': 5}
    """

    runs: tuple[Run, ...]

    def __getitem__(self, number: Any) -> Any:
        """A run by its number, or several by a slice."""
        return Sweep(self.runs[number]) if isinstance(number, slice) else self.runs[number]

    def __len__(self) -> int:
        """Number of runs."""
        return len(self.runs)

    def __iter__(self) -> Iterator[Run]:
        """One run after the other."""
        return iter(self.runs)

    @property
    def records(self) -> list[dict[str, Any]]:
        """One flat dict a run: its settings, status, seconds and numbers, standard errors as NAME_standard_error."""
        return [run.record for run in self.runs]

    def frame(self) -> Any:
        """The records as a pandas data frame; what is neither number nor text becomes text, by which it can be grouped.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        rows = [{name: _plain(value) for name, value in record.items()} for record in self.records]
        return require("pandas", "sweep").DataFrame(rows)

    def best(self, metric: str = "loss", *, largest: bool = False) -> Run:
        """The run with the smallest value of a metric, or the largest; runs in which it is not finite do not count.

        Raises:
            ConfigError: no run has this metric.
        """
        values = {number: run.results.get(metric) for number, run in enumerate(self.runs)}
        finite = {n: v for n, v in values.items() if isinstance(v, float | int) and math.isfinite(v)}
        if not finite:
            known = sorted({name for run in self.runs for name in run.results} - {"status", "error"})
            raise ConfigError(f"expected a metric that is finite in some run, among {known}, got {metric!r}")
        return self.runs[(max if largest else min)(finite, key=finite.__getitem__)]

    def __repr__(self) -> str:
        """A table of what varies and what came of it."""
        varied = [name for name in _names(run.settings for run in self.runs) if self._varies(name)]
        results = _names(run.results for run in self.runs)
        rows = [
            [*(run.settings.get(name) for name in varied), *(run.results.get(name) for name in results)]
            for run in self.runs[:SHOWN]
        ]
        more = [f"... {len(self) - SHOWN} more"] if len(self) > SHOWN else []
        statuses = [run.status for run in self.runs]
        counts = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
        return "\n".join([f"Sweep({len(self)} runs: {counts})", *_layout([[*varied, *results], *rows]), *more])

    def _varies(self, name: str) -> bool:
        return len({repr(run.settings.get(name)) for run in self.runs}) > 1


def _names(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """All keys, in the order in which they are met."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _plain(value: Any) -> Number:
    return value if isinstance(value, Number) else str(value)


def _layout(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Columns of equal width, with a rule under the header."""
    cells = [[_cell(entry) for entry in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.rjust, row, widths)) for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def _cell(entry: Any) -> str:
    if entry is None:
        return "-"
    text = f"{entry:.3g}" if isinstance(entry, float) else " ".join(str(entry).split())
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."
