"""python -m problems.finetune."""

from problems.finetune.solve import Config, solve
from problems.runner import main

main(Config, solve)
