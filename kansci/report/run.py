"""What a run consists of, gathered from what the caller has."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
from torch import nn

from kansci.errors import ConfigError, FormulaError
from kansci.nn.multkan import MultKAN
from kansci.nn.networks import Network
from kansci.solvers.solution import Estimate, Solution
from kansci.solvers.statement import all_points, as_terms
from kansci.symbolic.estimates import Constant, constant_estimates
from kansci.symbolic.formula import formula as formula_of
from kansci.symbolic.parse import parse_formula

CONSTANTS = {"pi", "E", "e"}


@dataclass(frozen=True)
class Run:
    """A run, as far as it is known.

    Attributes:
        solution: how it was solved.
        models: networks by name; "" where there is one.
        points: where they are looked at.
        formulas: expressions, or texts that are none.
        names: of the raw inputs.
        output_names: left sides of the formulas.
        constants: with standard errors, by name.
    """

    solution: Solution | None
    models: Mapping[str, Network]
    points: Any
    formulas: tuple[Any, ...]
    names: Sequence[str] | None
    output_names: Sequence[str] | None
    constants: Mapping[str, Estimate]

    @classmethod
    def of(
        cls,
        solution: Solution | None,
        model: Any,
        data: Any,
        formula: Any,
        names: Sequence[str] | None,
        output_names: Sequence[str] | None,
        constants: Any,
    ) -> "Run":
        """The run with everything filled in that follows from the rest."""
        model = solution.model if model is None and solution is not None else model
        models = _networks(model)
        terms = None if data is None else as_terms(data)
        only = models[""] if set(models) == {""} else None
        formulas = _formulas(formula) if formula is not None else _own_formulas(only, names)
        known = dict(solution.parameters) if solution is not None else {}
        known |= _constants(only, data if formulas else None, constants)
        points = None if terms is None or only is None else all_points(terms).to(only.layers[0].node_scale)
        return cls(solution, models, points, formulas, names, output_names, known)

    def left_sides(self) -> list[sympy.Symbol]:
        """What the formulas are equal to: the names of the outputs, else y or y1, y2 ..."""
        n = len(self.formulas)
        if self.output_names is not None and len(self.output_names) == n:
            names = list(self.output_names)
        else:
            names = ["y"] if n == 1 else [f"y{number}" for number in range(1, n + 1)]
        return [sympy.Symbol(name) for name in names]


def _networks(model: Any) -> dict[str, Network]:
    if model is None:
        return {}
    models = dict(model) if isinstance(model, Mapping) else {"": model}
    for own in models.values():
        if not isinstance(own, nn.Module):
            raise ConfigError(f"expected a network or a dict of them as model, got {type(own).__name__}")
    return {name: own for name, own in models.items() if isinstance(own, Network)}


def _formulas(formula: Any) -> tuple[Any, ...]:
    """Expressions; texts that cannot be read stay texts."""
    several = [formula] if isinstance(formula, str | sympy.Basic) else list(formula)
    lines = [line for own in several for line in (own.splitlines() if isinstance(own, str) else [own])]
    return tuple(line if isinstance(line, sympy.Basic) else _read(line) for line in lines)


def _read(text: str) -> sympy.Expr | str:
    """The expression of a formula whose variables are all names in it that are not called."""
    try:
        return parse_formula(text, _variables(text))
    except FormulaError:
        return text


def _variables(text: str) -> list[str]:
    try:
        tree = ast.parse(text.replace("^", "**").strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}
    return sorted(found - CONSTANTS)


def _own_formulas(model: Network | None, names: Sequence[str] | None) -> tuple[sympy.Expr, ...]:
    if not isinstance(model, MultKAN):
        return ()
    try:
        return tuple(formula_of(model, names))
    except FormulaError:
        return ()


def _constants(model: Network | None, data: Any, given: Any) -> dict[str, Estimate]:
    if isinstance(given, Mapping):
        return {str(name): Estimate(*own) for name, own in given.items()}
    if given is None and isinstance(model, MultKAN) and data is not None:
        given = constant_estimates(model, data)
    return {_label(own): own.estimate for own in given or ()}


def _label(constant: Constant) -> str:
    layer, target, source = constant.edge
    return f"{constant.letter} of {constant.function} on edge {layer}, {target}, {source}"
