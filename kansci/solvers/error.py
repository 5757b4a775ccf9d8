r"""A solution's own error estimate, for problems without a known answer.

The solved model u is enriched: its grids are refined, and ridge functions sum_j g_j(a_j . x) with random directions
a_j and spline profiles g_j are added. One Gauss-Newton step of the enriched model on fresh points gives a correction
e, and the estimate is ||e|| / ||u||. A residual that the solver could not see, between its points or beyond its
grids, is turned by the step into the error of u that it causes.

References:
    Bank, Weiser, Mathematics of Computation 44 (1985) 283 (error estimates from enriched spaces).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.config import LayerConfig, ModelConfig, Width
from kansci.jets import Jet
from kansci.nn.multkan import MultKAN
from kansci.nn.networks import SplineNetwork
from kansci.solvers import ranks
from kansci.solvers.normal import Linearization
from kansci.solvers.residual import Residual
from kansci.solvers.system import Evaluation, System
from kansci.solvers.unknowns import Unknowns
from kansci.surgery.grid import refine

RIDGES = 32
RIDGE_GRID, RIDGE_DEGREE = 8, 5
SMALLEST_DAMPING, LARGEST_DAMPING = 1e-14, 1e8
EXTRA = "+"


def estimate_error(system: System, at: Evaluation, terms: Sequence[Residual], memory: float) -> float | None:
    """Estimated relative L2 error of the outputs of all models, or None where no model can be enriched.

    Infinite where that step does not exist, or the model is zero.

    Args:
        system: a solved system.
        at: where it ended.
        terms: the same residual terms on other, preferably more points.
        memory: bytes that a Jacobian may take.
    """
    system.place(at)
    models: dict[str, Unknowns] = {}
    for name, unknowns in system.models.items():
        model = unknowns.model
        if not isinstance(model, SplineNetwork):
            return None
        finest = max((layer.splines.config.grid for layer in model.layers if layer.splines is not None), default=1)
        models[name] = Unknowns(refine(model, 2 * finest), list(unknowns.slices))
        models[name + EXTRA] = Unknowns(_ridges(model), ["layers.1.splines.coef"])
    scalars = system.free(at.vector)
    enriched = System([_combine(term, system.single) for term in terms], models, system.scalars, single=False)
    vector = enriched.read(scalars)
    step = _gauss_newton(enriched, enriched.evaluate(vector), memory)
    if step is None:
        return math.inf
    points = max((term.point_sets[0] for term in terms), key=lambda points: ranks.count(len(points)))
    values = System([_outputs(points, list(system.models))], models, system.scalars, single=False)
    there = values.evaluate(vector)
    change = there.vector.new_zeros(())
    for block in values.jacobian(there):
        change += block.apply(step).square().sum()
    changed, size = float(ranks.total(change)), float(ranks.total(there.flat.square().sum()))
    return math.sqrt(changed / size) if size > 0 and math.isfinite(changed) else math.inf


def _gauss_newton(system: System, at: Evaluation, memory: float) -> Tensor | None:
    """The least damped step that there is, or None where derivatives are not finite, or all of them vanish."""
    local = Linearization(system, at, memory)
    damping, solve = SMALLEST_DAMPING, None
    while solve is None and damping < LARGEST_DAMPING:
        damping *= 10
        solve = local.damped(damping)
    return None if solve is None else -solve(local.gradient)


def _combine(term: Residual, single: bool) -> Residual:
    """The same term for models of which each has a part named EXTRA to be added."""

    def function(jets: Any, points: Any, *others: Any) -> Tensor:
        sets = jets if isinstance(points, tuple) else (jets,)
        sums = [{name: own[name] + own[name + EXTRA] for name in own if not name.endswith(EXTRA)} for own in sets]
        given = tuple(own[""] if single else own for own in sums)
        return term.function(given if isinstance(points, tuple) else given[0], points, *others)

    return replace(term, function=function)


def _outputs(points: Float[Tensor, "n d"], names: list[str]) -> Residual:
    """All outputs side by side, as if they were residuals."""

    def function(jets: dict[str, Jet], points: Tensor, *others: Any) -> Tensor:
        return torch.cat([(jets[name] + jets[name + EXTRA]).value for name in names], 1)

    return Residual(function, points)


def _ridges(model: SplineNetwork) -> MultKAN:
    """sum_j g_j(a_j . x), all g_j zero, with directions fixed by the number of inputs."""
    d, m = model.n_inputs, model.n_outputs
    generator = torch.Generator().manual_seed(d)
    low, high = model.domain
    directions = torch.randn(RIDGES, d, generator=generator, dtype=torch.float64)
    scale = 2 / (high - low).double()
    lines = LayerConfig(d, Width(RIDGES), splines=False, symbols=(("x",) * d,) * RIDGES)
    profiles = LayerConfig(RIDGES, Width(m), RIDGE_GRID, RIDGE_DEGREE, base="zero")
    ridges = MultKAN.from_config(ModelConfig((lines, profiles)))
    with torch.no_grad():
        slopes = ridges.get_parameter("layers.0.symbols.affine")[..., 2]
        slopes.copy_(directions / directions.norm(dim=1, keepdim=True) * scale)
        ridges.get_parameter("layers.1.splines.coef").zero_()
    ridges.set_domain(torch.stack([low, high], 1).double())
    return ridges
