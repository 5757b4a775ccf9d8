"""Lists the problems."""

from problems.runner import list_problems

list_problems()
