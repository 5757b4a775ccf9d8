"""Files that are mutated at random, and what becomes of them: ``python -m tests.mutations SEED COUNT FOLDER``.

Models and checkpoints of solves are changed byte by byte or in their trees, with or without a digest that fits, and
then loaded, or solved on from. A report is printed as JSON; files that were neither refused nor led to a valid model
stay in the folder.
"""

import contextlib
import copy
import faulthandler
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

import kansci as ks
from kansci import checkpoint, sealed
from kansci.errors import CheckpointError
from kansci.sealed import Group
from tests.benchmarks.memory import peak

PATIENCE = 60  # seconds after which a file is said to hang
X = torch.linspace(0, 1, 20, dtype=torch.float64)[:, None]
STRANGE: list[Any] = [None, True, -1, 0, 3, 10**9, 2**63, 10**400, 0.5, -0.0, 1e308, math.nan, math.inf]
STRANGE += ["", "x", "lm", "../../etc/passwd", "__import__('os').system('true')", [], [[]], [1.5], {}, {"a": [None]}]


@dataclass(frozen=True)
class Base:
    """A file as it should be.

    Attributes:
        content: its bytes.
        tree: what they hold.
        model: what `load` reads.
        resume: solves on from it, where it is the checkpoint of a solve.
    """

    content: bytes
    tree: Group
    model: Any
    resume: Callable[[Path], object] | None = None

    @classmethod
    def read(cls, path: Path, resume: Callable[[Path], object] | None = None) -> "Base":
        """A file that was just written, which is removed."""
        base = cls(path.read_bytes(), sealed.read(path, checkpoint.FORMAT_VERSION)[0], ks.load(path), resume)
        path.unlink()
        return base


class Mutant(NamedTuple):
    """A file as it should not be, how it was made, and whether it has a digest that fits."""

    content: bytes
    change: str
    is_sealed: bool


# The files


def solver(method: str) -> Callable[[Path], ks.Solution]:
    """y' = y on [0, 1], y(0) = 1, by three steps of some method on two grids; the points move in the second one."""
    ode = ks.Residual(lambda jet, x: jet.gradient[:, 0, 0] - jet.value[:, 0], X, needs="gradient")
    start = ks.Residual(lambda jet, x: jet.value[:, 0] - 1, X[:1], weight=2.0)
    validation = ks.Residual(lambda jet, x: jet.value[:, 0] - x[:, 0].exp(), X)

    def go(path: Path) -> ks.Solution:
        return ks.solve(
            ks.MultKAN([1, 2, 1], grid=2, domain=(0, 1), seed=3),
            [ode, start],
            method=method,
            grids=[2, 4],
            steps=3,
            resample=lambda model: [ks.Residual(ode.function, 0.9 * X, needs="gradient"), start],
            validation=[validation, start],
            checkpoint=path,
            progress=False,
        )

    return go


def make_bases(path: Path) -> dict[str, Base]:
    """One file of each kind."""
    features = ks.auxiliary_features({"r": "sqrt(x**2 + y**2)"}, ["x", "y"])
    models = {
        "network": ks.MultKAN([2, [2, 1], 1], grid=3),
        "features": ks.MultKAN([3, 1], domain=(0.5, 1), features=features),
        "perceptron": ks.MLP([2, 3, 1]),
        "formula": ks.kanpile("x*sin(y)", ["x", "y"]),
        "several": {"u": ks.MultKAN([1, 1]), "v": ks.MLP([1, 1])},
    }
    bases = {}
    for name, model in models.items():
        ks.save(path, model)
        bases[name] = Base.read(path)
    for method in ("lm", "adam", "sgd", "ssbroyden", "lbfgs"):
        solver(method)(path)
        bases[method] = Base.read(path, solver(method))
    return bases


# Bytes


def flip(rng: random.Random, own: bytearray, other: bytes) -> bytes | bytearray:
    """A few bits are others."""
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        own[rng.randrange(len(own))] ^= 1 << rng.randrange(8)
    return own


def overwrite(rng: random.Random, own: bytearray, other: bytes) -> bytes | bytearray:
    """A few numbers are extreme or random."""
    for _ in range(rng.choice([1, 1, 2, 8])):
        size = rng.choice([1, 2, 4, 8])
        place = rng.randrange(len(own) // size) * size
        value = rng.choice([bytes(size), b"\xff" * size, rng.randbytes(size), b"\x01".ljust(size, b"\0")])
        own[place : place + size] = value
    return own


def truncate(rng: random.Random, own: bytearray, other: bytes) -> bytes | bytearray:
    """The end is missing."""
    return own[: rng.randrange(len(own))]


def splice(rng: random.Random, own: bytearray, other: bytes) -> bytes | bytearray:
    """The beginning of one file and the end of another."""
    place = rng.randrange(min(len(own), len(other)))
    return own[:place] + other[place:]


def transplant(rng: random.Random, own: bytearray, other: bytes) -> bytes | bytearray:
    """A piece of another file, at its own place or elsewhere."""
    size = rng.choice([8, 64, 512, 4096])
    source = rng.randrange(len(other))
    place = rng.choice([source, rng.randrange(len(own))])
    return own[:place] + other[source : source + size] + own[place + size :]


def shift(rng: random.Random, own: bytearray, other: bytes) -> bytes | bytearray:
    """A piece is left out or comes twice."""
    place, size = rng.randrange(len(own)), rng.choice([1, 8, 512])
    return own[:place] + own[place - rng.choice([-size, size]) :]


BYTES = (flip, overwrite, truncate, splice, transplant, shift)


# Trees


def places_in(value: Any) -> list[tuple[Any, Any]]:
    """All containers within a value, each with a key of its own."""
    found = []
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found += [(value, key), *places_in(value[key])]
    return found


def groups_of(group: Group) -> list[Group]:
    """A group and all below."""
    return [group, *(below for each in group.groups.values() for below in groups_of(each))]


def reword(rng: random.Random, root: Group, other: Group) -> None:
    """A value of a description is strange, missing, or from elsewhere in the description."""
    about = rng.choice([group.about for group in groups_of(root) if group.about])
    places = places_in(about)
    container, key = rng.choice(places)
    if rng.random() < 0.2:
        del container[key]
    else:
        source, name = rng.choice(places)
        near = container[key] + rng.choice([-1, 1, 1000]) if type(container[key]) in (int, float) else []
        container[key] = copy.deepcopy(rng.choice([rng.choice(STRANGE), near, source[name]]))


def reshape(rng: random.Random, root: Group, other: Group) -> None:
    """A tensor has another shape, other numbers, another dtype or another name, or is missing."""
    tensors = rng.choice([group.tensors for group in groups_of(root) if group.tensors])
    name = rng.choice(list(tensors))
    own = tensors.pop(name)
    new = rng.choice(
        [own.T if own.ndim == 2 else own[None], own.flatten(), own[..., :0], torch.cat([own.flatten()] * 2)]
    )
    extreme = rng.choice([math.nan, math.inf, -1e308, 1e-310, 0.0, 2.0**63])
    number = extreme if own.is_floating_point() else rng.choice([0, 1])
    filled = torch.full(own.shape, number, dtype=torch.float64).to(own.dtype)
    cast = own.to(rng.choice([torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool]))
    changed = rng.choice([new, filled, cast, None])
    if changed is not None:
        tensors[name] = changed
    elif rng.random() < 0.5:
        tensors["other"] = own


def regroup(rng: random.Random, root: Group, other: Group) -> None:
    """A group is missing, has another name, or is one of another file."""
    groups = rng.choice([group.groups for group in groups_of(root) if group.groups])
    name = rng.choice(list(groups))
    own = groups.pop(name)
    new = rng.choice([None, own, copy.deepcopy(rng.choice(groups_of(other))), Group()])
    if new is not None:
        groups[rng.choice([name, name, "other"])] = new


TREES = (reword, reshape, regroup)


def mutate_tree(rng: random.Random, own: Group, other: Group) -> Mutant:
    """A file of an adversary who knows the format."""
    root = copy.deepcopy(own)
    change = rng.choice(TREES)
    for _ in range(rng.choice([1, 1, 2])):
        with contextlib.suppress(IndexError):  # nothing of this kind is left
            change(rng, root, other)
    return Mutant(sealed._seal(sealed._encode(root), checkpoint.FORMAT_VERSION), change.__name__, True)


def mutate_bytes(rng: random.Random, own: bytes, other: bytes) -> Mutant:
    """A file of chance, or of an adversary who knows that there is a digest."""
    change = rng.choice(BYTES)
    content = bytes(change(rng, bytearray(own), other))
    if rng.random() < 0.5:
        return Mutant(content, change.__name__, False)
    version = rng.choice([checkpoint.FORMAT_VERSION] * 20 + [0, 2, 2**31])
    return Mutant(sealed._seal(content, version), f"{change.__name__} and seal", True)


def mutate(rng: random.Random, own: Base, other: Base) -> Mutant:
    """Something else than either."""
    while True:
        if rng.random() < 0.4:
            mutant = mutate_tree(rng, own.tree, other.tree)
        else:
            mutant = mutate_bytes(rng, own.content, other.content)
        if mutant.content not in (own.content, other.content):
            return mutant


# What becomes of them


def judge_load(path: Path, expected: Any) -> str:
    """Load a model and evaluate it."""
    try:
        found = ks.load(path)
    except CheckpointError:
        return "refused"
    for model in found.values() if isinstance(found, dict) else [found]:
        model(torch.full((3, model.n_inputs), 0.75, dtype=next(iter(model.state_dict().values())).dtype))
    return "equal" if is_same(found, expected) else "other"


def judge_resume(path: Path, resume: Callable[[Path], object]) -> str:
    """Solve on."""
    try:
        found = resume(path)
    except CheckpointError:
        return "refused"
    return "solved" if isinstance(found, ks.Solution) else f"got {found!r}"


def is_same(found: Any, expected: Any) -> bool:
    """Whether two models, or dicts of them, have the same tensors to the bit."""
    if isinstance(found, dict) or isinstance(expected, dict):
        both = isinstance(found, dict) and isinstance(expected, dict) and list(found) == list(expected)
        return both and all(is_same(found[name], expected[name]) for name in found)
    return repr(found) == repr(expected) and bits(found) == bits(expected)


def bits(model: nn.Module) -> dict[str, Any]:
    """All tensors of a model."""
    return {name: (own.dtype, own.shape, own.numpy().tobytes()) for name, own in model.state_dict().items()}


class Watch:
    """Notes what a reader of files has no reason to do: run programs, make code, import, open files elsewhere."""

    EVENTS = ("exec", "compile", "import", "open", "pickle.find_class", "ctypes.dlopen", "socket.connect")
    FAMILIES = ("os.", "subprocess.", "shutil.")
    HARMLESS = ("os.listdir", "os.scandir", "os.rename", "os.remove")  # a checkpoint takes the place of the one before

    def __init__(self, folder: Path) -> None:
        """Files in the folder may be opened; others only be read, as those are that tell the version of a package."""
        self.folder, self.on, self.seen = str(folder), False, []
        sys.addaudithook(self.note)

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        """One event."""
        if not self.on or event in self.HARMLESS:
            return
        is_known = event == "open" and (str(arguments[0]).startswith(self.folder) or "r" in str(arguments[1]))
        if (event in self.EVENTS or event.startswith(self.FAMILIES)) and not is_known:
            self.seen.append(f"{event} {arguments!s:.200}")


def judge(path: Path, base: Base, mutant: Mutant, is_solve: bool) -> str:
    """What becomes of a file: whatever else than expected is named."""
    path.write_bytes(mutant.content)
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    try:
        verdict = judge_resume(path, base.resume) if is_solve and base.resume else judge_load(path, base.model)
    except Exception as error:  # noqa: BLE001
        return f"FAILED with {type(error).__name__}: {error!s:.300}"
    finally:
        faulthandler.cancel_dump_traceback_later()
    return verdict if verdict == "refused" or mutant.is_sealed else f"FAILED: {verdict} although damaged"


def main(seed: int, count: int, folder: Path) -> dict[str, Any]:
    """Mutate so many files."""
    rng, path = random.Random(seed), folder / "file.h5"
    bases = make_bases(path)
    for base in bases.values():
        path.write_bytes(base.content)
        assert judge_load(path, base.model) == "equal"
        assert base.resume is None or judge_resume(path, base.resume) == "solved"
    watch, outcomes, failures, slowest = Watch(folder), Counter(), [], 0.0
    for number in range(count):
        name, other = rng.choice(list(bases)), rng.choice(list(bases))
        mutant = mutate(rng, bases[name], bases[other])
        is_solve = bases[name].resume is not None and rng.random() < 0.5
        began = time.perf_counter()
        watch.on = True
        verdict = judge(path, bases[name], mutant, is_solve)
        watch.on = False
        slowest = max(slowest, time.perf_counter() - began)
        outcomes[f"{'solve' if is_solve else 'load'}, {mutant.change}: {verdict:.7}"] += 1
        if verdict.startswith("FAILED"):
            failures.append(f"{number}: {name}, {mutant.change}, {'solve' if is_solve else 'load'}: {verdict}")
            (folder / f"failure-{seed}-{number}.h5").write_bytes(mutant.content)
    report = {"outcomes": dict(sorted(outcomes.items())), "failures": failures, "executed": watch.seen}
    return {**report, "slowest": slowest, "peak": peak()}


if __name__ == "__main__":
    faulthandler.enable()
    torch.set_num_threads(1)
    sys.stdout.write(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])), indent=1))
