"""Conserved quantities: how many a vector field or measured motions have, and which."""
