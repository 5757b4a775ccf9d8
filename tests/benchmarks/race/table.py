"""The results as text: seconds to given errors, and what was reached in the end."""

from collections.abc import Sequence

from tests.benchmarks.race.track import Run

THRESHOLDS = (1e-2, 1e-4, 1e-6)


def head() -> str:
    """The first line."""
    thresholds = [f"{threshold:.0e}".replace("e-0", "e-") for threshold in THRESHOLDS]
    return _line("problem", "entrant", "parameters", *thresholds, "final", "ended")


def row(task: str, run: Run) -> str:
    """The line of a run.

    Example:
        >>> print(row("product", Run("kansci", "lm", 660, "time", (0.5, 2.0), (1e-3, 1e-5))))
        product   kansci lm                   660    0.50    2.00       -   1.0e-05  time
    """
    times = [run.time_to(threshold) for threshold in THRESHOLDS]
    shown = ["-" if at is None else f"{at:.2f}" for at in times]
    return _line(task, f"{run.library} {run.method}", str(run.parameters), *shown, f"{run.final:.1e}", run.ended)


def _line(*cells: str) -> str:
    return "{:<10}{:<22}{:>9}{:>8}{:>8}{:>8}{:>10}  {}".format(*cells)


def best_runs(runs: Sequence[Run]) -> list[Run]:
    """The run of each library that ended with the smallest error."""
    libraries = dict.fromkeys(run.library for run in runs)
    return [min((run for run in runs if run.library == own), key=lambda run: run.final) for own in libraries]
