"""Boundary value problems, and evolution in several dimensions of space, by one network for all."""

from functools import reduce

import torch
from torch import Tensor

import kansci as ks
from kansci.physics import domains, extremes, pde
from kansci.physics.equation import Equation
from problems.pde.config import Config
from problems.pde.physics import Case

HIDDEN, GRIDS, DEGREE, DEGREE_AROUND_HOLES = 16, (4, 8, 16), 9, 7
POINTS_PER_PARAMETER = 2.5
INSIDE_WEIGHT = 0.01


def region_of(case: Case) -> domains.Domain:
    """The box without its holes."""
    balls = [domains.Ball(hole[:-1], hole[-1]) for hole in case.holes]
    return reduce(lambda region, ball: region - ball, balls, domains.Box(case.box))


def build_network(config: Config, case: Case) -> tuple[ks.MultKAN, tuple[int, ...]]:
    """A network for a case, and the intervals of its stages."""
    d, grids = len(case.names), config.grids or GRIDS
    width = config.width or (d, HIDDEN, len(case.unknowns))
    k = config.k or (DEGREE_AROUND_HOLES if case.holes else DEGREE)
    return ks.MultKAN(list(width), grid=grids[0], k=k, domain=case.box, seed=config.seed), grids


def make_terms(case: Case, n: int, *, seed: int, reach: ks.MultKAN | None = None) -> list[ks.Residual]:
    """The equation at n points inside, the values at half as many on the boundary.

    The equation is weighted as if the box reached from -1 to 1: by the power of its half width that belongs to second
    derivatives.
    """
    region = region_of(case)
    inside = region.interior(n, seed=seed)
    if reach is not None:
        extreme = extremes.extreme_points(reach, case.box)
        extreme = extreme[region.contains(extreme)][:n]
        inside = torch.cat([extreme, inside[len(extreme) :]])
    half = min(high - low for low, high in case.box) / 2
    equation = Equation(case.equation, case.names, case.unknowns, parameters=[name for name, _ in case.constants])
    terms = [equation.at(inside, weight=INSIDE_WEIGHT * half**4)]
    on_boundary = region.boundary(n // 2, seed=seed).points
    on_walls = _on_faces(case, on_boundary)
    if "t" in case.names:
        start, end = case.box[case.time]
        at = on_boundary[:, case.time]
        tolerance = 1e-9 * (end - start)
        first = on_boundary[at - start < tolerance]
        on_walls &= (at - start > tolerance) & (end - at > tolerance)
        terms += _values(case, first, case.starts, "start")
        if max(equation.orders("t")) > 1:
            normals = torch.zeros_like(first)
            normals[:, case.time] = 1.0
            terms += [
                pde.neumann(first, normals, rate, output=output, name=f"rate of {case.unknowns[output]}")
                for output, rate in enumerate(case.rates)
            ]
    terms += _values(case, on_boundary[on_walls], case.at_walls, "walls")
    if case.holes:
        inner = on_boundary[~_on_faces(case, on_boundary)]
        terms += _values(case, inner, case.functions(case.hole_values), "holes")
    return terms


def _on_faces(case: Case, points: Tensor) -> Tensor:
    """Which points lie on the faces of the box."""
    low, high = torch.tensor(case.box, dtype=points.dtype).unbind(1)
    near = 1e-9 * (high - low)
    return ((points - low < near) | (high - points < near)).any(1)


def _values(case: Case, points: Tensor, fields: list, what: str) -> list[ks.Residual]:
    return [
        pde.dirichlet(points, field, output=output, name=f"{what} of {unknown}")
        for output, (unknown, field) in enumerate(zip(case.unknowns, fields, strict=True))
    ]


def solve_network(config: Config, case: Case) -> ks.Solution:
    """One network for all points."""
    if case.walls != "values":
        raise ks.errors.ConfigError(
            f"expected --walls values for an equation in {', '.join(case.names)}, got {case.walls}; "
            "slopes and periods are there for coordinates t and one other"
        )
    model, grids = build_network(config, case)
    trained = sum(
        parameter.numel() for parameter in ks.refine(model, grids[-1]).parameters() if parameter.requires_grad
    )
    n = config.interior or round(POINTS_PER_PARAMETER * trained)
    return ks.solve(
        model,
        make_terms(case, n, seed=0),
        grids=grids,
        steps=config.steps,
        seconds=config.seconds,
        seed=config.seed,
        fresh=make_terms(case, 2 * n, seed=1),
        resample=lambda model: make_terms(case, n, seed=0, reach=model),
    )
