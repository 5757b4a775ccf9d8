"""Poisson's equation on boxes: the KAN paper's case, its kin, and any other given as formulas."""
