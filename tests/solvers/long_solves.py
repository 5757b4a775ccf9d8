"""Solves that take a while, to be killed: ``python -m tests.solvers.long_solves NAME CHECKPOINT STEPS SECONDS RESULT``.

RESULT gets every bit of what a solve returns, as JSON; with "none" as CHECKPOINT nothing is kept.
"""

import hashlib
import json
import math
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import kansci as ks
from kansci.physics import adaptive, domains, extremes, pde

SQUARE = domains.Box([(-1.0, 1.0), (-1.0, 1.0)])


def poisson(checkpoint: ks.Checkpoint | None) -> ks.Solution:
    """By LM on three grids, with points that follow the residual within a stage, and the activations between them."""

    def source(x: Tensor) -> Tensor:
        a, b = torch.pi * x[:, 0], torch.pi * x[:, 1] ** 2
        bent = (1 + 4 * x[:, 1] ** 2) * b.sin() - 2 / torch.pi * b.cos()
        return torch.pi**2 * a.sin() * bent

    def terms(model: ks.MultKAN | None = None, seed: int = 0, denser: int = 1) -> list[ks.Residual]:
        inside = SQUARE.interior(2500 * denser, seed=seed)
        if model is not None:
            inside = torch.cat([extremes.extreme_points(model, SQUARE.bounds), inside])[: len(inside)]
        walls = SQUARE.boundary(200 * denser, seed=seed).points
        return [pde.poisson(inside, source), pde.dirichlet(walls, weight=100.0)]

    return ks.solve(
        ks.MultKAN([2, 5, 5, 1], grid=5, domain=(-1, 1), seed=1),
        terms(),
        grids=[5, 10, 20],
        steps=120,
        callback=adaptive.ResidualAdaptive("poisson", SQUARE.interior(6000, seed=2), every=15),
        resample=terms,
        fresh=terms(seed=1, denser=2),
        checkpoint=checkpoint,
        progress=False,
    )


def batches(checkpoint: ks.Checkpoint | None) -> ks.Solution:
    """By Adam on two grids, which activations leave, with batches, a schedule of the rate and validation."""
    data = ks.Dataset.from_function(lambda x: (torch.sin(torch.pi * x[:, 0]) + x[:, 1] ** 2).exp(), SQUARE.bounds, 2000)
    return ks.fit(
        ks.MultKAN([2, 5, 1], grid=4, domain=data.domain, seed=1),
        data,
        method="adam",
        grids=[4, 8],
        steps=300,
        batch_size=100,
        rate=lambda share: 0.03 * (1 - share) * (1 + 0.5 * math.sin(40 * share)),
        validation=0.2,
        patience=300,
        checkpoint=checkpoint,
        progress=False,
        seed=5,
    )


SOLVES = {"poisson": poisson, "batches": batches}


def describe(solution: ks.Solution) -> dict[str, object]:
    """A solution to the bit, but for the time it took, which is told, too."""
    history = solution.history
    columns = {"loss": history.loss, "damping": history.damping, **history.terms}
    if history.validation is not None:
        columns["validation"] = history.validation
    return {
        "bits": {
            "model": digest(solution.model),
            "status": solution.status,
            "numbers": [number.hex() for number in (solution.loss, solution.error_estimate or 0.0)],
            "stages": history.stage.tolist(),
            "columns": {name: [float(number).hex() for number in column] for name, column in columns.items()},
        },
        "seconds": float(history.seconds[-1]),
        "loss": solution.loss,
    }


def digest(model: nn.Module) -> str:
    """SHA-256 of all tensors."""
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def main(name: str, checkpoint: str, steps: str, seconds: str, result: str) -> None:
    """Solve, and write down what came out."""
    often = int(steps) or None
    kept = None if checkpoint == "none" else ks.Checkpoint(checkpoint, often, float(seconds))
    sys.stdout.write("begins\n")
    sys.stdout.flush()
    solution = SOLVES[name](kept)
    Path(result).write_text(json.dumps(describe(solution)))


if __name__ == "__main__":
    main(*sys.argv[1:])
