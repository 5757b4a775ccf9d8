"""python -m problems.conserved."""

from problems.conserved.solve import Config, solve
from problems.runner import main

main(Config, solve)
