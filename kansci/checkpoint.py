"""Models in files: HDF5, whole or refused, exact to the bit, read on any machine.

The group `model` of a file holds every tensor of the model and, as JSON, its configuration and the names of
the parameters that are trained. Nothing in a file is ever executed. What else is kept, such as the state of a
solve, has a group of its own.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
from torch import nn

from kansci import sealed
from kansci.config import ModelConfig
from kansci.errors import CheckpointError
from kansci.nn.arguments import check_device
from kansci.nn.features import AuxiliaryFeatures
from kansci.nn.lan import LAN, Grid, LANConfig
from kansci.nn.mlp import MLP, MLPConfig
from kansci.nn.multkan import MultKAN
from kansci.sealed import Group

FORMAT_VERSION = 1

# For each older format version, what brings the tree of a file to the version after it.
MIGRATIONS: dict[int, Callable[[Group], Group]] = {}


class Kind(NamedTuple):
    """A class of models, and how one is taken apart and built again.

    Attributes:
        type: the class itself; its subclasses are not of this kind.
        config: what of a model JSON can hold.
        parts: the models that a model contains, by the names of its attributes.
        build: a model from its config and its parts, with tensors to be filled in.
    """

    type: type[nn.Module]
    config: Callable[[Any], dict[str, Any]]
    parts: Callable[[Any], dict[str, Any]]
    build: Callable[[dict[str, Any], dict[str, Any]], nn.Module]


KINDS = {
    "MultKAN": Kind(
        MultKAN,
        config=lambda model: json.loads(model.config.to_json()),
        parts=lambda model: {} if model.features is None else {"features": model.features},
        build=lambda config, parts: MultKAN.from_config(ModelConfig.from_json(json.dumps(config)), **parts),
    ),
    "AuxiliaryFeatures": Kind(
        AuxiliaryFeatures,
        config=lambda features: {"formulas": features.formulas, "names": features.names},
        parts=lambda features: {"network": features.network},
        build=lambda config, parts: AuxiliaryFeatures(**config, **parts),
    ),
    "LAN": Kind(
        LAN,
        config=lambda model: dataclasses.asdict(model.config),
        parts=lambda model: {},
        build=lambda config, parts: LAN.from_config(
            LANConfig(tuple(config["width"]), config["activation"], tuple(Grid(*grid) for grid in config["grids"]))
        ),
    ),
    "MLP": Kind(
        MLP,
        config=lambda model: dataclasses.asdict(model.config),
        parts=lambda model: {},
        build=lambda config, parts: MLP.from_config(MLPConfig(tuple(config["width"]), config["activation"])),
    ),
}


def save(path: str | os.PathLike[str], model: nn.Module | Mapping[str, nn.Module], *, note: str = "") -> None:
    """Write a model to a file that `load` reads back exact to the bit.

    The file appears in one step: whoever reads the path finds the former file or the new one, and after an
    error the former one is as it was. Neither data nor history nor paths are in it.

    Args:
        path: the file, by custom `.h5`; one that exists is replaced.
        model: a MultKAN, with its features if it has some, a LAN, an MLP, AuxiliaryFeatures, or a dict of them.
        note: any text, to be kept with it.

    Raises:
        CheckpointError: another kind of model, or a path that cannot be written.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> model = MultKAN([2, 5, 1])
        >>> with TemporaryDirectory() as folder:
        ...     save(Path(folder) / "model.h5", model)
        ...     load(Path(folder) / "model.h5")
        MultKAN([2, 5, 1], grid=5, k=3, 135 parameters, torch.float64)
    """
    about = {"kansci": version("kansci"), "torch": torch.__version__, "note": note}
    sealed.write(path, Group(about, groups={"model": pack(model)}), FORMAT_VERSION)


def load(path: str | os.PathLike[str], *, device: torch.device | str | None = None) -> Any:
    """Read what `save` wrote, on whatever device it was.

    Args:
        path: the file.
        device: where the tensors shall live, by default the CPU.

    Returns:
        The model, or the dict of models.

    Raises:
        CheckpointError: the file is missing, damaged, not one of kansci, or written by a newer one.
        DtypeError: the device has no float64.
    """
    place = check_device(device, torch.float64)
    root, found = sealed.read(path, FORMAT_VERSION)
    problem = f"expected {path} to hold a model, got what cannot be built"
    with sealed.refusing(problem, "update kansci or save the model anew"):
        for old in range(found, FORMAT_VERSION):
            root = MIGRATIONS[old](root)
        return unpack(root.groups["model"], place)


def pack(model: nn.Module | Mapping[str, nn.Module]) -> Group:
    """A model, or a dict of them, as a tree.

    Raises:
        CheckpointError: another kind of model.
    """
    if isinstance(model, Mapping):
        groups = {name: pack(each) for name, each in model.items()}
        return Group({"kind": "models", "names": list(groups)}, groups=groups)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    return Group({**_describe(model), "trained": trained}, model.state_dict())


def unpack(group: Group, device: torch.device | None = None) -> Any:
    """The inverse of `pack`."""
    about = group.about
    if about["kind"] == "models":
        return {name: unpack(group.groups[name], device) for name in about["names"]}
    with torch.device("meta"):  # nothing is allocated until the shapes are known to be those of the file
        model = _build(about)
    dtypes = {tensor.dtype for tensor in group.tensors.values()}
    if dtypes not in ({torch.float64}, {torch.float32}):
        raise CheckpointError(f"expected tensors of float64 or of float32, got {dtypes}")
    model.load_state_dict(group.tensors, assign=True)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in about["trained"])
    return model.to(device)


def _describe(model: nn.Module) -> dict[str, Any]:
    name = type(model).__name__
    kind = KINDS.get(name)
    if kind is None or type(model) is not kind.type:
        known = ", ".join(KINDS)
        raise CheckpointError(f"expected a model of one of the kinds {known}, got {name}; save its state_dict")
    parts = {part: _describe(module) for part, module in kind.parts(model).items()}
    return {"kind": name, "config": kind.config(model), "parts": parts}


def _build(about: dict[str, Any]) -> nn.Module:
    if about["kind"] not in KINDS:
        raise CheckpointError(f"a model of one of the kinds {', '.join(KINDS)} can be built, not a {about['kind']}")
    parts = {name: _build(part) for name, part in about["parts"].items()}
    return KINDS[about["kind"]].build(about["config"], parts)
