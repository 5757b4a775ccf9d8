"""The kernels of `kernels.c`, compiled on first use by the C compiler of the machine.

The result is kept in the user's cache, under a name that depends on the source, the compiler and the processor. Where
there is no compiler, or KANSCI_KERNELS=off, there are no kernels, and networks do the same by tensor operations.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
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
        dtype: of all tensors that they take.
        tile: points that are handled together.
    """

    def __init__(self, path: Path, dtype: torch.dtype) -> None:
        """Load a compiled library."""
        self._library = ctypes.CDLL(str(path))
        self.dtype = dtype
        self.tile = TILE_BYTES // dtype.itemsize

    def run(self, name: str, edges: Edges, *arguments: Tensor | int | None) -> None:
        """Call a kernel.

        Raises:
            ValueError: a tensor is not contiguous, or of another dtype.
            MemoryError: there is no room for its workspace.
        """
        given = [own if own is None else ctypes.c_int64(self._number(own)) for own in arguments]
        if getattr(self._library, name)(ctypes.byref(edges), torch.get_num_threads(), *given):
            raise MemoryError(f"no memory for the workspace of {name}")

    def _number(self, argument: Tensor | int) -> int:
        if isinstance(argument, int):
            return argument
        if argument.dtype != self.dtype or not argument.is_contiguous():
            raise ValueError(f"expected contiguous {self.dtype}, got {argument.dtype} with strides {argument.stride()}")
        return argument.data_ptr()


@cache
def kernels(dtype: torch.dtype) -> Kernels | None:
    """The kernels for a dtype, or None where they cannot be had."""
    if dtype not in REALS or os.environ.get("KANSCI_KERNELS") == "off":
        return None
    try:
        compiler = _compiler()
        if compiler is None:
            logger.info("networks are slower without kernels, for which there is no C compiler")
            return None
        return _load(compiler, dtype)
    except OSError as error:
        logger.warning("networks are slower without kernels, which could not be built: %s", error)
        return None


def _compiler() -> list[str] | None:
    """$CC with its arguments, or the first of the usual names that there is."""
    if sys.platform == "darwin" and subprocess.run(["xcode-select", "-p"], capture_output=True, check=False).returncode:
        return None  # the command named cc would open a window
    for command in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        program, *arguments = shlex.split(command) or [""]
        path = shutil.which(program)
        if path is not None:
            return [path, *arguments]
    return None


def _load(compiler: list[str], dtype: torch.dtype) -> Kernels:
    """From the cache, or else compiled anew, in a folder of its own first: several processes may be at it."""
    name = f"kernels-{_fingerprint(compiler, dtype)}.so"
    cache = _cache()
    if cache is not None and (cache / name).exists():
        with suppress(OSError):
            return Kernels(cache / name, dtype)
    with _new_folder(cache) as folder:
        fresh = Path(folder) / name
        _compile(compiler, dtype, fresh)
        found = Kernels(fresh, dtype)
        if cache is not None:
            with suppress(OSError):
                fresh.replace(cache / name)
        return found


def _new_folder(parent: Path | None) -> tempfile.TemporaryDirectory[str]:
    if parent is not None:
        with suppress(OSError):
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True)
    return tempfile.TemporaryDirectory(ignore_cleanup_errors=True)


def _compile(compiler: list[str], dtype: torch.dtype, path: Path) -> None:
    messages = []
    for options in OPTIONS:
        command = [*compiler, *FLAGS, *options, f"-DREAL={REALS[dtype]}", str(_source()), "-o", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode == 0:
            return
        messages.append(done.stderr.strip())
    raise OSError(messages[-1])


def _source() -> Path:
    return Path(str(files("kansci.nn") / "kernels.c"))


def _fingerprint(compiler: list[str], dtype: torch.dtype) -> str:
    """What the compiled library depends on; home directories may be shared by machines."""
    processor = Path("/proc/cpuinfo")
    lines = processor.read_text(errors="replace").splitlines() if processor.exists() else []
    features = [line for line in lines if line.lower().startswith(("flags", "features"))][:1]
    changed = Path(compiler[0]).resolve().stat().st_mtime_ns
    machine = [platform.machine(), platform.processor(), *features]
    parts = [_source().read_text(), *compiler, str(changed), REALS[dtype], *FLAGS, str(OPTIONS), *machine]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _cache() -> Path | None:
    """A folder of the user, who need not have one."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kansci"
    except RuntimeError:
        return None
