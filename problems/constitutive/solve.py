"""Find a constitutive law, as a network and as a formula."""

import kansci as ks
from problems.constitutive.config import Config
from problems.constitutive.solve_component import solve_component, solve_table
from problems.constitutive.solve_energy import solve_energy
from problems.constitutive.solve_rubber import solve_rubber
from problems.constitutive.study import study_data
from problems.runner import Result

__all__ = ["Config", "solve"]


def solve(config: Config) -> Result:
    """Find a constitutive law, as a network and as a formula."""
    if config.study == "data":
        return study_data(config)
    if config.case == "custom":
        return solve_table(config)
    if config.case == "rubber":
        return solve_rubber(config)
    if config.case == "energy":
        return solve_energy(config)
    if config.data or config.target:
        raise ks.errors.ConfigError("expected --data and --target only with a case that reads a table")
    return solve_component(config)
