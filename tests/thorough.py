"""How many random examples are drawn: as many as are quick, or, for KANSCI_THOROUGH=3, three times as many."""

import os

from hypothesis import settings

THOROUGH = int(os.environ.get("KANSCI_THOROUGH", "1"))


def examples(count: int) -> settings:
    """So many, times KANSCI_THOROUGH."""
    return settings(max_examples=THOROUGH * count)
