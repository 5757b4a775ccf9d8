import os

import numpy as np
import pytest

from kansci.errors import ConfigError
from kansci.solvers.cache import read_cached
from kansci.solvers.delimited import Delimited


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("1,2,3\n4,5,6\n")
    return path


def read(source, cache, choices=([0, 2], [1]), memory=0.0):
    table = Delimited.open(source, None, None, "#")
    return [own.tolist() for own in read_cached(cache, table, choices, memory, progress=False)]


@pytest.mark.parametrize("memory", [0.0, 1e9])
def test_the_first_time_writes_what_the_next_reads(tmp_path, source, memory, monkeypatch):
    cache = tmp_path / "cache.h5"
    first = read(source, cache, memory=memory)
    assert first == [[[1, 3], [4, 6]], [[2], [5]]]
    monkeypatch.setattr(np, "loadtxt", None)
    assert read(source, cache, memory=memory) == first
    assert sorted(tmp_path.iterdir()) == [cache, source]


def test_what_has_changed_is_read_anew(tmp_path, source):
    cache = tmp_path / "cache.h5"
    read(source, cache)
    assert read(source, cache, ([1], [0])) == [[[2], [5]], [[1], [4]]]
    source.write_text("7,8,9\n1,2,3\n")
    os.utime(source, ns=(1, 1))
    assert read(source, cache) == [[[7, 9], [1, 3]], [[8], [2]]]


@pytest.mark.parametrize("content", [b"1,2\n", b""])
def test_other_files_are_left_alone(tmp_path, source, content):
    other = tmp_path / "mine.csv"
    other.write_bytes(content)
    with pytest.raises(ConfigError, match="new file or a former cache"):
        read(source, other)
    assert other.read_bytes() == content
