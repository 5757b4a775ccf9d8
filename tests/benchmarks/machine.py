"""Where and with what something was measured."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("kansci", "torch", "numpy", "scipy", "inkan", "pykan", "deepxde")


def describe_versions() -> dict[str, str]:
    """Of Python and the packages."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def describe_machine() -> dict[str, Any]:
    return {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform()}


def processor() -> str:
    """The processor's name, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    names = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((row.partition(": ")[2] for row in names if row.startswith("model name")), platform.machine())
