"""Several processes that solve one problem together, each with its own points, by torch.distributed.

Sums over points become sums over all ranks, and every number on which it depends how a solve goes on is that of rank
0: all ranks take the same way, on different machines too, and end with the same bits. Without a process group of
several ranks, and outside of a solve, every function here returns what it is given.

A solve has connections of its own, by gloo. A rank that fails closes them, and a rank that dies has them closed by its
system, so that whoever waits for it gets an error at once instead of waiting for ever. Before a rank leaves, all tell
each other what happened, over the connections of the default group. Those stay in step and can be used again, unless
the rank is dead. Only of a machine that vanishes without a word, e.g. from the net, nobody is told: then the timeout
of `torch.distributed.init_process_group` ends the wait.
"""

import gc
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from kansci.errors import ConfigError, RankError

SHORT, LONG = 64, 4096  # bytes of what rank 0 decides, and of what a rank has to say when it leaves
LAST_WORDS = 20.0  # seconds that a rank that has failed waits for others to hear why

_group: ContextVar[Any] = ContextVar("group", default=None)


def exist() -> bool:
    """Whether a process group of several ranks has been initialized."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def are_many() -> bool:
    """Whether several ranks are within a solve."""
    return _group.get() is not None


def number() -> int:
    """How many ranks there are."""
    return dist.get_world_size() if are_many() else 1


def rank() -> int:
    """Which of them this one is; 0 decides, writes and shows."""
    return dist.get_rank() if are_many() else 0


@contextmanager
def together() -> Iterator[None]:
    """All ranks enter the block, or the function that it decorates, and all leave it, or all with an error.

    Raises:
        RankError: on all other ranks, where one of them ends or raises something else.
        ConfigError: a process group without gloo for the CPU.
    """
    if are_many() or not exist():
        yield
        return
    if "cpu:gloo" not in dist.get_backend_config():
        raise ConfigError(
            f"expected a process group with gloo for the CPU, got {dist.get_backend_config()}; "
            'call init_process_group("cpu:gloo,cuda:nccl") or init_process_group("gloo")'
        )
    _tell("")  # all are here
    _group.set(dist.new_group(backend="gloo"))
    try:
        yield
        heard = _tell("")
    except BaseException as error:
        _close()
        is_lost = isinstance(error, RankError)
        heard = _tell_at_last("" if is_lost else f"{type(error).__name__}: {error}")
        if not is_lost or not any(heard):
            raise
    else:
        _close()
    if any(heard):
        raise RankError(_explain(heard))


def _close() -> None:
    """Close the connections of the solve; they are closed when nobody holds the group any more."""
    dist.destroy_process_group(_group.get())
    _group.set(None)
    gc.collect()


def _explain(heard: list[str]) -> str:
    """Which ranks failed, from what each has to say."""
    failed = "; ".join(f"rank {rank} failed with {words}" for rank, words in enumerate(heard) if words)
    return f"expected all {len(heard)} ranks to solve together, but {failed}"


def _tell(words: str, patience: timedelta | None = None) -> list[str]:
    """What each rank has to say, over the default group."""
    own = _encode(words[: LONG // 12], LONG)
    found = [torch.empty_like(own) for _ in range(dist.get_world_size())]

    def tell() -> None:
        work = dist.all_gather(found, own, async_op=True)
        if work is not None:
            work.wait(patience) if patience else work.wait()

    _communicate(tell)
    return [_decode(each) for each in found]


def _tell_at_last(words: str) -> list[str]:
    """The same after a failure, if all others are still there and come soon enough."""
    try:
        return _tell(words, timedelta(seconds=LAST_WORDS))
    except RankError:
        return []


def _communicate(operation: Callable[[], Any]) -> None:
    """Run an operation of torch.distributed."""
    try:
        operation()
    except BaseException as error:
        error.__traceback__ = None  # its frames hold the connections, and those shall be closed
        if isinstance(error, RuntimeError):
            raise RankError(
                f"expected all {dist.get_world_size()} ranks to solve together, but one ended or its connection was "
                f"lost ({str(error).partition('. ')[0]}); see what the others have printed"
            ) from error
        raise


def _encode(value: Any, size: int) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(value).encode().ljust(size)), dtype=torch.uint8)


def _decode(text: Tensor) -> Any:
    return json.loads(text.numpy().tobytes())


def total(tensor: Tensor) -> Tensor:
    """The sum over all ranks, in the place of the tensor."""
    if are_many():
        own = tensor.detach().cpu().contiguous()
        _communicate(lambda: dist.all_reduce(own, group=_group.get()))
        tensor.copy_(own)
    return tensor


def count(own: int) -> int:
    """The sum over all ranks of numbers of things."""
    return int(total(torch.tensor(own))) if are_many() else own


def hull(low: list[Tensor], high: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The lowest and the highest values over all ranks."""
    if not are_many() or not low:
        return low, high
    ends = [*low, *(-own for own in high)]
    flat = torch.cat(ends).cpu()
    _communicate(lambda: dist.all_reduce(flat, dist.ReduceOp.MIN, group=_group.get()))
    found = flat.to(ends[0].device).split([len(own) for own in ends])
    return list(found[: len(low)]), [-own for own in found[len(low) :]]


def gather(tensor: Tensor, dim: int = 0) -> Tensor:
    """The tensors of all ranks, one after the other along a dimension in which they may differ."""
    if not are_many():
        return tensor
    own = tensor.detach().cpu().movedim(dim, 0)
    sizes = [torch.zeros(1, dtype=torch.long) for _ in range(number())]
    _communicate(lambda: dist.all_gather(sizes, torch.tensor([len(own)]), group=_group.get()))
    padded = own.new_zeros(max(map(int, sizes)), *own.shape[1:])
    padded[: len(own)] = own
    found = [torch.empty_like(padded) for _ in sizes]
    if padded.numel():
        _communicate(lambda: dist.all_gather(found, padded, group=_group.get()))
    whole = torch.cat([each[: int(size)] for each, size in zip(found, sizes, strict=True)])
    return whole.movedim(0, dim).to(tensor.device)


def collect(value: Any) -> list[Any]:
    """What each rank has, of the kinds that JSON knows."""
    if not are_many():
        return [value]
    own = json.dumps(value)
    whole, sizes = gather(_encode(value, 0)), gather(torch.tensor([len(own)]))
    return [_decode(each) for each in whole.split(sizes.tolist())]


def collect_tensors(own: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """The named tensors that each rank has."""
    if not are_many():
        return [own]
    file = io.BytesIO()
    np.savez(file, **{name: tensor.cpu().numpy() for name, tensor in own.items()})  # pyright: ignore[reportArgumentType]
    content = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
    parts = gather(content).split(collect(len(content)))
    files = (np.load(io.BytesIO(part.numpy().tobytes()), allow_pickle=False) for part in parts)
    return [{name: torch.from_numpy(array) for name, array in each.items()} for each in files]


def place(own: int) -> tuple[int, int]:
    """How many things the ranks before this one have, and how many all."""
    numbers = collect(own)
    return sum(numbers[: rank()]), sum(numbers)


def agree(value: Any) -> Any:
    """What rank 0 has: a tensor, a number, a short text or None."""
    if not are_many():
        return value
    is_tensor = isinstance(value, Tensor)
    own = value.detach().to("cpu", copy=True).contiguous() if is_tensor else _encode(value, SHORT)
    _communicate(lambda: dist.broadcast(own, 0, group=_group.get()))
    return own.to(value.device) if is_tensor else _decode(own)


@torch.no_grad()
def align(module: nn.Module) -> None:
    """Give a module the tensors of rank 0's."""
    tensors = list(module.state_dict().values()) if are_many() else []
    if tensors:
        whole = agree(torch.cat([own.flatten().to(torch.float64) for own in tensors]))
        for own, piece in zip(tensors, whole.split([own.numel() for own in tensors]), strict=True):
            own.copy_(piece.view(own.shape))


def _describe(thing: Any) -> str:
    """A text that is another one for another thing; of modules their tensors count."""
    if isinstance(thing, Mapping):
        return ", ".join(f"{name!r}: {_describe(own)}" for name, own in thing.items())
    if not isinstance(thing, nn.Module):
        return repr(thing)
    digest = hashlib.sha256()
    for tensor in thing.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return f"{thing!r} {digest.hexdigest()[:8]}"


def check_same(**things: Any) -> None:
    """Refuse, on every rank, things that are not the same on all of them.

    Raises:
        ConfigError: another value somewhere than on rank 0.
    """
    if not are_many():
        return
    first, *others = collect({name: _describe(own) for name, own in things.items()})
    for rank, other in enumerate(others, 1):
        for name, value in first.items():
            if other[name] != value:
                raise ConfigError(
                    f"expected the same {name} on all ranks, got {value} on rank 0 and {other[name]} on rank {rank}; "
                    "every rank makes the same call with the same model, and with points of its own only"
                )
