"""Standard errors of free scalars, by the delta method on the identifiable subspace.

The rows of a term with `noise` are measurements with that standard deviation. Other terms are weighted by their own
root mean square residual, with the degrees of freedom n - rank where no term has noise: an equation that is solved
well constrains the scalars, it does not add samples.

References:
    Seber, Wild, Nonlinear Regression, Wiley 1989, chapters 2 and 5.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.solvers.normal import add_gram
from kansci.solvers.system import Evaluation, System

RANK_TOLERANCE = 1e-12
VISIBLE = 1e-6


def standard_errors(system: System, at: Evaluation) -> list[float]:
    """Standard error of each free scalar; infinite where the problem does not determine it."""
    if not system.scalars:
        return []
    information = _information(system, at)
    units = information.diagonal().clamp(min=1e-300).sqrt()
    values, vectors = torch.linalg.eigh(information / units / units[:, None])
    kept = values > RANK_TOLERANCE * values.max()
    rows = vectors[-len(system.scalars) :]
    variance = (rows[:, kept].square() / values[kept]).sum(1)
    if not _is_measured(system):
        freedom = sum(own.numel() for own in at.rows) - int(kept.sum())
        variance *= at.loss / max(freedom, 1)
    hidden = rows[:, ~kept].square().sum(1) > VISIBLE
    errors = torch.where(hidden, torch.inf, variance.sqrt() / units[-len(system.scalars) :])
    return errors.tolist()


def _information(system: System, at: Evaluation) -> Float[Tensor, "p p"]:
    """Sum over terms of J^T J in units of their noise, or as it is where no term has any."""
    total = at.vector.new_zeros(system.size, system.size)
    measured = _is_measured(system)
    for term, rows, blocks in zip(system.terms, at.rows, system.term_jacobians(at), strict=True):
        if term.noise is not None:
            weight = torch.as_tensor(term.weight, dtype=torch.float64) / term.size
            scale = (weight.sqrt() * torch.as_tensor(term.noise, dtype=torch.float64)).expand(term.size)
        else:
            own = rows.square().mean().sqrt() if measured else torch.ones((), dtype=torch.float64)
            scale = own.clamp(min=1e-150).expand(term.size)
        start = 0
        for _, block in blocks:
            points = len(block) // len(rows)
            part = scale[start : start + points].repeat(len(rows)).to(block.device)
            add_gram(total, block / part[:, None])
            start += points
    return total.tril() + total.tril(-1).T


def _is_measured(system: System) -> bool:
    return any(term.noise is not None for term in system.terms)
