"""What files of columns have in common: columns with names, some of which are chosen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor

from kansci.errors import ConfigError

Key = int | str
SHOWN = 20  # names in a message


@runtime_checkable
class Table(Protocol):
    """Columns of a file."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def keys(self) -> Sequence[str]:
        """What each column is asked for by, "" where only its number will do."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """What each column is called from then on, "" where nothing suits."""
        ...

    @property
    def groups(self) -> Mapping[str, Sequence[int]]:
        """What several columns are asked for by."""
        ...

    def read(self, choices: Sequence[Sequence[int]], memory: float, *, progress: bool) -> list[Tensor]:
        """The columns of each choice, (n, columns), mapped where they take more than `memory` bytes."""
        ...


def choose(
    table: Table, target: Key | Sequence[Key], inputs: Key | Sequence[Key] | None, weight: Key | None
) -> list[list[int]]:
    """The columns of the inputs, of the targets and, if there is one, of the weights.

    Where nothing is said, the inputs are all other columns, but not those without names where others have them: these
    are indices or empty.

    Raises:
        ConfigError: a column that is not there, or is asked for twice.
    """
    targets = _find(table, target, "target")
    weights = [] if weight is None else [_find(table, weight, "weight")]
    taken = {*targets, *(column for own in weights for column in own)}
    is_named = any(table.keys)
    rest = [number for number, key in enumerate(table.keys) if number not in taken and (key or not is_named)]
    choices = [rest if inputs is None else _find(table, inputs, "inputs"), targets, *weights]
    chosen = [column for choice in choices for column in choice]
    if not all(choices) or len(set(chosen)) < len(chosen) or any(len(own) > 1 for own in weights):
        raise ConfigError(
            f"expected inputs, targets and one weight in different columns, got columns {choices}; {_known(table)}"
        )
    return choices


def _find(table: Table, given: Key | Sequence[Key], role: str) -> list[int]:
    asked = [given] if isinstance(given, int | str) else list(given)
    return [number for key in asked for number in _find_one(table, key, role)]


def _find_one(table: Table, key: Key, role: str) -> list[int]:
    count = len(table.keys)
    if isinstance(key, int):
        found = [key % count] if -count <= key < count else []
    elif key in table.groups:
        found = list(table.groups[key])
    else:
        found = [number for number, name in enumerate(table.keys) if name and name == key]
    if not found:
        raise ConfigError(f"expected {role} to be among the columns, got {key!r}; {_known(table)}")
    if len(found) > 1 and key not in table.groups:
        raise ConfigError(f"expected one column {key!r} as {role}, got columns {found}; give a number instead")
    return found


def _known(table: Table) -> str:
    """What can be asked for."""
    names = list(dict.fromkeys([*table.groups, *filter(None, table.keys)]))
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    return f"there are {len(table.keys)} columns, numbered from 0" + (f": {shown}" if names else " and without names")
