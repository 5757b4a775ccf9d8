"""Compiles the 120 equations of the Feynman benchmark to networks and back, and prints a table.

Formulas and ranges are those of AI Feynman: 100 equations of the Feynman Lectures on Physics, named by volume, chapter
and equation, and 20 of other textbooks, "test_1" to "test_20".

References:
    Udrescu, Tegmark, AI Feynman: a physics-inspired method for symbolic regression, Science Advances 6, eaay2631, 2020.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import sympy
import torch
import tyro
from jaxtyping import Float
from torch import Tensor

import kansci as ks
from kansci.solvers.unknowns import Unknowns
from tests.symbolic.expressions import exact_values, largest_error

FILE = Path(__file__).parents[1] / "symbolic" / "feynman.csv"


@dataclass(frozen=True)
class Equation:
    """An equation of the benchmark."""

    id: str
    formula: str
    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def expression(self) -> sympy.Expr:
        return ks.parse_formula(self.formula, self.names)

    def points(self, n: int, seed: int = 0) -> Float[Tensor, "n d"]:
        """Random points of the ranges."""
        generator = torch.Generator().manual_seed(seed)
        share = torch.rand(n, len(self.names), generator=generator, dtype=torch.float64)
        low, high = torch.tensor([self.low, self.high], dtype=torch.float64)
        return low + share * (high - low)


@dataclass(frozen=True)
class Figures:
    """What is measured of an equation.

    Attributes:
        seconds: to compile the text.
        nodes: of the network, without the inputs.
        depth: layers of the network.
        parameters: constants that data can determine.
        error: the largest error of the network relative to the largest value.
        back: the same of the expression that the network is, 0 where it equals the formula.
    """

    seconds: float
    nodes: int
    depth: int
    parameters: int
    error: float
    back: float


def read_equations() -> list[Equation]:
    """All equations of the file."""
    with FILE.open(newline="") as file:
        return [_equation(record) for record in csv.DictReader(file)]


def _equation(record: dict[str, str]) -> Equation:
    low, high = (tuple(map(float, record[end].split(";"))) for end in ("low", "high"))
    return Equation(record["id"], record["formula"], tuple(record["variables"].split(";")), low, high)


def measure(equation: Equation, n: int = 1000, n_back: int = 50) -> Figures:
    """Compile an equation and compare it with itself at n random points, there, and at fewer points, back."""
    start = perf_counter()
    model = ks.kanpile(equation.formula, equation.names)
    seconds = perf_counter() - start
    expression, x = equation.expression, equation.points(n)
    exact = exact_values(expression, equation.names, x)
    (again,) = ks.formula(model, equation.names)
    return Figures(
        seconds=seconds,
        nodes=sum(layer.config.out.n_nodes for layer in model.layers),
        depth=len(model.layers),
        parameters=len(Unknowns(model)),
        error=largest_error(model(x)[:, 0].tolist(), exact),
        back=round_trip_error(again, equation, x[:n_back], exact[:n_back]),
    )


def round_trip_error(again: sympy.Expr, equation: Equation, x: Float[Tensor, "n d"], exact: Sequence[object]) -> float:
    expression = equation.expression
    if again == expression or sympy.expand(again - expression) == 0:
        return 0.0
    return largest_error(exact_values(again, equation.names, x), exact)


@dataclass(frozen=True)
class Command:
    """Compile the equations of the Feynman benchmark to networks and back."""

    only: tuple[str, ...] = ()
    """Names of equations; all by default."""

    points: int = 1000
    """At which the networks are compared with the formulas."""


def main(command: Command) -> None:
    """Print a row for each equation, and the worst at the end."""
    print("Errors are relative to the largest value. Round trips are equal as expressions, or numeric.\n")
    print(line("equation", "seconds", "nodes", "depth", "parameters", "error", "round trip"))
    chosen = [equation for equation in read_equations() if not command.only or equation.id in command.only]
    rows = [measure(equation, command.points) for equation in chosen]
    for equation, row in zip(chosen, rows, strict=True):
        back = "equal" if row.back == 0 else f"numeric {row.back:.1e}"
        cells = f"{row.seconds:.3f}", f"{row.nodes}", f"{row.depth}", f"{row.parameters}", f"{row.error:.1e}"
        print(line(equation.id, *cells, back))
    worst = max(row.seconds for row in rows), max(row.error for row in rows), max(row.back for row in rows)
    print("\n{} equations; at worst {:.3f} s, error {:.1e}, round trip {:.1e}".format(len(rows), *worst))


def line(*cells: str) -> str:
    return "{:<10}{:>9}{:>7}{:>7}{:>12}{:>10}  {}".format(*cells)


if __name__ == "__main__":
    main(tyro.cli(Command, prog="python -m tests.benchmarks.feynman"))
