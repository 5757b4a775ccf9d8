"""Measures kansci beside its peers in one run, prints the ratios and files them as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import tyro

from tests.benchmarks.cases import CASES
from tests.benchmarks.machine import describe_machine, describe_versions
from tests.benchmarks.measure import Case, Verdict, judge, set_threads


@dataclass(frozen=True)
class Command:
    """Measure kansci and its peers side by side."""

    only: tuple[str, ...] = ()
    """Names of cases; all by default."""

    repeats: int = 10
    """Rounds of each case; in a round each contender is called five times."""

    threads: int = 2
    """Threads of every library."""

    out: Path = Path("runs/bench.json")
    """Where the figures go."""


def main(command: Command) -> None:
    """Run the cases, print the table, write the file."""
    set_threads(command.threads)
    machine = describe_machine()
    print(f"{machine['processor']}, {command.threads} threads, torch {version('torch')}")
    print("Medians of kansci and of what it is measured against; targets are upper limits of the ratio.\n")
    print(line("case", "kansci", "", "reference", "", "ratio", "target", "holds"))
    records = {}
    for case in select(command.only):
        figures = case.measure(command.repeats)
        verdicts = [judge(target, figures) for target in case.targets]
        for verdict in verdicts:
            print(table_row(case, verdict), flush=True)
        records[case.name] = record(case, figures, verdicts)
    report = {
        "versions": describe_versions(),
        "machine": machine,
        "threads": command.threads,
        "repeats": command.repeats,
        "cases": records,
    }
    command.out.parent.mkdir(parents=True, exist_ok=True)
    command.out.write_text(json.dumps(report, indent=2))
    print(f"\nwrote {command.out}")


def select(names: Sequence[str]) -> list[Case]:
    known = [case.name for case in CASES]
    unknown = set(names) - set(known)
    if unknown:
        raise SystemExit(f"expected cases out of {', '.join(known)}, got {', '.join(sorted(unknown))}")
    return [case for case in CASES if not names or case.name in names]


def table_row(case: Case, verdict: Verdict) -> str:
    return line(
        case.name,
        verdict.target.ours,
        f"{verdict.ours:.2f} {case.unit}",
        verdict.target.reference,
        f"{verdict.reference:.2f} {case.unit}",
        f"{verdict.ratio:.3f}",
        f"{verdict.target.limit:.3f}",
        "yes" if verdict.holds else "NO",
    )


def line(*cells: str) -> str:
    return "{:<10}{:<22}{:>12}  {:<33}{:>12}{:>8}{:>8}{:>7}".format(*cells)


def record(case: Case, figures: Mapping[str, list[float]], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {
        "summary": case.summary,
        "unit": case.unit,
        "figures": {
            name: {"median": median(values), "minimum": min(values), "count": len(values)}
            for name, values in figures.items()
        },
        "targets": [
            {
                "ours": verdict.target.ours,
                "reference": verdict.target.reference,
                "ratio": verdict.ratio,
                "limit": verdict.target.limit,
                "holds": verdict.holds,
            }
            for verdict in verdicts
        ],
    }


if __name__ == "__main__":
    main(tyro.cli(Command, prog="python -m tests.benchmarks"))
