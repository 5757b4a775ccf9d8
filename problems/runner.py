"""Runs a problem from the command line and files what it found.

Each problem is a package with the same two names in ``solve.py``, a frozen dataclass ``Config`` and a
function ``solve(Config) -> Result``, and a ``__main__.py`` of two lines::

    from problems.NAME.solve import Config, solve
    from problems.runner import main

    main(Config, solve)
"""

import dataclasses
import importlib
import json
import logging
import math
import pkgutil
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import tyro
from torch import nn

import kansci as ks
import problems

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Metric = float | int | bool | None
Config = TypeVar("Config")


@dataclass(frozen=True)
class Result:
    """What a problem found.

    Attributes:
        model: the solution, or several by name.
        metrics: flat numbers and booleans; None or NaN where a metric is not defined.
        formula: the solution as text, several formulas one a line, or None.
        table: rows to print, the first of them the header; by default the metrics.
        figures: file names without suffix, each with what draws it, called only if figures are wanted.
    """

    model: nn.Module | Mapping[str, nn.Module]
    metrics: Mapping[str, Metric]
    formula: str | None = None
    table: Sequence[Sequence[str | Metric]] = ()
    figures: Mapping[str, "Callable[[], Figure]"] = field(default_factory=dict)


@dataclass(frozen=True)
class _Command(Generic[Config]):
    config: tyro.conf.OmitArgPrefixes[Config]

    out: Path
    """Folder for result.json, model.h5, the figures and report.html."""

    figures: bool = True
    """Whether to draw the figures, in files and in the report."""


def main(
    config_type: type[Config],
    solve: Callable[[Config], Result],
    *,
    name: str | None = None,
    arguments: Sequence[str] | None = None,
) -> None:
    """Solves a problem as told on the command line: one flag per field of its Config, and ``--out``.

    Exits with status 2 and one line on stderr where the problem, as it was set, cannot be solved or filed.

    Args:
        config_type: frozen dataclass of the settings, each with a default; ``case`` and ``seed`` among them.
        solve: what turns settings into a result.
        name: the problem's name; by default that of the package which defines `config_type`.
        arguments: the command line; by default that of the process.
    """
    name = name or config_type.__module__.split(".")[-2]
    command = tyro.cli(
        _Command[config_type],
        prog=f"python -m problems.{name}",
        description=solve.__doc__,
        args=arguments,
        default=_Command(config_type(), Path("runs") / name),
    )
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    try:
        _run(name, command, solve)
    except (ks.errors.KansciError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def list_problems() -> None:
    """Prints the command of every problem and the first line of its package's docstring."""
    names = [module.name for module in pkgutil.iter_modules(problems.__path__) if module.ispkg]
    for name in names:
        summary = (importlib.import_module(f"problems.{name}").__doc__ or "").partition("\n")[0]
        print(f"python -m problems.{name:<{max(map(len, names))}}  {summary}")


def _run(name: str, command: _Command[Config], solve: Callable[[Config], Result]) -> None:
    _claim(command.out)
    start = time.perf_counter()
    result = solve(command.config)
    seconds = time.perf_counter() - start

    print(_layout(result.table or [("metric", "value"), *result.metrics.items()]))
    if result.formula is not None:
        print(result.formula)
    ks.save(command.out / "model.h5", result.model)
    record = _record(name, command.config, result, seconds)
    with _replacing(command.out / "result.json") as path:
        path.write_text(json.dumps(record, indent=2, allow_nan=False))
    with _drawn(result.figures if command.figures else {}, command.out / "figures") as figures:
        _report(command.out / "report.html", record, result, figures)
    print(f"wrote {command.out}")


def _claim(folder: Path) -> None:
    """Makes the folder and proves that it can be written, before anything is computed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = f"expected a folder that can be written, got {folder} ({error.strerror})"
        raise ks.errors.CheckpointError(f"{reason}; choose another with --out") from error


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary path that takes the place of `path` once the block has succeeded."""
    temporary = path.with_name(f".unfinished-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _record(name: str, config: Any, result: Result, seconds: float) -> dict[str, Any]:
    versions = {package: version(package) for package in ("kansci", "torch", "numpy", "scipy")}
    return {
        "problem": name,
        "case": getattr(config, "case", None),
        "config": _plain(dataclasses.asdict(config)),
        "metrics": _plain(result.metrics),
        "formula": result.formula,
        "seconds": seconds,
        "versions": {"python": platform.python_version(), **versions},
    }


def _plain(value: Any) -> Any:
    """The same value in JSON's types: null for what is not finite, text for what JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str | None) else str(value)


@contextmanager
def _drawn(figures: Mapping[str, "Callable[[], Figure]"], folder: Path) -> "Iterator[dict[str, Figure]]":
    """The figures, filed as vectors and pixels and closed at the end."""
    if not figures:
        yield {}
        return
    import matplotlib.pyplot as plt

    folder.mkdir(exist_ok=True)
    drawn = {name: draw() for name, draw in figures.items()}
    try:
        for name, figure in drawn.items():
            for suffix in (".svg", ".png"):
                with _replacing(folder / f"{name}{suffix}") as path, plt.rc_context({"svg.fonttype": "none"}):
                    figure.savefig(path, dpi=200)
        yield drawn
    finally:
        for figure in drawn.values():
            plt.close(figure)


def _report(path: Path, record: Mapping[str, Any], result: Result, figures: "Mapping[str, Figure]") -> None:
    """The record as a page for readers."""
    case = "" if record["case"] is None else f", case {record['case']}"
    ks.report.write_report(
        path,
        title=f"{record['problem']}{case}",
        summary=f"Solved in {record['seconds']:.1f} s by python -m problems.{record['problem']}.",
        formula=result.formula,
        metrics=record["metrics"],
        table=result.table,
        figures=figures,
        settings=record["config"],
        versions=record["versions"],
    )


def _layout(rows: Sequence[Sequence[str | Metric]]) -> str:
    """Columns of equal width: the first to the left, the others to the right, a rule under the header."""
    cells = [[_cell(entry) for entry in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _cell(entry: str | Metric) -> str:
    entry = _plain(entry)
    if entry is None:
        return "-"
    return f"{entry:.3g}" if isinstance(entry, float) else str(entry)
