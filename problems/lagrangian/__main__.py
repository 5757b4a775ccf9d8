"""python -m problems.lagrangian."""

from problems.lagrangian.solve import Config, solve
from problems.runner import main

main(Config, solve)
