"""python -m problems.constitutive."""

from problems.constitutive.solve import Config, solve
from problems.runner import main

main(Config, solve)
