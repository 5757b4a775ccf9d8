"""The same linearization where a Jacobian is sparse: of networks that are linear in splines.

A B-spline is alive on k + 1 intervals only. Where all unknowns are coefficients of the first layer, a row of the
Jacobian has k + 1 entries for each trained edge, however fine the grids are; then J is kept as a sparse matrix, and
the damped normal equations are solved by sparse elimination, at a cost that grows with the grid and not with its cube.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float
from scipy.sparse.linalg import splu
from torch import Tensor

from kansci.nn.multkan import MultKAN
from kansci.solvers import ranks
from kansci.solvers.blocks import FactoredBlock
from kansci.solvers.jacobian import SplineFactor
from kansci.solvers.normal import LEAST_FLOOR, Linearization, Pinned, Solve, floor_of
from kansci.solvers.system import Evaluation, System
from kansci.solvers.unknowns import Unknowns

LEAST_UNKNOWNS, MOST_FILLED = 150, 0.25
MOST_SCALARS = 8
FIRST = "layers.0.splines.coef"


def linearize(
    system: System, at: Evaluation, memory: float, pinned: Pinned | None = None
) -> "Linearization | SparseLinearization":
    """The linearization of a system at a point, sparse where that pays."""
    if is_sparse(system):
        return SparseLinearization(system, at, pinned)
    return Linearization(system, at, memory, pinned)


def is_sparse(system: System) -> bool:
    """Whether few entries of each row of the Jacobian can differ from zero."""
    plain = system.penalty is None and system.prior is None and not ranks.are_many()
    if not plain or system.size < LEAST_UNKNOWNS or len(system.scalars) > MOST_SCALARS:
        return False
    return all(_filled(own) < MOST_FILLED for own in system.models.values())


def _filled(unknowns: Unknowns) -> float:
    """The largest share of the unknowns of a model that a row depends on."""
    model = unknowns.model
    if not isinstance(model, MultKAN) or list(unknowns.slices) != [FIRST] or model.layers[0].splines is None:
        return 1.0
    config, mask = model.layers[0].splines.config, model.layers[0].splines.mask
    return int(mask.count_nonzero()) * (config.k + 1) / max(len(unknowns), 1)


class SparseLinearization:
    """What `Linearization` is, of a sparse Jacobian.

    Attributes:
        gradient: J^T r.
        scale: the diagonal of D at the least floor.
    """

    gradient: Float[Tensor, "p"]
    scale: Float[Tensor, "p"]

    def __init__(self, system: System, at: Evaluation, pinned: Pinned | None = None) -> None:
        """Compute J, J^T r and J^T J; unknowns that a bound stops stay where they are."""
        self._matrix = _jacobian(system, at)
        self.gradient = self.adjoint(at.flat)
        self._gram = (self._matrix.T @ self._matrix).tocsc()
        self._diagonal = torch.from_numpy(self._gram.diagonal())
        self._held = torch.zeros_like(self.gradient, dtype=torch.bool)
        if pinned is not None:
            self._held = pinned.held(self.gradient)
            self.gradient[self._held] = 0
            free = scipy.sparse.diags((~self._held).double().numpy())
            self._gram = (free @ self._gram @ free).tocsc()
        self.scale = self._scale(LEAST_FLOOR)

    def damped(self, damping: float) -> Solve | None:
        """x -> (J^T J + damping D)^-1 x, or None if the matrix is not positive definite to rounding."""
        added = damping * self._scale(floor_of(damping))
        try:
            factor = splu(
                self._gram + scipy.sparse.diags(added.numpy(), format="csc"),
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
        except RuntimeError:
            return None
        if not (factor.U.diagonal() > 0).all():
            return None
        return lambda right: torch.from_numpy(factor.solve((right * ~self._held).numpy()))

    def apply(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "rows"]:
        """J v, in the order of `Evaluation.flat`."""
        return torch.from_numpy(self._matrix @ vector.numpy())

    def adjoint(self, flat: Float[Tensor, "rows"]) -> Float[Tensor, "p"]:
        """J^T w."""
        return torch.from_numpy(self._matrix.T @ flat.numpy())

    def _scale(self, floor: float) -> Tensor:
        return self._diagonal + floor * self._diagonal.max()


def _jacobian(system: System, at: Evaluation) -> Any:
    """J with rows in the order of `Evaluation.flat`."""
    sizes = [rows.shape for rows in at.rows]
    first = [0, *accumulate(r * n for r, n in sizes)]
    entries = [_entries(block, first[block.term], sizes[block.term][1]) for block in system.jacobian(at)]
    values, rows, columns = (np.concatenate(own) for own in zip(*entries, strict=True))
    return scipy.sparse.coo_matrix((values, (rows, columns)), shape=(first[-1], system.size)).tocsr()


def _entries(block: FactoredBlock, first: int, n: int) -> list[np.ndarray]:
    """Values, rows and columns of what is not zero in a block; entries of the same place are to be added."""
    r = len(block.rows)
    rows = first + n * torch.arange(r)[:, None] + torch.arange(n)[block.part]  # (r, n)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    start = 0
    for unknowns, sets in block.columns:
        places = _places(unknowns, start)
        for factors in sets:
            found += [_spline_entries(factor, places, rows) for factor in factors if isinstance(factor, SplineFactor)]
        start += len(unknowns)
    for number, own in enumerate(block.scalars):
        found.append((own, rows, torch.full_like(rows, start + number)))
    return [torch.cat([part.flatten() for part in own]).numpy() for own in zip(*found, strict=True)]


def _places(unknowns: Unknowns, start: int) -> Tensor:
    """Where each column of a model stands among all unknowns."""
    places = torch.zeros(unknowns.size, dtype=torch.long)
    chosen: Sequence[int] | Tensor = range(unknowns.size) if unknowns.active is None else unknowns.active
    places[torch.as_tensor(chosen)] = start + torch.arange(len(unknowns))
    return places


def _spline_entries(factor: SplineFactor, places: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Entries (r, edge, alive, n) of the edges that are not cut."""
    edges, basis = factor.edges, factor.basis.plain()
    targets, sources = (edges.mask * edges.scale_spline).nonzero(as_tuple=True)
    factors = (factor.scale[:, None] * edges.mask * edges.scale_spline)[targets, sources]
    seeds = factor.seeds[:, :, targets] * factors[:, None]
    alive = edges.config.k + 1
    values = torch.einsum("rcen,cean->rean", seeds, basis.values[:, sources, :alive])
    _, n_in, n_coef = edges.coef.shape
    offsets = factor.places["coef"].start + (targets * n_in + sources) * n_coef
    columns = places[offsets[:, None, None] + basis.numbers[sources, :alive]]
    return values, rows[:, None, None].expand_as(values), columns.expand_as(values)
