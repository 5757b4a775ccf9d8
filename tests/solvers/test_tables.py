from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kansci.errors import ConfigError
from kansci.solvers.tables import choose


@dataclass
class Named:
    keys: list[str]
    groups: dict[str, list[int]] = field(default_factory=dict)
    path: Path = Path()

    @property
    def labels(self):
        return self.keys

    def read(self, choices, memory, *, progress):
        return []


PLAIN = Named(["a", "b", "c", "d"])


@pytest.mark.parametrize(
    ("table", "asked", "expected"),
    [
        (PLAIN, ("d", None, None), [[0, 1, 2], [3]]),
        (PLAIN, (-1, None, None), [[0, 1, 2], [3]]),
        (PLAIN, (["b", "a"], None, None), [[2, 3], [1, 0]]),
        (PLAIN, ("d", ["c", 0], "b"), [[2, 0], [3], [1]]),
        (PLAIN, ("d", None, 1), [[0, 2], [3], [1]]),
        (PLAIN, ("d", "a", None), [[0], [3]]),
        (Named(["", "a", "b", ""]), ("b", None, None), [[1], [2]]),
        (Named(["", "", ""]), (1, None, None), [[0, 2], [1]]),
        (Named(["x/0", "x/1", "y"], {"x": [0, 1]}), ("y", "x", None), [[0, 1], [2]]),
        (Named(["x/0", "x/1", "y"], {"x": [0, 1]}), ("y", "x/1", None), [[1], [2]]),
        (Named(["a", "a", "y"]), ("y", [0], None), [[0], [2]]),
    ],
)
def test_columns_are_chosen(table, asked, expected):
    assert choose(table, *asked) == expected


@pytest.mark.parametrize(
    ("table", "asked", "message"),
    [
        (PLAIN, ("e", None, None), "target to be among the columns, got 'e'; there are 4 .* 0: a, b, c, d"),
        (PLAIN, ("", None, None), "got ''"),
        (PLAIN, (4, None, None), "got 4"),
        (PLAIN, (-5, None, None), "got -5"),
        (PLAIN, ("d", ["a", "q"], None), "inputs to be among the columns, got 'q'"),
        (PLAIN, ("d", None, "w"), "weight to be among the columns, got 'w'"),
        (PLAIN, ("d", ["d"], None), "different columns"),
        (PLAIN, ("d", ["a", "a"], None), "different columns"),
        (PLAIN, (["a", "b", "c", "d"], None, None), "different columns"),
        (PLAIN, ([], None, None), "different columns"),
        (Named(["a", "a", "y"]), ("a", None, None), r"one column 'a' as target, got columns \[0, 1\]; give a number"),
        (Named(["", ""]), ("a", None, None), "there are 2 columns, numbered from 0 and without names"),
        (Named([f"x{i}" for i in range(99)]), ("a", None, None), "x18, x19, ..."),
    ],
)
def test_what_is_not_there_is_refused(table, asked, message):
    with pytest.raises(ConfigError, match=message):
        choose(table, *asked)
