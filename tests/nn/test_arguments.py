import pytest
import torch

from kansci.errors import DataError
from kansci.nn import arguments
from kansci.nn.arguments import check_finite, row_parts


def test_parts_follow_each_other(monkeypatch):
    monkeypatch.setattr(arguments, "PART", 12)
    values = torch.arange(33).view(11, 3)
    parts = list(row_parts(values))
    assert [start for start, _ in parts] == [0, 4, 8]
    assert torch.equal(torch.cat([part for _, part in parts]), values)


def test_rows_longer_than_a_part_come_one_by_one(monkeypatch):
    monkeypatch.setattr(arguments, "PART", 2)
    assert [len(part) for _, part in row_parts(torch.zeros(3, 100))] == [1, 1, 1]


@pytest.mark.parametrize("part", [1, 5, 2**20])
@pytest.mark.parametrize(
    ("rows", "message"),
    [([7], "in 1 rows: 7;"), ([0, 3, 19], "in 3 rows: 0, 3, 19;"), (range(20), "in 20 rows: 0, 1, 2, 3, 4, ...;")],
)
def test_rows_that_are_not_finite_are_named(part, rows, message, monkeypatch):
    monkeypatch.setattr(arguments, "PART", part)
    values = torch.zeros(20, 2)
    values[list(rows), 1] = torch.nan
    with pytest.raises(DataError, match=message):
        check_finite(values, "x")
    check_finite(values[:, :1], "x")
