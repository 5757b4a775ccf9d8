"""Any differential equation, typed as a formula: "u_t + u*u_x = nu*u_xx"."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import sympy
import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import ConfigError, FormulaError
from kansci.jets import Jet
from kansci.physics.given import select_output
from kansci.solvers.residual import Residual
from kansci.symbolic.evaluate import torch_function
from kansci.symbolic.parse import parse_formula


class Equation:
    r"""One or several differential equations of order two or less, in any number of unknowns.

    Unknowns are the outputs of a model in their order. Derivatives are written with the names of the coordinates
    behind an underscore: ``u_t``, ``u_xx``, ``u_xy``; equations of higher order become systems (``v = u_xx``).

    Args:
        text: the equations, each as ``left = right`` or as an expression that shall vanish; several separated by
            ``;`` or as a sequence.
        names: the coordinates, in the order of the columns of the points.
        unknowns: the outputs of the model.
        parameters: names of free scalars, as `kansci.solve` has them.

    Attributes:
        residuals: the expressions that shall vanish.
        needs: the level of derivatives that they need.

    Raises:
        FormulaError: a formula cannot be read, or has no unknown.
        ConfigError: names that cannot be told apart.

    Example:
        >>> burgers = Equation("u_t + u*u_x = nu*u_xx", ["t", "x"], parameters=["nu"])
        >>> burgers.residuals, burgers.needs
        ([-nu*u_xx + u*u_x + u_t], 'diagonal')
    """

    def __init__(
        self,
        text: str | Sequence[str],
        names: Sequence[str],
        unknowns: Sequence[str] = ("u",),
        *,
        parameters: Sequence[str] = (),
    ) -> None:
        self.names, self.unknowns, self.parameters = tuple(names), tuple(unknowns), tuple(parameters)
        derivatives = _derivatives(self.names, self.unknowns)
        known = [*self.names, *self.parameters, *self.unknowns, *derivatives]
        if len(set(known)) < len(known):
            raise ConfigError(f"expected different names of coordinates, unknowns and parameters, got {known}")
        texts = [part for part in (text.split(";") if isinstance(text, str) else text) if part.strip()]
        self.residuals = [_read(part, known) for part in texts]
        used = {name for residual in self.residuals for name in _names(residual)}
        if not used & {*self.unknowns, *derivatives}:
            raise FormulaError(f"expected equations of {', '.join(self.unknowns)}, got {text!r}")
        self.columns = {name: place for name, place in derivatives.items() if name in used}
        self.needs = _level(self.columns.values())
        variables = [*self.names, *self.parameters, *self.unknowns, *self.columns]
        self._functions = [torch_function(residual, variables) for residual in self.residuals]

    def __call__(self, jet: Jet, points: Tensor, parameters: dict[str, Tensor] | None = None) -> Tensor:
        """The residuals at points (n, d), shape (n, r)."""
        given = [(parameters or {})[name].expand(len(points)) for name in self.parameters]
        values = [select_output(jet.value, output) for output in range(len(self.unknowns))]
        derived = [_take(jet, output, axes) for output, axes in self.columns.values()]
        table = torch.stack([*points.unbind(1), *given, *values, *derived], 1)
        return torch.stack([function(table) for function in self._functions], 1)

    def orders(self, name: str) -> list[int]:
        """For each unknown, its highest derivative with respect to a coordinate."""
        return [self._order(self.columns, output, name) for output in range(len(self.unknowns))]

    def residual_orders(self, name: str) -> list[int]:
        """For each equation, the highest derivative of any unknown with respect to a coordinate."""
        tables = [
            {used: self.columns[used] for used in _names(residual) if used in self.columns}
            for residual in self.residuals
        ]
        return [max(self._order(table, output, name) for output in range(len(self.unknowns))) for table in tables]

    def _order(self, table: Mapping[str, tuple[int, tuple[int, ...]]], output: int, name: str) -> int:
        axis = self.names.index(name)
        return max((axes.count(axis) for own, axes in table.values() if own == output), default=0)

    def at(
        self,
        points: Float[Tensor, "n d"],
        *,
        weight: float | Tensor = 1.0,
        name: str = "equation",
    ) -> Residual:
        """The equations as a term of a problem.

        Args:
            points: where they shall hold (n, d) [1].
            weight: of the term, one number or one per point (n,).
            name: what the history calls the term.

        Example:
            >>> from kansci.jets import jet
            >>> term = Equation("u_t = u_xx", ["t", "x"]).at(torch.tensor([[0.5, 1.0], [2.0, 0.25]]))
            >>> term([jet(lambda x: 2 * x[..., 0] + x[..., 1] ** 2, term.points, term.needs)]).abs().max()
            tensor(0.)
        """

        def function(jet: Jet, points: Tensor, *rest: Any) -> Tensor:
            return self(jet, points, rest[-1] if rest else None)

        return Residual(function, points, needs=self.needs, weight=weight, name=name)


def _derivatives(names: Sequence[str], unknowns: Sequence[str]) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Every derivative of order one and two by name, u_xy as u_yx: the output and the coordinates."""
    d = range(len(names))
    table: dict[str, tuple[int, tuple[int, ...]]] = {}
    for output, unknown in enumerate(unknowns):
        table |= {f"{unknown}_{names[i]}": (output, (i,)) for i in d}
        table |= {f"{unknown}_{names[i]}{names[j]}": (output, (i, j)) for i in d for j in d}
    return table


def _names(expression: sympy.Expr) -> set[str]:
    return {str(symbol) for symbol in expression.free_symbols}


def _read(text: str, names: Sequence[str]) -> sympy.Expr:
    """left - right of an equation, or the expression itself."""
    sides = re.split(r"(?<![<>=!])=(?!=)", text)
    if len(sides) > 2:
        raise FormulaError(f"expected an equation with one '=', got {text!r}")
    left, right = (parse_formula(side.strip(), names) for side in (*sides, "0")[:2])
    return left - right


def _level(columns: Any) -> str:
    """The lowest level of jets that holds the derivatives."""
    second = [axes for _, axes in columns if len(axes) == 2]
    if any(i != j for i, j in second):
        return "hessian"
    if second:
        return "diagonal"
    return "gradient" if any(axes for _, axes in columns) else "value"


def _take(jet: Jet, output: int, axes: tuple[int, ...]) -> Tensor:
    if len(axes) == 1:
        return select_output(jet.gradient, output)[:, axes[0]]
    i, j = axes
    if i == j:
        return select_output(jet.diagonal, output)[:, i]
    return select_output(jet.hessian, output)[:, i, j]
