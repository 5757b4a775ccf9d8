"""python -m problems.poisson."""

from problems.poisson.solve import Config, solve
from problems.runner import main

main(Config, solve)
