"""Points and weights that follow the residual during a solve, as callbacks of `solve`.

References:
    Wu, Zhu, Tan, Kartha, Lu, A comprehensive study of non-adaptive and residual-based adaptive sampling for
    physics-informed neural networks, CMAME 403 (2023) 115671, arXiv:2207.10289.
    Wang, Sankaran, Perdikaris, Respecting causality is all you need for training physics-informed neural networks,
    arXiv:2203.07404.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import ConfigError
from kansci.jets import jet
from kansci.solvers.residual import Residual
from kansci.solvers.solution import Step


@dataclass
class ResidualAdaptive:
    r"""Draws the points of a term anew where its residual r is large.

    Points are drawn from candidates without replacement with probabilities proportional to

    .. math:: \frac{|r|^k}{\langle |r|^k \rangle} + c

    Attributes:
        term: name of the term; it has one set of points and no targets.
        candidates: points to choose from (m, d), at least as many as the term has.
        every: steps between two draws.
        power: k.
        constant: c; the larger, the more uniform.
        seed: of the draws.

    Raises:
        ConfigError: no such term, or one that cannot be moved.

    Example:
        >>> x = torch.linspace(0, 1, 400, dtype=torch.float64)[:, None]
        >>> callback = ResidualAdaptive("equation", x, every=5)
    """

    term: str
    candidates: Float[Tensor, "m d"]
    every: int = 20
    power: float = 1.0
    constant: float = 1.0
    seed: int = 0

    def __call__(self, step: Step) -> list[Residual] | None:
        """Other points, every so many steps."""
        if step.step % self.every:
            return None
        number, term = _find(step, self.term)
        if term.targets is not None or (isinstance(term.weight, Tensor) and term.weight.ndim):
            raise ConfigError(f"expected a term without targets and weights of points, got {self.term!r}")
        if len(self.candidates) < term.size:
            raise ConfigError(f"expected at least {term.size} candidates for {self.term!r}, got {len(self.candidates)}")
        size = residual_size(step, replace(term, points=self.candidates)) ** self.power
        chances = size / size.mean().clamp(min=torch.finfo(size.dtype).tiny) + self.constant
        generator = torch.Generator().manual_seed(self.seed + step.step)
        chosen = torch.multinomial(chances.cpu(), term.size, generator=generator).sort().values
        return _replaced(step, number, replace(term, points=self.candidates[chosen]))


@dataclass
class Causal:
    r"""Weights the points of a term by how well the equation is solved at earlier times.

    Time is cut into slabs of equally many points; slab k has the weight

    .. math:: w_k = \exp \Big(-\epsilon \sum_{j < k} \langle r^2 \rangle_j \Big)

    relative to the term's own weight.

    Attributes:
        term: name of the term; it has one weight for all points.
        tolerance: epsilon.
        coordinate: number of the input that is time.
        slabs: number of slabs.
        every: steps between two updates of the weights.

    Raises:
        ConfigError: no such term, or one with weights of points.

    Example:
        >>> callback = Causal("equation", tolerance=10.0, coordinate=0)
    """

    term: str
    tolerance: float = 1.0
    coordinate: int = 0
    slabs: int = 32
    every: int = 5

    def __call__(self, step: Step) -> list[Residual] | None:
        """Other weights, every so many steps."""
        if step.step % self.every:
            return None
        number, term = _find(step, self.term)
        order = term.point_sets[0][:, self.coordinate].argsort()
        squares = residual_size(step, term)[order].square()
        slabs = squares.tensor_split(min(self.slabs, term.size))
        before = torch.stack([slab.mean() for slab in slabs]).cumsum(0).roll(1)
        before[0] = 0
        weights = torch.empty_like(squares)
        weights[order] = (-self.tolerance * before).exp().repeat_interleave(torch.tensor([len(s) for s in slabs]))
        return _replaced(step, number, replace(term, weight=self._own_weight(term, order) * weights))

    def _own_weight(self, term: Residual, order: Tensor) -> float | Tensor:
        """What the first slab keeps through all updates, so that a solve can go on from its checkpoint."""
        if not (isinstance(term.weight, Tensor) and term.weight.ndim):
            return term.weight
        slabs = term.weight[order].tensor_split(min(self.slabs, term.size))
        if any(slab.min() != slab.max() for slab in slabs):
            raise ConfigError(f"expected a term with one weight for all points, got weights of points in {self.term!r}")
        return slabs[0][0]


@torch.no_grad()
def residual_size(step: Step, term: Residual) -> Float[Tensor, "n"]:
    """|r| at each point of a term, for the model as it is."""
    model = step.model

    def look(points: Tensor) -> Any:
        if isinstance(model, Mapping):
            return {name: jet(each, points, term.needs) for name, each in model.items()}
        return jet(model, points, term.needs)

    parameters = {name: torch.tensor(value, dtype=torch.float64) for name, value in step.parameters.items()}
    return term(tuple(look(points) for points in term.point_sets), parameters).norm(dim=1)


def _find(step: Step, name: str) -> tuple[int, Residual]:
    """A term and its number."""
    names = [term.name for term in step.residuals]
    if name not in names:
        raise ConfigError(f"expected the name of a term, one of {names}, got {name!r}; give Residual(..., name=...)")
    return names.index(name), step.residuals[names.index(name)]


def _replaced(step: Step, number: int, term: Residual) -> list[Residual]:
    return [*step.residuals[:number], term, *step.residuals[number + 1 :]]
