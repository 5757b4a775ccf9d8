"""How many samples it takes to find the exact law, with a right prior, without, and with a wrong one."""

import kansci as ks
from kansci.physics.material_law import find_material_law
from problems.constitutive.components import CASES, NAMES, deformations, lame
from problems.constitutive.config import Config
from problems.constitutive.solve_component import is_right, measured
from problems.runner import Metric, Result

SIZES = (30, 50, 70, 100, 150, 200, 300, 500, 700, 1000)
COMPONENTS = ("p11", "p12_prior")
PRIORS = ("right", "none", "wrong")


def study_data(config: Config) -> Result:
    """The fewest samples with the exact formula, for each component and prior."""
    constants = lame(config.young, config.poisson)
    rows: list[list[str | Metric]] = [["component", *(f"{prior} prior" for prior in PRIORS)]]
    metrics: dict[str, Metric] = {}
    model = None
    for name in COMPONENTS:
        case, label = CASES[name], name.partition("_")[0]
        x = deformations(SIZES[-1], config.spread or case.spread, config.seed)
        y = measured(case.response(x, constants), config.noise or 0.0, config.seed)
        for kind in PRIORS:
            prior = None if kind == "none" else case.prior(constants, wrong=kind == "wrong")
            found = None
            for size in SIZES:
                try:
                    law = find_material_law(x[:size], y[:size], NAMES, prior=prior, seed=config.seed)
                except ks.errors.DataError:  # too few samples
                    continue
                if is_right(law, case, constants):
                    found, model = size, law.model
                    break
            metrics[f"samples_{label}_{kind}"] = found
        rows.append([label, *(metrics[f"samples_{label}_{kind}"] for kind in PRIORS)])
    if model is None:
        raise ks.errors.DataError("expected a law that can be found, found none with 1000 samples; lower --noise")
    return Result(model, metrics, table=rows)
