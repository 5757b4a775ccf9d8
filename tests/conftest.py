"""What every test runs under: no display, two threads, the same examples each time."""

import os

os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("OMP_NUM_THREADS", "2")  # read when torch is first imported

import jaxtyping
import pytest
from hypothesis import settings

from tests.thorough import THOROUGH

settings.register_profile("kansci", derandomize=True, deadline=None, max_examples=10 * THOROUGH)
settings.load_profile("kansci")


@pytest.fixture
def unchecked(monkeypatch):
    """Types are not checked, as they are not for users."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
