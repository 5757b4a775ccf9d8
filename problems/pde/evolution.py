"""Evolution in one dimension of space, slab by slab of time."""

import torch

import kansci as ks
from kansci.physics import domains, pde
from kansci.physics.equation import Equation
from kansci.physics.marching import March, march
from problems.pde.config import Config
from problems.pde.physics import Case

WALL_POINTS = 16


def solve_evolution(config: Config, case: Case) -> March:
    """The solution in slabs, each with its own grid."""
    equation = Equation(case.equation, case.names, case.unknowns)
    return march(
        equation,
        case.box[case.time],
        case.box[1 - case.time],
        case.starts,
        lambda box: wall_terms(case, box),
        rates=case.rates,
        tolerance=config.tolerance,
        k=config.k or 7,
        seconds=config.seconds,
    )


def wall_terms(case: Case, box: domains.Box) -> list[ks.Residual]:
    """What holds at both ends of the coordinate that is not time."""
    axis = 1 - case.time
    low, high = (box.face(axis, side, WALL_POINTS, "chebyshev") for side in ("low", "high"))
    points, normals = (torch.cat([getattr(low, name), getattr(high, name)]) for name in ("points", "normals"))
    terms = []
    for output, (unknown, values) in enumerate(zip(case.unknowns, case.at_walls, strict=True)):
        options = {"output": output, "name": f"walls of {unknown}"}
        if case.walls == "periodic":
            terms.append(pde.periodic(low.points, high.points, **options))
        elif case.walls == "slopes":
            terms.append(pde.neumann(points, normals, values, **options))
        else:
            terms.append(pde.dirichlet(points, values, **options))
    return terms
