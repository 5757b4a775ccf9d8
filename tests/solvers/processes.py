"""Several processes with a process group of torch.distributed, for tests."""

import multiprocessing
import queue
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

LIMIT = 100.0  # seconds


def run(function: Callable[..., Any], folder: Path, *arguments: Any, ranks: int = 2, lost: int = 0) -> list[Any]:
    """What `function(*arguments)` returns on each rank, None on those that are meant to die."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    work = (ranks, str(folder / f"store{time.monotonic_ns()}"), answers, function, arguments)
    processes = [context.Process(target=_work, args=(rank, *work), daemon=True) for rank in range(ranks)]
    for process in processes:
        process.start()
    found: list[Any] = [None] * ranks
    try:
        for _ in range(ranks - lost):
            rank, answer, trace = answers.get(timeout=LIMIT)
            found[rank] = answer
            if trace:
                raise RuntimeError(f"rank {rank}: {trace}")
    except queue.Empty:
        raise TimeoutError(f"expected {ranks - lost} answers within {LIMIT} s, got {found}") from None
    finally:
        for process in processes:
            process.kill()
    return found


def _work(rank: int, ranks: int, store: str, answers: Any, function: Callable[..., Any], arguments: tuple) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=ranks, timeout=timedelta(seconds=LIMIT)
    )
    try:
        answers.put((rank, function(*arguments), ""))
    except BaseException:
        answers.put((rank, None, traceback.format_exc()))
        raise
    time.sleep(LIMIT)  # the connections stay open until all have answered
