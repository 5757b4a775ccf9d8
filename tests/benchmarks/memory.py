"""Peak memory of a process that takes one step of a fit; prints megabytes as JSON."""

import json
import re
import resource
import sys
from pathlib import Path

import torch

import kansci as ks
from tests.benchmarks.contenders import random_points


def main(threads: int) -> None:
    """Fit a wide network for one step."""
    torch.set_num_threads(threads)
    model = ks.MultKAN([100, 100, 1], grid=5)
    x = random_points(10_000, 100, torch.float64)
    y = x.square().mean(1, keepdim=True)
    start = peak()
    ks.fit(model, (x, y), steps=1, progress=False)
    print(json.dumps({"start": start, "peak": peak()}))


def peak() -> float:
    """Largest resident size so far [MB]; Linux lets rusage begin with that of the parent."""
    status = Path("/proc/self/status")
    if status.exists():
        (kilobytes,) = re.findall(r"VmHWM:\s*(\d+) kB", status.read_text())
        return int(kilobytes) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main(int(sys.argv[1]))
