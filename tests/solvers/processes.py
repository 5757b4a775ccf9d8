"""Several processes with a process group of torch.distributed, for tests."""

import multiprocessing
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

LIMIT = 100.0  # seconds


def run(function: Callable[..., Any], folder: Path, *arguments: Any, ranks: int = 2, lost: int | None = None) -> list:
    """What `function(*arguments)` returns on each rank, None on the one that is meant to die."""
    context = multiprocessing.get_context("spawn")
    store = str(folder / f"store{time.monotonic_ns()}")
    processes, pipes = [], []
    for rank in range(ranks):
        pipe, end = context.Pipe(duplex=False)
        pipes.append(pipe)
        processes.append(context.Process(target=_work, args=(rank, ranks, store, end, function, arguments)))
        processes[-1].start()
        end.close()
    try:
        return [None if rank == lost else _receive(rank, pipe) for rank, pipe in enumerate(pipes)]
    finally:
        for process in processes:
            process.kill()
            process.join()


def _receive(rank: int, pipe: Any) -> Any:
    if not pipe.poll(LIMIT):
        raise TimeoutError(f"expected an answer of rank {rank} within {LIMIT} s")
    answer, trace = pipe.recv()
    if trace:
        raise RuntimeError(f"rank {rank}: {trace}")
    return answer


def _work(rank: int, ranks: int, store: str, pipe: Any, function: Callable[..., Any], arguments: tuple) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=ranks, timeout=timedelta(seconds=LIMIT)
    )
    try:
        pipe.send((function(*arguments), ""))
    except BaseException:  # pytest's failures too
        pipe.send((None, traceback.format_exc()))
        raise
    time.sleep(LIMIT)  # the connections stay open until all have answered
