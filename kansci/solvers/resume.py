"""Checkpoints of a solve: everything that its next step depends on, in one sealed file.

A solve that goes on from its checkpoint ends with the same bits as one that was never interrupted. The file holds the
best model so far, which `kansci.load` reads, and the state of the solve. Data are not in it, but for points that were
chosen on the way: who resumes hands in the same problem again, which is checked by a fingerprint.

References:
    Chandy, Lamport, ACM Transactions on Computer Systems 3 (1985) 63 (what a consistent state is).
"""

import dataclasses
import hashlib
import json
import operator
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kansci import checkpoint, sealed
from kansci.errors import CheckpointError, ConfigError
from kansci.sealed import Group
from kansci.solvers import ranks
from kansci.solvers.residual import Residual
from kansci.solvers.solution import History, Step
from kansci.solvers.system import Evaluation, System

FIELDS = ("points", "targets", "weight", "noise")
COUNTS = ("stage", "done", "idle")
NUMBERS = ("score", "losses", "status", *COUNTS)


@dataclass(frozen=True)
class Checkpoint:
    """Where a solve is kept as it goes, and how often.

    Attributes:
        path: the file; where it exists, the solve goes on from it.
        steps: write after so many steps, or None to go by time.
        seconds: write when so many seconds have passed since the last time.

    Raises:
        ConfigError: no step or no positive time.

    Example:
        >>> Checkpoint("run.h5", steps=10)
        Checkpoint(path='run.h5', steps=10, seconds=10.0)
    """

    path: str | os.PathLike[str]
    steps: int | None = None
    seconds: float = 10.0

    def __post_init__(self) -> None:
        """Refuse intervals that make no sense."""
        if (self.steps is not None and self.steps < 1) or not self.seconds >= 0:
            raise ConfigError(f"expected steps of at least 1 and seconds of at least 0, got {self}")

    def is_due(self, done: int, seconds: float) -> bool:
        """Whether to write after so many steps, and so many seconds after the last time."""
        return done % self.steps == 0 if self.steps is not None else seconds >= self.seconds


def write(path: str | os.PathLike[str], fingerprint: str, model: Any, state: Group) -> None:
    """Put the state of a solve in the place of the one before."""
    about = {"kansci": version("kansci"), "torch": torch.__version__, "problem": fingerprint}
    sealed.write(path, Group(about, groups={"model": pack_model(model), "solve": state}), checkpoint.FORMAT_VERSION)


def read(path: str | os.PathLike[str], fingerprint: str) -> Group | None:
    """The state of a solve, or None where there is no file.

    Raises:
        CheckpointError: a damaged file, one that `kansci.save` wrote, or one of another problem.
    """
    if not ranks.agree(Path(path).exists()):
        return None
    for part in sealed.leftovers(path):
        part.unlink(missing_ok=True)
    root, _ = sealed.read(path, checkpoint.FORMAT_VERSION)
    if "solve" not in root.groups:
        raise CheckpointError(f"expected {path} to be the checkpoint of a solve, got a model; choose another path")
    if root.about.get("problem") != fingerprint:
        raise CheckpointError(
            f"expected {path} to be the checkpoint of this problem, got that of another one: model, points, method or "
            "seed differ; choose another path or remove the file"
        )
    return root.groups["solve"]


def refusing(path: str | os.PathLike[str]) -> AbstractContextManager[None]:
    """Refuse a state that does not fit the problem, whatever its fingerprint says."""
    problem = f"expected {path} to hold the state of this solve, got one from which it cannot go on"
    return sealed.refusing(problem, "restore the residual functions as they were, or choose another path")


def pack_model(model: nn.Module | dict[str, nn.Module]) -> Group:
    """A model of any class; `kansci.load` reads those that it knows."""
    if isinstance(model, dict):
        return Group({"kind": "models", "names": list(model)}, groups={n: pack_model(m) for n, m in model.items()})
    try:
        return checkpoint.pack(model)
    except CheckpointError:
        return Group({"kind": type(model).__name__}, dict(model.state_dict()))


def unpack_model(group: Group, like: nn.Module) -> nn.Module:
    """The inverse, for a model of the same class."""
    if group.about["kind"] in checkpoint.KINDS:
        return checkpoint.unpack(group).requires_grad_(False)
    like.load_state_dict(group.tensors)
    return like


def pack_evaluation(system: System, at: Evaluation) -> Group:
    """What a point is computed from."""
    system.place(at)
    models = {str(number): pack_model(model) for number, model in enumerate(at.models.values())}
    return Group(tensors={"vector": at.vector}, groups=models)


def unpack_evaluation(system: System, group: Group) -> Evaluation:
    """Evaluate the same point again.

    Raises:
        CheckpointError: a vector of other numbers.
    """
    vector = group.tensors["vector"]
    if vector.dtype != torch.float64:
        raise CheckpointError(f"expected a vector of float64, got {vector.dtype}")
    for number, unknowns in enumerate(system.models.values()):
        unknowns.model = unpack_model(group.groups[str(number)], unknowns.model)
    return system.evaluate(vector)


def pack_terms(terms: Sequence[Residual]) -> dict[str, Group]:
    """Points, targets, weights and noise of the terms, a group for each rank."""
    own = {f"{number}.{name}": tensor for number, term in enumerate(terms) for name, tensor in _tensors(term)}
    return {f"terms{rank}": Group(tensors=each) for rank, each in enumerate(ranks.collect_tensors(own))}


def unpack_terms(groups: dict[str, Group], terms: Sequence[Residual]) -> tuple[Residual, ...]:
    """The same terms with the points that were kept for this rank."""
    tensors = groups[f"terms{ranks.rank()}"].tensors
    return tuple(_with_tensors(term, _under(f"{number}.", tensors)) for number, term in enumerate(terms))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): own for name, own in tensors.items() if name.startswith(prefix)}


def _tensors(term: Residual) -> Iterator[tuple[str, Tensor]]:
    for name in FIELDS:
        value = getattr(term, name)
        if isinstance(value, tuple):
            yield from ((f"{name}.{number}", own) for number, own in enumerate(value))
        elif value is not None:
            yield name, torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.float64)


def _with_tensors(term: Residual, tensors: dict[str, Tensor]) -> Residual:
    def value(name: str) -> Any:
        if name in tensors:
            return tensors[name] if tensors[name].ndim else tensors[name].item()
        several = _under(f"{name}.", tensors)
        return tuple(tensors[f"{name}.{number}"] for number in range(len(several))) if several else None

    return dataclasses.replace(term, **{name: value(name) for name in FIELDS})


def unpack_numbers(about: dict[str, Any], stages: int) -> dict[str, Any]:
    """The numbers of where a solve stands.

    Raises:
        CheckpointError: numbers that no solve of so many stages has.
    """
    counts = {name: operator.index(about[name]) for name in COUNTS}
    losses, status = [float(loss) for loss in about["losses"]], about["status"]
    if min(counts.values()) < 0 or counts["stage"] >= stages or not losses or not isinstance(status, str | None):
        raise CheckpointError(f"expected counts, losses and a status of {stages} stages, got {about}")
    return {**counts, "losses": losses, "status": status, "score": float(about["score"])}


def pack_history(steps: Sequence[Step]) -> Group:
    """The columns of the history."""
    history = History.of(steps)
    columns = {name: getattr(history, name) for name in ("stage", "seconds", "loss", "damping", "validation")}
    tensors = {name: torch.from_numpy(own) for name, own in columns.items() if own is not None and len(own)}
    terms = torch.tensor([list(step.terms.values()) for step in steps], dtype=torch.float64)
    return Group({"terms": list(history.terms)}, tensors | ({"terms": terms} if len(steps) else {}))


def unpack_history(group: Group, names: Sequence[str]) -> list[Step]:
    """The inverse of `pack_history` for terms of these names.

    Raises:
        CheckpointError: columns of other shapes or terms.
    """
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in group.tensors.items()}
    if any(shape != ((len(names),) if name == "terms" else ()) for name, shape in shapes.items()):
        raise CheckpointError(f"expected columns of numbers, and of the terms {names}, got {shapes}")
    columns = {name: tensor.tolist() for name, tensor in group.tensors.items()}
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return [
        Step(**{**row, "step": number, "terms": dict(zip(names, row["terms"], strict=True))})
        for number, row in enumerate(rows, 1)
    ]


def fingerprint(model: dict[str, nn.Module], terms: Sequence[Residual], settings: dict[str, Any]) -> str:
    """A SHA-256 of the tensors of models and terms, and of what JSON can hold of the rest."""
    named = [{"name": term.name, "needs": term.needs} for term in terms]
    digest = hashlib.sha256(json.dumps([settings, named], sort_keys=True, default=str).encode())
    for name, each in model.items():
        digest.update(f"{name} {each!r}".encode())
        _digest(digest, each.state_dict().items())
    for term in terms:
        _digest(digest, _tensors(term))
    return digest.hexdigest()


def _digest(digest: Any, tensors: Any) -> None:
    for name, tensor in tensors:
        array = np.ascontiguousarray(tensor.detach().cpu().numpy())
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.reshape(-1).view("u1").data)
