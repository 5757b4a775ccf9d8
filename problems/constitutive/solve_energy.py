"""Energies from stresses with noise."""

import time
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

import kansci as ks
from kansci.physics.energy_search import FoundEnergy, find_energy
from problems.constitutive.benchmark import LAWS, PATHS, Law, path, random_deformations
from problems.constitutive.config import Config
from problems.constitutive.energy_figures import draw_paths, draw_terms
from problems.runner import Metric, Result

SAMPLES, NOISE = 2000, 1e-3
AMOUNTS = torch.linspace(0, 1, 101, dtype=torch.float64)
SIZES = {8: 2, 18: 3}  # order of the matrices by the number of columns


def solve_energy(config: Config) -> Result:
    """The energy of the benchmark's law, or of a user's table."""
    law = None if config.data else LAWS[config.law]
    gradient, stress = _drawn(law, config) if law else _read_table(config)
    start = time.perf_counter()
    found = find_energy(gradient, stress)
    seconds = time.perf_counter() - start
    metrics: dict[str, Metric] = {"relative_error": found.error, "terms": len(found.terms)}
    if law:
        metrics |= {**_judge(found, law), **_path_scores(found, law)}
    metrics["search_seconds"] = seconds
    figures = {"terms": partial(draw_terms, found)}
    if law:
        figures["paths"] = partial(draw_paths, found, law)
    return Result(_as_network(found), metrics, formula=found.formula, table=_table(found, metrics), figures=figures)


def _drawn(law: Law, config: Config) -> tuple[Tensor, Tensor]:
    """Deformations and stresses with noise."""
    gradient = random_deformations(config.samples or SAMPLES, config.seed)
    stress = law.stress(gradient)
    generator = torch.Generator().manual_seed(1000 + config.seed)
    noise = NOISE if config.noise is None else config.noise
    errors = torch.randn(stress.shape, dtype=torch.float64, generator=generator)
    return gradient, stress + noise * stress.std(0) * errors


def _read_table(config: Config) -> tuple[Tensor, Tensor]:
    """Those of a table, F and P in two or three dimensions."""
    table = ks.Dataset.from_file(str(config.data), "P11", progress=False)
    columns = {**dict(zip(table.names or (), table.x.T, strict=True)), "P11": table.y[:, 0]}
    size = 3 if "F33" in columns else 2
    found = []
    for letter in "FP":
        names = [f"{letter}{i}{j}" for i in range(1, size + 1) for j in range(1, size + 1)]
        missing = [name for name in names if name not in columns]
        if missing:
            raise ks.errors.ConfigError(f"expected columns {', '.join(names)}, found no {', '.join(missing)}")
        found.append(torch.stack([columns[name] for name in names], 1).view(-1, size, size))
    return found[0], found[1]


def _judge(found: FoundEnergy, law: Law) -> dict[str, Metric]:
    """Whether the terms are the true ones, and how far their factors are from the true ones."""
    own = {term.text: term.factor for term in found.terms if term.family is None}
    inner = [term for term in found.terms if term.family is not None]
    right = set(own) == set(law.terms) and {term.family for term in inner} == set(law.family)
    errors = [abs(own[text] / factor - 1) for text, factor in law.terms.items() if text in own]
    return {"terms_right": right, "parameter_error": max(errors) if right else None}


def _path_scores(found: FoundEnergy, law: Law) -> dict[str, Metric]:
    """R^2 of the stress along each path, and the least of them."""
    scores: dict[str, Metric] = {}
    least = 1.0
    for name in PATHS:
        gradient = path(name, AMOUNTS)
        true = law.stress(gradient).flatten(1)
        rest = (found.stress(gradient).flatten(1) - true).square().sum()
        value = float(1 - rest / (true - true.mean(0)).square().sum())
        scores[f"r2_{name}"], least = value, min(least, value)
    return {**scores, "r2_least": least}


def _as_network(found: FoundEnergy) -> ks.MultKAN:
    """The energy as a network: of the invariants where it is a formula of these, else of the values of its terms."""
    if all(term.family is None for term in found.terms):
        return ks.kanpile(found.formula, ["I1", "I2", "J"])
    names = [f"t{number}" for number in range(1, len(found.terms) + 1)]
    return ks.kanpile(" + ".join(f"{own.factor!r}*{name}" for own, name in zip(found.terms, names, strict=True)), names)


def _table(found: FoundEnergy, metrics: Mapping[str, Metric]) -> list[list[str | Metric]]:
    rows: list[list[str | Metric]] = [["term or metric", "value", "standard error"]]
    for term in found.terms:
        rows.append([term.text, f"{term.factor:.5f}", term.standard_error])
        if term.family is not None:
            rows.append([f"constant in {term.text}", f"{term.inner:.5f}", term.inner_error])
    return rows + [[name, f"{value:.6f}" if name.startswith("r2") else value, ""] for name, value in metrics.items()]
