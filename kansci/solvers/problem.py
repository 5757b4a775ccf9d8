"""What a user hands to `solve`, checked once and brought to one form."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from kansci.errors import ConfigError, DataError, DomainError, RowDependenceError, ShapeError
from kansci.nn.arguments import row_parts
from kansci.nn.networks import Network
from kansci.solvers import ranks
from kansci.solvers.residual import Residual
from kansci.solvers.system import Evaluation, System, gradients, watched


@dataclass(frozen=True)
class Parameter:
    """A free scalar of a problem: where it starts and between which bounds it stays.

    Example:
        >>> Parameter(1.0, low=0.0)
        Parameter(start=1.0, low=0.0, high=inf)
    """

    start: float
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        """Refuse a start outside the bounds."""
        if not (self.low <= self.start <= self.high and math.isfinite(self.start)):
            raise ConfigError(f"expected a finite start with low <= start <= high, got {self}")


@dataclass(frozen=True)
class Problem:
    """Models, residual terms in float64, and free scalars.

    Attributes:
        models: by name; a lone model has the name "".
        terms: the residual terms.
        scalars: the free scalars by name.
    """

    models: dict[str, nn.Module]
    terms: tuple[Residual, ...]
    scalars: dict[str, Parameter]

    @classmethod
    def read(cls, model: Any, residuals: Any, parameters: Mapping[str, Any] | None) -> "Problem":
        """Check and unify the arguments of `solve`.

        Raises:
            ConfigError: nothing to solve, or things of the wrong kind.
            DataError: a term without points on any rank.
            DomainError: points outside the domain of a model.
            ShapeError: points with the wrong number of coordinates.
        """
        models = dict(model) if isinstance(model, Mapping) else {"": model}
        terms = (residuals,) if isinstance(residuals, Residual) else tuple(residuals or ())
        if not terms or not all(isinstance(term, Residual) for term in terms):
            raise ConfigError(f"expected one Residual or a list of them, got {residuals!r}")
        for name, each in models.items():
            if not isinstance(each, nn.Module):
                raise ConfigError(f"expected a torch module as model {name!r}, got {type(each).__name__}")
        terms = shared(tuple(_in_double(term) for term in terms))
        for each in models.values():
            if isinstance(each, Network):
                for term in terms:
                    _check_points(each, term)
        scalars = {
            name: value if isinstance(value, Parameter) else Parameter(float(value))
            for name, value in (parameters or {}).items()
        }
        if not scalars and not any(p.requires_grad for each in models.values() for p in each.parameters()):
            raise ConfigError(
                "expected something to solve for, got no parameter that requires gradients and no free scalar; "
                "call model.requires_grad_(True) or give parameters="
            )
        return cls(models, terms, scalars)

    @property
    def single(self) -> bool:
        """Whether residual functions get jets of one model instead of dicts."""
        return list(self.models) == [""]

    @property
    def names(self) -> list[str]:
        """A name for each term."""
        return [term.name or f"term {number}" for number, term in enumerate(self.terms)]

    @property
    def starts(self) -> Tensor:
        """Where the free scalars start."""
        return torch.tensor([p.start for p in self.scalars.values()], dtype=torch.float64)

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest values of the free scalars."""
        low, high = ([getattr(p, end) for p in self.scalars.values()] for end in ("low", "high"))
        return torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64)


def _in_double(term: Residual) -> Residual:
    """The same term with its floating point tensors in float64."""
    changes = {name: _to_double(getattr(term, name)) for name in ("points", "targets", "weight", "noise")}
    return replace(term, **changes)


def shared(terms: tuple[Residual, ...]) -> tuple[Residual, ...]:
    """The terms, which are told what part of their points this rank has.

    Raises:
        ConfigError: other terms than on the other ranks.
        DataError: a term without points on any rank.
    """
    if ranks.are_many():
        ranks.check_same(terms=[[term.name, term.needs, len(term.point_sets)] for term in terms])
        for term in terms:
            size = ranks.count(term.size)
            if not size:
                raise DataError(f"residual {term.name!r}: expected points on one of the ranks, got none")
            object.__setattr__(term, "share", term.size / size)
    return terms


def _to_double(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_to_double(entry) for entry in value)
    return value.to(torch.float64) if isinstance(value, Tensor) and value.is_floating_point() else value


def _check_points(model: Network, term: Residual) -> None:
    label = f"residual {term.name!r}" if term.name else "a residual"
    for points in term.point_sets:
        if points.shape[1] != model.n_inputs:
            raise ShapeError(
                f"{label}: expected points of shape (n, {model.n_inputs}) for this model, got {tuple(points.shape)}"
            )
        low, high = (end.double() for end in model.domain)
        rounding = torch.finfo(model.dtype).eps * torch.maximum(low.abs(), high.abs())
        slack = 1e-9 * (high - low) + rounding
        for start, part in row_parts(points):
            outside = (part < low - slack) | (part > high + slack)
            if outside.any():
                row, column = outside.nonzero()[0].tolist()
                raise DomainError(
                    f"{label}: expected points within the model's domain, got {part[row, column]:g} in row "
                    f"{start + row} where input {column} ends at {low[column]:g} and {high[column]:g}; build the model "
                    "with a wider domain=, e.g. domain=Dataset.domain"
                )


def check_rows(system: System, at: Evaluation, seed: int) -> None:
    """Raise RowDependenceError if rows of a residual depend on points other than their own.

    The gradient of a random half of the rows must vanish at the points of the other half.
    """
    generator = torch.Generator().manual_seed(seed)
    for number, (term, jets) in enumerate(zip(system.terms, at.jets, strict=True)):
        chosen = torch.rand(term.size, generator=generator) < 0.5
        foreign = _foreign_rows(system, term, jets, at.vector, chosen)
        if len(foreign):
            raise RowDependenceError(
                f"residual {term.name or number!r}: expected row i to depend on point i only, but other rows depend "
                f"on point {foreign[0]}; write the residual row by row, and integrals as quadratures inside a point"
            )


def _foreign_rows(system: System, term: Residual, jets: Any, vector: Tensor, chosen: Tensor) -> list[int]:
    with torch.enable_grad():
        leaves = watched(jets)
        flat = [leaf.channels for each in leaves for leaf in each.values()]
        outputs = system.outputs(term, leaves, system.parameters(vector))
        found = gradients(outputs[chosen.to(outputs.device)].sum(), flat)
    touched = torch.stack([gradient.flatten(0, 1).abs().amax(0) for gradient in found]).amax(0).cpu()
    return ((touched > 0) & ~chosen).nonzero().flatten().tolist()
