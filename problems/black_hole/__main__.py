"""python -m problems.black_hole."""

from problems.black_hole.solve import Config, solve
from problems.runner import main

main(Config, solve)
