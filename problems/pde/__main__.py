"""python -m problems.pde."""

from problems.pde.solve import Config, solve
from problems.runner import main

main(Config, solve)
