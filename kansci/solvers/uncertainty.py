"""Standard errors of unknowns, by the delta method on the identifiable subspace.

The rows of a term with `noise` are measurements with that standard deviation. Other terms are weighted by their own
root mean square residual, with the degrees of freedom n - rank where no term has noise: an equation that is solved
well constrains the unknowns, it does not add samples.

References:
    Seber, Wild, Nonlinear Regression, Wiley 1989, chapters 2 and 5.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.solvers import ranks
from kansci.solvers.losses import weights
from kansci.solvers.normal import add_gram
from kansci.solvers.residual import Residual
from kansci.solvers.system import Evaluation, System

RANK_TOLERANCE = 1e-12
VISIBLE = 1e-6


def standard_errors(system: System, at: Evaluation, columns: Sequence[int] | None = None) -> list[float]:
    """Standard errors of some unknowns, by default of the free scalars; infinite where nothing determines them."""
    chosen = list(range(system.size - len(system.scalars), system.size)) if columns is None else list(columns)
    if not chosen:
        return []
    information = _information(system, at)
    if not information.isfinite().all():
        return [math.inf] * len(chosen)
    units = information.diagonal().clamp(min=1e-300).sqrt()
    values, vectors = torch.linalg.eigh(information / units / units[:, None])
    kept = values > RANK_TOLERANCE * values.max()
    rows = vectors[chosen]
    variance = (rows[:, kept].square() / values[kept]).sum(1)
    if not _is_measured(system):
        freedom = ranks.count(sum(own.numel() for own in at.rows)) - int(kept.sum())
        variance *= at.loss / max(freedom, 1)
    hidden = rows[:, ~kept].square().sum(1) > VISIBLE
    errors = torch.where(hidden, torch.inf, variance.sqrt() / units[chosen])
    return errors.tolist()


def response(system: System, at: Evaluation, column: int) -> Float[Tensor, "p"]:
    """How all unknowns move with one of them, per unit of it, so that the linearized loss rises least.

    Where derivatives are not finite, the others stay.
    """
    information = _information(system, at)
    if not information.isfinite().all():
        return torch.eye(system.size, dtype=at.vector.dtype)[column]
    units = information.diagonal().clamp(min=1e-300).sqrt()
    values, vectors = torch.linalg.eigh(information / units / units[:, None])
    direction = (vectors / values.clamp(min=RANK_TOLERANCE * values.max())) @ vectors[column] / units
    return direction / direction[column]


class Samples(NamedTuple):
    """Rows of a problem as samples of one noise, of standard deviation 1 where it is known.

    Attributes:
        rows: (n,), the residuals.
        jacobian: (n, q), their derivatives with respect to unknowns, or to what equations leave free of these.
        is_measured: whether the noise is known.
    """

    rows: Float[Tensor, "n"]
    jacobian: Float[Tensor, "n q"]
    is_measured: bool


def samples(system: System, at: Evaluation) -> Samples:
    """The rows of the terms with noise, in units of it, under the equations of the others; or all rows."""
    measured = _is_measured(system)
    rows, columns, equations = [], [], [at.vector.new_zeros(system.size, 0)]
    for term, own, derivatives in _scaled(system, at):
        if measured and term.noise is None:
            equations += derivatives
        else:
            rows.append(own.flatten())
            columns += derivatives
    free = null_space(torch.cat(equations, 1).T)
    return Samples(torch.cat(rows), torch.cat(columns, 1).T @ free, measured)


def _scaled(system: System, at: Evaluation) -> Iterator[tuple[Residual, Tensor, Iterator[Tensor]]]:
    """For each block, its term, its rows (r, n) and the derivatives (p, n) of each, in units of standard deviations."""
    measured = _is_measured(system)
    scales = [_scale(term, rows, measured) for term, rows in zip(system.terms, at.rows, strict=True)]
    for block in system.jacobian(at):
        scale = scales[block.term][block.part]
        derivatives = (block.dense(component) / scale for component in range(len(block.rows)))
        yield system.terms[block.term], block.rows / scale, derivatives


def null_space(matrix: Float[Tensor, "n p"]) -> Float[Tensor, "p q"]:
    """An orthonormal basis of the vectors that a matrix maps to zero."""
    values, vectors = torch.linalg.eigh(matrix.T @ matrix)
    return vectors[:, values <= RANK_TOLERANCE * values.amax()] if len(values) else vectors


def _information(system: System, at: Evaluation) -> Float[Tensor, "p p"]:
    """Sum over terms of J^T J in units of their noise, or as it is where no term has any."""
    total = at.vector.new_zeros(system.size, system.size)
    for _, _, derivatives in _scaled(system, at):
        for own in derivatives:
            add_gram(total, own)
    total = ranks.total(total)
    return total.tril() + total.tril(-1).T


def _scale(term: Residual, rows: Float[Tensor, "r n"], measured: bool) -> Float[Tensor, "n"]:
    """The weighted standard deviation of each row of a term."""
    if term.noise is not None:
        scale = weights(term).sqrt() * torch.as_tensor(term.noise, dtype=torch.float64, device=rows.device)
    elif measured:
        square = ranks.total(rows.square().sum()) / ranks.count(rows.numel())
        scale = square.sqrt().clamp(min=1e-150)
    else:
        scale = rows.new_ones(())
    return scale.expand(term.size)


def _is_measured(system: System) -> bool:
    return any(term.noise is not None for term in system.terms)
