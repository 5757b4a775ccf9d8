"""Unknown constants of a differential equation from measurements of its solution, with standard errors."""

from dataclasses import replace

import torch
from torch import Tensor

import kansci as ks
from kansci.physics import domains, pde
from kansci.physics.equation import Equation
from kansci.physics.marching import panels
from kansci.physics.separated import separated_network
from problems.pde.config import Config
from problems.pde.evolution import wall_terms
from problems.pde.networks import build_network, make_terms
from problems.pde.physics import Case

ORDER, INTERVALS, DEGREE = 10, 8, 7
STIFF = 1e4  # weight of the equation beside the measurements


def measurements(config: Config, case: Case) -> tuple[Tensor, Tensor, float]:
    """Points, what was measured there (n, m), and the standard deviation of the noise."""
    if config.data is not None:
        data = ks.Dataset.from_file(config.data, list(case.unknowns), inputs=list(case.names))
        return data.x, data.y, config.noise
    if not case.exact:
        raise ks.errors.ConfigError("expected --data, a file of measurements, got none")
    generator = torch.Generator().manual_seed(config.seed)
    points = domains.Box(case.box).interior(config.samples, method="random", seed=config.seed)
    values = torch.stack([field(points) for field in case.functions(case.exact)], 1)
    noise = config.noise * float(values.std())
    return points, values + noise * torch.randn(values.shape, generator=generator, dtype=values.dtype), noise


def solve_inverse(config: Config, case: Case) -> ks.Solution:
    """The solution and the constants together."""
    points, values, noise = measurements(config, case)
    measured = ks.Residual(
        lambda jet, x, y, parameters: jet.value - y, points, targets=values, noise=noise, name="data"
    )
    model, terms = _evolution(case) if case.is_evolution else _other(config, case)
    return ks.solve(
        model,
        [*terms, measured],
        parameters=dict(case.constants),
        steps=config.steps,
        seconds=config.seconds,
        damping=1e-8,
    )


def _evolution(case: Case) -> tuple[ks.MultKAN, list[ks.Residual]]:
    """One slab for the whole time."""
    (start, end), (low, high) = case.box[case.time], case.box[1 - case.time]
    breaks = torch.linspace(low, high, INTERVALS + 1, dtype=torch.float64)
    model, _ = separated_network(
        (start, end), breaks, order=ORDER, k=DEGREE, outputs=len(case.unknowns), time=case.time
    )
    t, along = panels(torch.tensor([start, end], dtype=torch.float64), ORDER + 2)
    x, across = panels(breaks, DEGREE)
    columns = [t.repeat_interleave(len(x)), x.repeat(len(t))]
    points = torch.stack(columns if case.time == 0 else columns[::-1], 1)
    weight = (along[:, None] * across).flatten()
    equation = Equation(case.equation, case.names, case.unknowns, parameters=[name for name, _ in case.constants])
    first = [torch.full_like(x, start), x]
    at_start = torch.stack(first if case.time == 0 else first[::-1], 1)
    terms = [
        equation.at(points, weight=STIFF * weight / weight.mean()),
        *(
            pde.dirichlet(at_start, field, weight=STIFF, output=output, name=f"start of {unknown}")
            for output, (unknown, field) in enumerate(zip(case.unknowns, case.starts, strict=True))
        ),
        *(replace(term, weight=STIFF) for term in wall_terms(case, domains.Box(case.box))),
    ]
    return model, terms


def _other(config: Config, case: Case) -> tuple[ks.MultKAN, list[ks.Residual]]:
    """A network on the finest of its grids."""
    model, grids = build_network(config, case)
    return ks.refine(model, grids[1]), make_terms(case, 2000, seed=0)
