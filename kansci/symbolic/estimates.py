"""The constants of symbolic edges with their standard errors."""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kansci.config import Edge
from kansci.nn.multkan import MultKAN
from kansci.solvers.solution import Estimate
from kansci.solvers.statement import as_terms, evaluated
from kansci.solvers.uncertainty import response, standard_errors
from kansci.solvers.unknowns import Unknowns


class Constant(NamedTuple):
    """One of the constants of c f(a x + b) + d.

    Attributes:
        edge: where f is.
        function: its name.
        letter: "a", "b", "c" or "d".
        estimate: value and standard error.
    """

    edge: Edge
    function: str
    letter: str
    estimate: Estimate


def constant_estimates(model: MultKAN, problem: Any, *, noise: float | Tensor | None = None) -> list[Constant]:
    """The free constants of a network's symbolic edges, with the standard errors that data leave them.

    Constants that others could replace, that are fixed or on masked edges are left out. What the data do not determine
    has an infinite standard error.

    Args:
        model: fitted to the problem.
        problem: a `Dataset`, (x, y), or residual terms as for `solve`.
        noise: standard deviation of data, where it is known; else it is estimated from the residuals.

    Returns:
        One record for each constant, layer by layer.

    Example:
        >>> from kansci import kanpile
        >>> x = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
        >>> constants = constant_estimates(kanpile("2*x + 1", ["x"]), (x, 2 * x + 1), noise=0.1)
        >>> [(own.letter, own.estimate) for own in constants]
        [('c', 2 +- 0.017), ('d', 1 +- 0.01)]
    """
    system, at = evaluated(model, as_terms(problem, noise))
    places = _places(model, system.models[""])
    errors = standard_errors(system, at, [column for column, *_ in places])
    found = zip(places, errors, strict=True)
    return [Constant(edge, name, letter, Estimate(float(at.vector[i]), e)) for (i, edge, name, letter), e in found]


def moved_constant(model: MultKAN, problem: Any, constant: Constant, value: float) -> MultKAN:
    """The network where a constant has another value, and the others have followed it as far as is linear.

    Example:
        >>> from kansci import kanpile
        >>> from kansci.solvers.statement import problem_loss
        >>> x = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
        >>> model, data = kanpile("(x + 1)**2 - 2*x", ["x"]), (x, x**2 + 1)
        >>> shift = next(own for own in constant_estimates(model, data) if own.letter == "b")
        >>> problem_loss(moved_constant(model, data, shift, 0.99), data) < 1e-8
        True
    """
    system, at = evaluated(model, as_terms(problem))
    places = _places(model, system.models[""])
    column = next(i for i, edge, _, letter in places if (edge, letter) == (constant.edge, constant.letter))
    change = value - float(at.vector[column])
    system.models[""].write(at.vector[: len(system.models[""])] + change * response(system, at, column))
    moved = copy.deepcopy(model)
    moved.load_state_dict(system.models[""].model.state_dict())
    return moved


def _places(model: MultKAN, unknowns: Unknowns) -> list[tuple[int, Edge, str, str]]:
    """The unknowns that are constants: number, edge, function and letter of each."""
    numbers = unknowns.spread(torch.arange(1.0, len(unknowns) + 1, dtype=torch.float64)).long() - 1
    found = []
    for number, layer in enumerate(model.layers):
        columns = unknowns.slices.get(f"layers.{number}.symbols.affine")
        if columns is not None:
            own = numbers[columns].view(-1, layer.config.n_in, 4)
            for target, row in enumerate(layer.config.symbols):
                for source, name in enumerate(row):
                    places = own[target, source].tolist()
                    pairs = zip(places, "abcd", strict=True)
                    found += [(i, Edge(number, target, source), name, letter) for i, letter in pairs if i >= 0 and name]
    return found
