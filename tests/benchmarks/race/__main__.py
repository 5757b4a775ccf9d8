"""Races kansci, an MLP and peers: error against seconds, in one run; files the curves, draws them, prints a table."""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch
import tyro
from matplotlib.figure import Figure

from tests.benchmarks.machine import describe_machine, describe_versions
from tests.benchmarks.measure import set_threads
from tests.benchmarks.race.entrants import ENTRANTS, Entrant
from tests.benchmarks.race.figure import draw_race
from tests.benchmarks.race.table import head, row
from tests.benchmarks.race.tasks import TASKS, TEST_POINTS, Task
from tests.benchmarks.race.track import Run, Track

LIBRARIES = tuple(dict.fromkeys(entrant.library for entrant in ENTRANTS))


@dataclass(frozen=True)
class Command:
    """Race kansci, an MLP and peers: error against seconds."""

    only: tuple[str, ...] = ()
    """Names of problems; all by default."""

    libraries: tuple[str, ...] = ()
    """Names of libraries; all by default."""

    seconds: float = 4.0
    """Time of each run; measuring errors, building and compiling are not counted."""

    threads: int = 2
    """Threads of every library."""

    out: Path = Path("runs/race.json")
    """Where the curves go."""

    figure: Path = Path("runs/race.png")
    """Where the picture goes, tests/benchmarks/time_to_accuracy.png for that of the README."""

    redraw: bool = False
    """Print and draw what `out` holds, without a new race."""


def main(command: Command) -> None:
    """Run the race, print the table, write the curves and the picture."""
    report = json.loads(command.out.read_text()) if command.redraw else race(command)
    runs = {name: [Run.unpack(record) for record in records] for name, records in report["runs"].items()}
    print(f"{report['machine']['processor']}, {report['threads']} threads, {report['seconds']:g} s for each run")
    print("Seconds to relative errors, and the error in the end.\n")
    print(head())
    for name, own in runs.items():
        print(*(row(name, run) for run in own), "", sep="\n")
    command.figure.parent.mkdir(parents=True, exist_ok=True)
    draw(report, runs).savefig(command.figure, dpi=200)
    print(f"wrote {command.out} and {command.figure}")


def race(command: Command) -> dict[str, Any]:
    """Let everybody run, one after the other; what is there is written after each problem."""
    tasks = select("problems", command.only, {task.name: task for task in TASKS})
    libraries = select("libraries", command.libraries, {name: name for name in LIBRARIES})
    set_threads(command.threads)
    report: dict[str, Any] = {
        "versions": describe_versions(),
        "machine": describe_machine(),
        "threads": command.threads,
        "seconds": command.seconds,
        "titles": {task.name: task.title for task in tasks},
        "runs": {},
    }
    command.out.parent.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        entrants = [own for own in ENTRANTS if own.library in libraries and isinstance(task, own.tasks)]
        report["runs"][task.name] = [run(entrant, task, command.seconds).pack() for entrant in entrants]
        command.out.write_text(json.dumps(report))
        print(f"{task.name} done", flush=True)
    return report


def select(what: str, names: Sequence[str], known: dict[str, Any]) -> list[Any]:
    """Those that are named, or all."""
    unknown = set(names) - set(known)
    if unknown:
        raise SystemExit(f"expected {what} out of {', '.join(known)}, got {', '.join(sorted(unknown))}")
    return [value for name, value in known.items() if not names or name in names]


def run(entrant: Entrant, task: Task, seconds: float) -> Run:
    """One entrant in one task; a failure is a result."""
    track = Track(task.error, seconds)
    with isolated():
        try:
            ended = entrant.train(task, track)
        except Exception as error:  # noqa: BLE001
            reason = " ".join(str(error).split())
            ended = f"failed: {type(error).__name__}: {reason}"
    return Run(entrant.library, entrant.method, track.parameters, ended, tuple(track.seconds), tuple(track.errors))


@contextmanager
def isolated() -> Iterator[None]:
    """float64 and one seed for everybody, and what libraries print and set kept away from the others."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with (
            torch.random.fork_rng(devices=[]),
            warnings.catch_warnings(action="ignore"),
            redirect_stdout(StringIO()),
            redirect_stderr(StringIO()),
        ):
            torch.manual_seed(0)
            yield
    finally:
        torch.set_default_dtype(dtype)


def draw(report: dict[str, Any], runs: dict[str, list[Run]]) -> Figure:
    """The picture of a report."""
    versions, threads = report["versions"], report["threads"]
    notes = [
        "bold: a library's best method; thin: its others",
        f"relative L2 error at {TEST_POINTS} other points",
        "equal points, loss and number of parameters",
        f"float64, {threads} thread{'s'[: threads != 1]}, {report['seconds']:g} s each",
    ]
    labels = {library: f"{library} {versions.get(library.lower(), '(of kansci)')}" for library in LIBRARIES}
    return draw_race(report["titles"], runs, report["seconds"], labels, notes)


if __name__ == "__main__":
    main(tyro.cli(Command, prog="python -m tests.benchmarks.race"))
