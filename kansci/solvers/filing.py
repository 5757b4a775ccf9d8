"""The folder of a sweep: for each finished run a text file with its settings and results, and its model.

A run has the name ``run-KEY``, and KEY is a hash of what it is a run of: the function, its version and the settings.
``run-KEY.h5`` is there before ``run-KEY.json``, whose presence says that the run is finished.
"""

import dataclasses
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kansci import sealed
from kansci.checkpoint import load, save
from kansci.errors import CheckpointError, ConfigError, SweepWarning
from kansci.solvers.attempt import Number, Outcome
from kansci.solvers.data import Dataset


@dataclasses.dataclass(frozen=True)
class Filed:
    """A run as it is filed.

    Attributes:
        results: its numbers.
        model: the file of its model, or None.
    """

    results: dict[str, Number]
    model: Path | None


class Folder:
    """Where the runs of a function are filed.

    Attributes:
        path: of the folder.
        complaints: what could not be filed, and why.
    """

    def __init__(self, path: str | os.PathLike[str], identity: dict[str, Any]) -> None:
        """Make the folder and prove that it can be written, before anything is computed.

        Args:
            path: the folder.
            identity: what is run, beside the settings, in JSON's types.

        Raises:
            CheckpointError: the path cannot be a folder, or be written.
        """
        self.path, self._identity, self.complaints = Path(path), identity, list[str]()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise CheckpointError(
                f"expected a folder that can be written, got {path} ({error.strerror}); choose another"
            ) from error

    def read(self, settings: Mapping[str, Any]) -> Filed | None:
        """The finished run with these settings, if there is one.

        What cannot be read is set aside with a warning, and counts as missing.

        Raises:
            ConfigError: settings that cannot be told from others.
        """
        path = self._text(settings)
        try:
            return _read(path, self._describe(settings)) if path.exists() else None
        except (CheckpointError, OSError, ValueError, LookupError, TypeError) as error:
            kept = [_set_aside(file) for file in (path, path.with_suffix(".h5")) if file.exists()]
            warnings.warn(
                f"expected {path} to be a run as it was filed, got something else ({error}); the run is made again, "
                f"and what was there is kept as {', '.join(map(str, kept))}",
                SweepWarning,
                stacklevel=2,
            )
            return None

    def write(self, settings: Mapping[str, Any], outcome: Outcome) -> Path | None:
        """File a run, in one step, or complain.

        Returns:
            The file of its model, None where there is none.
        """
        path = self._text(settings)
        model = self._write_model(path.with_suffix(".h5"), outcome.model)
        content = {
            **self._describe(settings),
            "results": outcome.results,
            "model": model and model.name,
            "versions": {"kansci": version("kansci"), "torch": torch.__version__},
        }
        try:
            sealed.replace_file(path, _dump({**content, "sha256": _digest(content)}, indent=2).encode())
        except OSError as error:
            self.complaints.append(f"some are not filed, as {self.path} cannot be written ({error.strerror})")
        return model

    def _write_model(self, path: Path, model: Any) -> Path | None:
        """The file of a model, None where there is no model or it cannot be saved."""
        if model is None:
            return None
        try:
            save(path, model)
        except CheckpointError as error:
            self.complaints.append(f"some are filed without their models ({error})")
            return None
        return path

    def _describe(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._identity, "settings": plain(settings)}

    def _text(self, settings: Mapping[str, Any]) -> Path:
        return self.path / f"run-{_digest(self._describe(settings))[:16]}.json"


def _read(path: Path, expected: dict[str, Any]) -> Filed | None:
    content = dict(json.loads(path.read_bytes()))
    if content.pop("sha256") != _digest(content):
        raise CheckpointError("its SHA-256 is not the one that it records")
    if _digest({name: content[name] for name in expected}) != _digest(expected):
        raise CheckpointError(f"it is a run of {content['function']} with {content['settings']}")
    model = path.with_name(content["model"]) if content["model"] else None
    if model is not None:
        load(model)
    return Filed(content["results"], model)


def _set_aside(path: Path) -> Path:
    """Rename a file to the first free name."""
    number = 0
    while (aside := path.with_name(f"{path.name}.damaged{number or ''}")).exists():
        number += 1
    return path.rename(aside)


def _digest(content: Any) -> str:
    return hashlib.sha256(_dump(content, sort_keys=True).encode()).hexdigest()


def _dump(content: Any, **options: Any) -> str:
    """As JSON; numbers that are not finite are written as Python, NumPy and pandas read them."""
    return json.dumps(content, **options)


def plain(value: Any, name: str = "settings") -> Any:
    """The same value in JSON's types, tuples as lists.

    Raises:
        ConfigError: a value whose text would not tell it from others.

    Example:
        >>> plain({"width": (2, [5, 1], 1), "seed": np.int64(3)})
        {'width': [2, [5, 1], 1], 'seed': 3}
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping() if all(isinstance(key, str) for key in value):
            return {key: plain(each, key) for key, each in value.items()}
        case list() | tuple() | range():
            return [plain(each, name) for each in value]
        case np.generic() | np.ndarray() | Tensor():
            return plain(value.tolist(), name)
        case os.PathLike() | torch.dtype():
            return str(value)
        case type() | FunctionType() if "<" not in value.__qualname__:
            return {"function": value.__qualname__}
        case Dataset():
            return {"data": _fingerprint(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"type": type(value).__qualname__, **plain(fields, name)}
    raise ConfigError(
        f"expected {name} to be numbers, text, lists, dicts or dataclasses of these, data or named functions, by "
        f"which runs are filed, got {value!r}; make its name the setting and look it up in run, or use no folder"
    )


def _fingerprint(data: Dataset) -> str:
    """A text that changes with the numbers."""
    digest = hashlib.sha256()
    for tensor in (data.x, data.y, data.x_test, data.y_test, data.weight):
        digest.update(b"none" if tensor is None else repr(tensor.shape).encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def describe(run: Callable[..., Any]) -> Any:
    """What a function is called, and what is bound to it, in JSON's types.

    Raises:
        ConfigError: what is bound to it cannot be told from other things.

    Example:
        >>> describe(partial(describe, run=3))
        {'function': 'kansci.solvers.filing.describe', 'arguments': [], 'keywords': {'run': 3}}
    """
    if isinstance(run, partial):
        bound = {"arguments": list(run.args), "keywords": run.keywords}
        return {"function": describe(run.func), **plain(bound, "what is bound to run")}
    named = run if hasattr(run, "__qualname__") else type(run)
    return f"{named.__module__}.{named.__qualname__}"
