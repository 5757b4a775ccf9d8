r"""Tests of rubber, incompressible: uniaxial tension, equibiaxial tension and pure shear.

Stretches are lengths over those at rest [1], nominal stresses forces over areas at rest [the unit of the table, e.g.
MPa]. How good a law is, is told for each mode by R^2, one less the share of the variance of the stress that is left.

References:
    Treloar, Stress-strain data for vulcanised rubber, Trans. Faraday Soc. 40 (1944) 59.
    Steinmann, Hossain, Possart, Hyperelastic models for rubber-like materials, Arch. Appl. Mech. 82 (2012) 1183.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import kansci as ks
from kansci.physics.hyperelastic import MODES, principal_stretches

Tests = dict[str, tuple[Tensor, Tensor]]
Nominal = Callable[[Tensor], Tensor]

COLUMNS = ("mode", "stretch", "stress")


def read_tests(path: Path) -> Tests:
    """Stretches and stresses of each mode in a table.

    Raises:
        ConfigError: a column that is missing, or an unknown mode.
        DataError: a line without two positive numbers.
    """
    with path.open(newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        header = {name.strip().lower(): name for name in rows.fieldnames or ()}
        columns = [next((own for label, own in header.items() if want in label), None) for want in COLUMNS]
        if None in columns:
            raise ks.errors.ConfigError(f"expected columns {', '.join(COLUMNS)} in {path}, found {', '.join(header)}")
        found: dict[str, list[tuple[float, float]]] = {}
        for number, row in enumerate(rows, start=2):
            mode, *numbers = (row[str(own)] for own in columns)
            mode = mode.strip().lower().replace(" ", "_").replace("-", "_")
            if mode not in MODES:
                raise ks.errors.ConfigError(
                    f"{path}, line {number}: expected mode out of {', '.join(MODES)}, got {mode}"
                )
            try:
                stretch, stress = map(float, numbers)
            except (TypeError, ValueError):
                raise ks.errors.DataError(f"{path}, line {number}: expected two numbers, got {numbers}") from None
            found.setdefault(mode, []).append((stretch, stress))
    tests: Tests = {}
    for mode, pairs in found.items():
        stretch, stress = torch.tensor(pairs, dtype=torch.float64).T
        principal_stretches(mode, stretch)
        tests[mode] = stretch, stress
    if not tests:
        raise ks.errors.DataError(f"{path}: expected at least one row, found none")
    return tests


def r_squared(measured: Tensor, predicted: Tensor) -> float:
    """1 - sum of squared errors / sum of squared deviations from the mean."""
    return float(1 - (measured - predicted).square().sum() / (measured - measured.mean()).square().sum())


def scores(nominal: Nominal, tests: Tests) -> dict[str, float | None]:
    """R^2 of every mode, None for those that there are no tests of."""
    return {
        mode: r_squared(tests[mode][1], nominal(principal_stretches(mode, tests[mode][0]))) if mode in tests else None
        for mode in MODES
    }
