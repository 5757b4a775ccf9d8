"""Constitutive laws: stress components as formulas, energies from noisy stress, rubber."""
