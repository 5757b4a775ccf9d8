"""Formulas that data correct: compile, ask the data, let the network learn what is missing, read it."""
