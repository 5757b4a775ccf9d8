"""Partial differential equations: evolution in time, boundary value problems, domains with holes, unknown constants."""
