"""Physical problems solved with kansci, each run by ``python -m problems.NAME``."""
