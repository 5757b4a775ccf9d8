"""What is measured, against what, and the ratio that is claimed."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping

import torch
from scipy.linalg import get_blas_funcs, get_lapack_funcs

import kansci as ks
from tests.benchmarks.contenders import (
    count_parameters,
    inkan,
    mean_square,
    perceptron,
    poisson_by_autograd,
    poisson_by_jets,
    pykan,
    random_points,
)
from tests.benchmarks.least_squares import accepted_step
from tests.benchmarks.measure import Case, Target, interleave

Contenders = Mapping[str, Callable[[], object]]
PRECISIONS = {"float64": torch.float64, "float32": torch.float32}
BUDGET = 1000.0


def least_squares_step() -> Contenders:
    rows, model = 4000, ks.MultKAN([2, 10, 1], grid=5, k=7)
    jacobian = torch.randn(rows, count_parameters(model), dtype=torch.float64).numpy()
    (dsyrk,) = get_blas_funcs(("syrk",), (jacobian,))
    (dpotrf,) = get_lapack_funcs(("potrf",), (jacobian,))

    return {
        "kansci": accepted_step(model, random_points(rows, 2, torch.float64)),
        "dsyrk + dpotrf": lambda: dpotrf(dsyrk(1.0, jacobian.T), overwrite_a=True),
    }


def laplacian() -> Contenders:
    contenders = {}
    for label, dtype in PRECISIONS.items():
        x = random_points(4096, 2, dtype)
        model = ks.MultKAN([2, 8, 8, 1], dtype=dtype)
        contenders[f"kansci jets, {label}"] = poisson_by_jets(model, x)
        contenders[f"kansci nested autograd, {label}"] = poisson_by_autograd(model, x)
        contenders[f"pykan, {label}"] = poisson_by_autograd(pykan([2, 8, 8, 1], dtype, speed=False), x)
        contenders[f"pykan speed(), {label}"] = poisson_by_autograd(pykan([2, 8, 8, 1], dtype, speed=True), x)
    return contenders


def wide() -> Contenders:
    model = ks.MultKAN([64, 64, 64], grid=8, dtype=torch.float32)
    x = random_points(4096, 64, torch.float32)
    return {
        "kansci": mean_square(model, x),
        "inKAN": mean_square(inkan([64, 64, 64], 8), x),
        "MLP": mean_square(perceptron(64, 64, count_parameters(model)), x),
    }


def medium() -> Contenders:
    return _against_inkan([4, 10, 10, 1], 4096)


def small() -> Contenders:
    return _against_inkan([2, 5, 1], 1000)


def _against_inkan(width: list[int], batch: int) -> Contenders:
    x = random_points(batch, width[0], torch.float32)
    model = ks.MultKAN(width, dtype=torch.float32)
    return {"kansci": mean_square(model, x), "inKAN": mean_square(inkan(width, 5), x)}


def grids() -> Contenders:
    x = random_points(4096, 2, torch.float64)
    contenders = {}
    for grid in (10, 1000):
        model = ks.MultKAN([2, 5, 1], grid=grid)
        contenders[f"values, G={grid}"] = mean_square(model, x)
        contenders[f"jets, G={grid}"] = poisson_by_jets(model, x)
    return contenders


def memory(rounds: int) -> dict[str, list[float]]:
    """Each time in a process of its own, whose peak is then that of the fit."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", str(torch.get_num_threads())]
    peaks = [
        json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        for _ in range(min(rounds, 3))
    ]
    return {
        "kansci": [peak["peak"] for peak in peaks],
        "kansci above start": [peak["peak"] - peak["start"] for peak in peaks],
        "budget": [BUDGET],
    }


def _timed(contenders: Callable[[], Contenders]) -> Callable[[int], Mapping[str, list[float]]]:
    return lambda rounds: interleave(contenders(), rounds)


CASES = (
    Case(
        "lm-step",
        "one accepted Levenberg-Marquardt step, Laplacian residual, [2, 10, 1], k=7, 4000 rows",
        "ms",
        _timed(least_squares_step),
        (Target("kansci", "dsyrk + dpotrf", 2.5),),
    ),
    Case(
        "laplacian",
        "loss and gradient of a Laplacian residual, [2, 8, 8, 1], G=5, 4096 points",
        "ms",
        _timed(laplacian),
        tuple(
            Target(f"kansci jets, {label}", f"{reference}, {label}", limit)
            for label in PRECISIONS
            for reference, limit in (("kansci nested autograd", 1 / 10), ("pykan", 1 / 30), ("pykan speed()", 1 / 30))
        ),
    ),
    Case(
        "wide",
        "forward and backward pass, [64, 64, 64], G=8, batch 4096, float32",
        "ms",
        _timed(wide),
        (Target("kansci", "inKAN", 1.0), Target("kansci", "MLP", 1.8)),
    ),
    Case(
        "medium",
        "forward and backward pass, [4, 10, 10, 1], G=5, batch 4096, float32",
        "ms",
        _timed(medium),
        (Target("kansci", "inKAN", 0.8),),
    ),
    Case(
        "small",
        "forward and backward pass, [2, 5, 1], G=5, batch 1000, float32",
        "ms",
        _timed(small),
        (Target("kansci", "inKAN", 1.0),),
    ),
    Case(
        "grids",
        "forward and backward pass, [2, 5, 1], batch 4096, float64, on coarse and fine grids",
        "ms",
        _timed(grids),
        (Target("values, G=1000", "values, G=10", 1.5), Target("jets, G=1000", "jets, G=10", 1.5)),
    ),
    Case(
        "memory",
        "peak of one fit step, [100, 100, 1], G=5, batch 10000",
        "MB",
        memory,
        (Target("kansci", "budget", 1.0),),
    ),
)
