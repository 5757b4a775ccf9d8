"""How often structure tests are right: a table over functions of known structure and surrogates of known error.

Each group that an answer "yes" separates wrongly from the others counts as a further question answered falsely "yes".
Questions about interactions that are smaller than the error of the surrogate are not counted but listed; their sizes
are those of the exact function, as upper bounds that no test of the library has a part in.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

import torch
import tyro
from torch import Tensor

import kansci as ks
from tests.analysis.truths import Case, cases, fresh_cases, perturbed

KINDS = ("additive", "multiplicative", "generalized")
UNITS = (1e6, 1.0), (1e-6, 1.0), (1.0, 1e3), (1.0, 1e-3)  # of the output and of one input
Function = Callable[[Tensor], Tensor]
Answer = ks.Separability | ks.Symmetry
ROWS = 1000


@dataclass
class Rates:
    """Answers to questions of one kind of surrogate, by truth and verdict."""

    counts: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    rescaled: int = 0

    def add(self, label: str, truth: str, verdict: str) -> None:
        self.counts[truth, verdict] += 1
        if verdict != truth:
            self.wrong.append(f"{label}: {truth}, said {verdict}")

    def total(self, truth: str) -> int:
        return sum(count for (own, _), count in self.counts.items() if own == truth)

    @property
    def true_positives(self) -> float:
        """Share of "yes" among positive questions."""
        return self.counts["yes", "yes"] / max(1, self.total("yes"))

    @property
    def decided_positives(self) -> float:
        """The same among those that were decided."""
        return self.counts["yes", "yes"] / max(1, self.total("yes") - self.counts["yes", "undecided"])

    @property
    def false_positives(self) -> float:
        """Share of "yes" among negative questions."""
        return self.counts["no", "yes"] / max(1, self.total("no"))

    @property
    def undecided(self) -> float:
        """Share of "undecided" among all questions."""
        return sum(self.counts[truth, "undecided"] for truth in ("yes", "no")) / max(1, sum(self.counts.values()))


def answers(case: Case, f: Function, x: Tensor, error: float | None) -> list[Answer]:
    """To all questions about one surrogate."""
    pairs = case.pairs if case.d > 2 else []
    return [
        *(ks.detect_separability(f, x, kind, error=error) for kind in KINDS),
        *(ks.detect_symmetry(f, x, pair, error=error) for pair in pairs),
    ]


def ask(case: Case, f: Function, error: float | None, rates: Rates, seed: int, rescale: int | None = None) -> None:
    """All questions about one surrogate; again in other units of the output, and of the input of that number."""
    x = case.points(ROWS, seed)
    found = answers(case, f, x, error)
    for answer in found:
        if isinstance(answer, ks.Separability):
            check_groups(case, answer, error or 0.0, rates)
        else:
            pair = (answer.group[0], answer.group[1])
            label = f"{case.id} pair {pair} size {answer.dependence:.1e}"
            check(label, case.symmetric(pair), true_size(case, pair), answer.verdict, error or 0.0, rates)
    if rescale is not None:
        compare_units(case, f, x, error, rates, found, rescale % case.d)


def check(label: str, holds: bool, size: float, verdict: str, error: float, rates: Rates) -> None:
    """Count an answer, or list it where the error hides the truth."""
    if holds:
        rates.add(label, "yes", verdict)
    elif size < error:
        rates.hidden.append(f"{label} true {size:.1e}, said {verdict}")
    else:
        rates.add(f"{label} true {size:.1e}", "no", verdict)


def check_groups(case: Case, answer: ks.Separability, error: float, rates: Rates) -> None:
    """The same, each group that is cut off being a question too."""
    truth = case.truth[answer.kind]
    label = f"{case.id} {answer.kind} {truth} {answer.groups} size {answer.size:.1e}"
    check(label, len(truth) > 1, true_size(case, answer.kind), answer.verdict, error, rates)
    for group in answer.groups if len(truth) > 1 and answer.verdict == "yes" else ():
        if not cut_holds(case, answer.kind, group, error):
            rates.add(f"{label} cut {group} {case.cut_sizes(group)}", "no", "yes")


def compare_units(
    case: Case, f: Function, x: Tensor, error: float | None, rates: Rates, found: Sequence[Answer], column: int
) -> None:
    """Ask again in other units."""
    for output, factor in UNITS:
        units = torch.ones(case.d, dtype=torch.float64)
        units[column] = factor
        again = answers(case, lambda x, output=output, units=units: output * f(x / units), x * units, error)
        rates.rescaled += len(found)
        rates.changed += [
            f"{case.id} output times {output:g}, input {column} times {factor:g}: {before!r} {after!r}"
            for before, after in zip(found, again, strict=True)
            if said(before) != said(after)
        ]


def said(answer: Answer) -> tuple:
    """What must not depend on units."""
    return (answer.verdict, answer.groups if isinstance(answer, ks.Separability) else answer.group)


def cut_holds(case: Case, kind: str, group: Sequence[int], error: float) -> bool:
    """Whether a group may be cut off: it is a union of true groups, or what is cut is smaller than the error."""
    joined = sorted(k for own in case.truth[kind] if set(own) <= set(group) for k in own)
    if joined == sorted(group):
        return True
    sizes = case.cut_sizes(group)
    return sizes.get(kind, min(sizes.values())) < error  # what is nearly a sum or a product is nearly F of a sum


@cache
def true_size(case: Case, asked: str | tuple[int, int]) -> float:
    """How large the interaction is at most in the exact function, relative to its spread, by no test of the library.

    Sums and products are generalized sums too.
    """
    if isinstance(asked, tuple):
        return case.scalar_size(asked)
    return min(case.sizes.values()) if asked == "generalized" else case.sizes[asked]


def perturbed_rates(error: float, chosen: Sequence[Case], seed: int = 0, *, units: bool = False) -> Rates:
    """Of functions with a smooth random error."""
    rates = Rates()
    for number, case in enumerate(chosen):
        f = perturbed(case, error, 1000 * seed + number)
        ask(case, f, error or None, rates, seed, number if units else None)
    return rates


def trained(case: Case, width: Sequence[int], steps: int, seed: int) -> tuple[ks.MultKAN, float]:
    """A network of sums fitted to noiseless values, and its error on a validation part."""
    data = ks.Dataset.from_function(case.function, list(zip(case.low, case.high, strict=True)), 1000, seed=seed)
    model = ks.MultKAN([case.d, *width, 1], grid=5, domain=data.domain, seed=seed)
    fitted = ks.fit(model, data, steps=steps, seed=seed, progress=False).model
    x = case.points(2000, 99 + seed)
    y = case.function(x)
    with torch.no_grad():
        return fitted, float((fitted(x)[:, 0] - y).square().mean().sqrt() / y.std())


def trained_surrogates(chosen: Sequence[Case], level: float, seed: int) -> Iterator[tuple[Case, ks.MultKAN, float]]:
    """Fits that are stopped at the first number of steps that brings the error below 1.5 times a level."""
    for case in chosen:
        for steps in (3, 6, 10, 20, 40):
            model, error = trained(case, (5,) if case.d < 4 else (6, 6), steps, seed)
            if error <= 1.5 * level:
                break
        if level / 5 <= error <= 3 * level:
            yield case, model, error


def trained_rates(level: float, chosen: Sequence[Case], seed: int = 0, *, units: bool = False) -> tuple[Rates, int]:
    """Of networks trained until their validation error is near a level, and how many there are."""
    rates, count = Rates(), 0
    for case, model, error in trained_surrogates(chosen, level, seed):
        ask(case, model, error, rates, seed + 500, count if units else None)
        count += 1
    return rates, count


HEADER = "{:<26}{:>10}{:>10}{:>8}{:>9}{:>8}{:>11}{:>8}{:>16}".format(
    "surrogate", "positives", "negatives", "TPR", "decided", "FPR", "undecided", "hidden", "units changed"
)


def line(label: str, rates: Rates) -> str:
    return (
        f"{label:<26}{rates.total('yes'):>10}{rates.total('no'):>10}{rates.true_positives:>8.3f}"
        f"{rates.decided_positives:>9.3f}{rates.false_positives:>8.3f}{rates.undecided:>11.3f}{len(rates.hidden):>8}"
        f"{f'{len(rates.changed)} of {rates.rescaled}':>16}"
    )


@dataclass(frozen=True)
class Command:
    """Print the rates.

    Attributes:
        errors: sizes of the error.
        seed: of rows, errors and networks.
        networks: whether networks are trained too.
        fresh: ask about functions that thresholds were not chosen by.
        every: ask only about one function in so many.
        units: ask again with the output, or one input, a thousand or a million times larger and smaller.
        verbose: list wrong answers, those that depend on units, and what was not counted.
    """

    errors: tuple[float, ...] = (0.0, 1e-3, 1e-2)
    seed: int = 0
    networks: bool = False
    fresh: bool = False
    every: int = 1
    units: bool = False
    verbose: bool = False


def main(command: Command) -> None:
    print(HEADER)
    chosen = (fresh_cases() if command.fresh else cases())[:: command.every]
    for error in command.errors:
        rates = perturbed_rates(error, chosen, command.seed, units=command.units)
        print(line(f"perturbed by {error:g}", rates))
        if command.verbose:
            print(*rates.wrong, "units:", *rates.changed, "hidden:", *rates.hidden, sep="\n    ")
    for level in [error for error in command.errors if error and command.networks]:
        rates, count = trained_rates(level, [case for case in chosen if case.d <= 4], command.seed, units=command.units)
        print(line(f"{count} networks at {level:g}", rates))
        if command.verbose:
            print(*rates.wrong, "units:", *rates.changed, "hidden:", *rates.hidden, sep="\n    ")


if __name__ == "__main__":
    main(tyro.cli(Command, prog="python -m tests.analysis.structure_rates"))
