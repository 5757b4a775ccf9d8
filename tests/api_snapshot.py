"""The public names and their signatures as text: ``python -m tests.api_snapshot`` writes them to api.txt."""

import inspect
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kansci

FILE = Path(__file__).with_name("api.txt")


def snapshot() -> str:
    """One line for each public name, attribute and method; annotations are left out."""
    return "\n".join(describe_module("kansci", kansci)) + "\n"


def describe_module(path: str, module: types.ModuleType) -> Iterator[str]:
    for name in public_names(module):
        yield from describe(f"{path}.{name}", getattr(module, name))


def public_names(module: types.ModuleType) -> list[str]:
    """What the module exports: its ``__all__``, or else what it defines and its constants."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    defined = {name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__}
    return sorted(name for name in vars(module) if not name.startswith("_") and (name in defined or name.isupper()))


def describe(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, types.ModuleType):
        yield from describe_module(path, value)
    elif isinstance(value, type):
        yield path + ("" if issubclass(value, BaseException) else signature(value))
        for name, member in members(value).items():
            yield f"{path}.{name}{signature(member) if inspect.isroutine(member) else ''}"
    else:
        yield path + (signature(value) if inspect.isroutine(value) else "")


def members(owner: type) -> dict[str, Any]:
    """Public fields, properties and methods that kansci, not a library below it, gave the class."""
    found = {}
    for base in reversed(owner.__mro__):
        if base.__module__.startswith("kansci"):
            found |= dict.fromkeys(inspect.get_annotations(base)) | {name: getattr(base, name) for name in vars(base)}
    return {name: found[name] for name in sorted(found) if not name.startswith("_")}


def signature(value: Any) -> str:
    full = inspect.signature(value)
    bare = [parameter.replace(annotation=parameter.empty) for parameter in full.parameters.values()]
    return str(full.replace(parameters=bare, return_annotation=full.empty))


if __name__ == "__main__":
    FILE.write_text(snapshot())
