"""The kernels of `kernels.c`, compiled on first use by the C compiler of the machine.

The result is kept in the user's cache, under a name that depends on the source, the compiler and the processor. Where
there is no compiler, or KANSCI_KERNELS=off, there are no kernels, and networks do the same by tensor operations.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

REALS = {torch.float32: "float", torch.float64: "double"}
FLAGS = ("-std=c11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
# Tried in turn: not every compiler knows its processor or has OpenMP.
OPTIONS = (("-march=native", "-fopenmp"), ("-march=native",), ())
TILE_BYTES = 256

_COUNTS = (
    *("sources", "targets", "points", "channels", "second", "pairs"),
    *("grid", "degree", "functions", "splines"),
)
_ARRAYS = ("pair", "knots", "period", "breaks", "pieces", "base", "jets")


class Edges(ctypes.Structure):
    """The struct of that name in `kernels.c`."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in _COUNTS),
        *((name, ctypes.c_void_p) for name in _ARRAYS),
        ("slopes", ctypes.c_double * 2),
    ]


class Kernels:
    """The kernels for one dtype.

    Attributes:
        tile: points that are handled together.
    """

    def __init__(self, path: Path, dtype: torch.dtype) -> None:
        """Load a compiled library."""
        self._library = ctypes.CDLL(str(path))
        self.tile = TILE_BYTES // dtype.itemsize

    def run(self, name: str, edges: Edges, *arguments: Tensor | int | None) -> None:
        """Call a kernel; tensors must be contiguous.

        Raises:
            MemoryError: there is no room for its workspace.
        """
        given = [own.data_ptr() if isinstance(own, Tensor) else own for own in arguments]
        counts_or_addresses = [own if own is None else ctypes.c_int64(own) for own in given]
        if getattr(self._library, name)(ctypes.byref(edges), torch.get_num_threads(), *counts_or_addresses):
            raise MemoryError(f"no memory for the workspace of {name}")


@cache
def kernels(dtype: torch.dtype) -> Kernels | None:
    """The kernels for a dtype, or None where they cannot be had."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or dtype not in REALS or os.environ.get("KANSCI_KERNELS") == "off":
        return None
    path = _cache() / f"kernels-{_fingerprint(compiler, dtype)}.so"
    if not path.exists() and not _compile(compiler, dtype, path):
        return None
    return Kernels(path, dtype)


def _source() -> Path:
    return Path(str(files("kansci.nn") / "kernels.c"))


def _compile(compiler: str, dtype: torch.dtype, path: Path) -> bool:
    """Compile into a file of another name first: several processes may be at it."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        fresh = Path(folder) / "kernels.so"
        messages = []
        for options in OPTIONS:
            command = [compiler, *FLAGS, *options, f"-DREAL={REALS[dtype]}", str(_source()), "-o", str(fresh)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                fresh.replace(path)
                return True
            messages.append(done.stderr.strip())
    logger.warning("networks will be slower, as their kernels cannot be compiled: %s", messages[-1])
    return False


def _fingerprint(compiler: str, dtype: torch.dtype) -> str:
    """What the compiled library depends on; home directories may be shared by machines."""
    processor = Path("/proc/cpuinfo")
    known = [line for line in processor.read_text().splitlines() if "flags" in line][:1] if processor.exists() else []
    parts = [_source().read_text(), compiler, REALS[dtype], *FLAGS, platform.machine(), platform.processor(), *known]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _cache() -> Path:
    """A folder of the user, or of this process alone."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kansci"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):
        pass
    return Path(tempfile.mkdtemp(prefix="kansci-"))
