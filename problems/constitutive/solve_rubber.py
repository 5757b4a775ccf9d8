"""The polyconvex energy of a rubber, beside classical models, from a table of tests."""

import time
from functools import partial

import sympy

import kansci as ks
from kansci.physics.polyconvex import KINDS, PolyconvexFit, certify, fit_polyconvex
from kansci.physics.rubber_models import CLASSICAL, POWERS, EnergyFit, fit_energy
from problems.constitutive.config import Config
from problems.constitutive.rubber import Tests, read_tests, scores
from problems.constitutive.rubber_figures import draw_curves, draw_residuals, draw_stresses
from problems.runner import Metric, Result

DIGITS = 6  # of the constants of formulas that are printed


def solve_rubber(config: Config) -> Result:
    """An energy that cannot be unphysical, what it predicts, and what classical models make of the same tests."""
    if config.data is None:
        raise ks.errors.ConfigError("expected --data with a table of the columns mode, stretch and stress")
    tests = read_tests(config.data)
    known = _known(tests, config.train)
    start = time.perf_counter()
    found = fit_polyconvex(known, kind=config.curves, grid=config.grid, seed=config.seed)
    seconds = time.perf_counter() - start
    certificate = certify(found, seed=config.seed)
    fits = {name: fit_energy(model, known, seed=config.seed) for name, model in {**CLASSICAL, "powers": POWERS}.items()}
    own = scores(found.energy.nominal, tests)
    metrics: dict[str, Metric] = {
        **{f"r2_{mode}": value for mode, value in own.items()},
        **_left_out(known, config),
        **{f"r2_{mode}_formula": value for mode, value in scores(fits["powers"].nominal, tests).items()},
        "frame_error": certificate.frame_error,
        "rest_stress": certificate.rest_stress,
        "rank_one": certificate.rank_one,
        "least_step": certificate.least_step,
        "certificate_holds": certificate.holds,
        "band_coverage": _coverage(found, tests),
        "fit_seconds": seconds,
    }
    figures = {
        "stresses": partial(draw_stresses, found, tests, known, fits),
        "residuals": partial(draw_residuals, found, tests, fits),
        "curves": partial(draw_curves, found),
    }
    rows = _table(tests, known, found, fits, config)
    text = str(sympy.N(fits["powers"].formula, DIGITS))
    return Result(found.energy.curves, metrics, formula=text, table=rows, figures=figures)


def _known(tests: Tests, train: tuple[str, ...]) -> Tests:
    missing = set(train) - set(tests)
    if missing:
        raise ks.errors.ConfigError(f"expected --train out of {', '.join(tests)}, got {', '.join(sorted(missing))}")
    return {mode: own for mode, own in tests.items() if not train or mode in train}


def _left_out(known: Tests, config: Config) -> dict[str, Metric]:
    """R^2 of each mode of an energy that has been fitted to the others."""
    found: dict[str, Metric] = {}
    for mode in known if len(known) > 1 else ():
        others = {name: own for name, own in known.items() if name != mode}
        fit = fit_polyconvex(others, kind=config.curves, grid=config.grid, draws=0)
        found[f"r2_{mode}_predicted"] = scores(fit.energy.nominal, {mode: known[mode]})[mode]
    return found


def _coverage(found: PolyconvexFit, tests: Tests) -> float:
    """Share of the measured stresses that lie in their bands."""
    inside = total = 0
    for mode, (stretch, stress) in tests.items():
        low, high = found.band(mode, stretch, measured=True)
        inside += int(((low <= stress) & (stress <= high)).sum())
        total += len(stress)
    return inside / total


def _table(
    tests: Tests, known: Tests, found: PolyconvexFit, fits: dict[str, EnergyFit], config: Config
) -> list[list[str | Metric]]:
    """R^2 of every model, ours first."""
    rows: list[list[str | Metric]] = [["model", "parameters", *tests, "polyconvex by form"]]
    for kind in sorted(KINDS, key=lambda own: own != found.energy.kind):
        same = kind == found.energy.kind
        fit = found if same else fit_polyconvex(known, kind=kind, grid=config.grid, draws=0)
        values = scores(fit.energy.nominal, tests)
        rows.append([f"curves of {kind}", int((fit.numbers > 0).sum()), *(values[mode] for mode in tests), True])
    for name, fit in fits.items():
        values = scores(fit.nominal, tests)
        label = "powers (formula)" if name == "powers" else name
        sure = name in ("neo-Hooke", "Mooney-Rivlin", "Gent", "powers")
        rows.append([label, len(fit.values), *(values[mode] for mode in tests), sure])
    return [[_rounded(entry) for entry in row] for row in rows]


def _rounded(entry: str | Metric) -> str | Metric:
    """R^2 with the digits that tell good models apart."""
    return f"{entry:.4f}" if isinstance(entry, float) else entry
