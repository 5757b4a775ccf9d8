"""Lagrangians of motions: from equations of motion, from accelerations, or from measured trajectories."""
