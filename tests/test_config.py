from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kansci.config import Edge, LayerConfig, ModelConfig, Width, parse_columns
from kansci.errors import ConfigError, KansciError, UnknownFunctionError
from tests.strategies import models, widths


@pytest.mark.parametrize(
    ("entry", "width"),
    [
        (5, Width(5)),
        ([5, 0], Width(5)),
        ((5, 3), Width(5, (2, 2, 2))),
        ([0, 1], Width(0, (2,))),
        ([5, [2, 3]], Width(5, (2, 3))),
        ([5, []], Width(5)),
        (np.int64(5), Width(5)),
        ([np.int32(1), [np.int8(3)]], Width(1, (3,))),
        (Width(2, (4,)), Width(2, (4,))),
    ],
)
def test_width_entries(entry, width):
    assert Width.parse(entry) == width
    assert all(type(number) is int for number in (width.n_sum, *Width.parse(entry).arities))


@given(widths())
def test_subnodes_are_numbered_in_the_order_of_their_nodes(width):
    subnodes = [subnode for node in range(width.n_nodes) for subnode in width.subnodes(node)]
    assert subnodes == list(range(width.n_subnodes))
    assert [len(width.subnodes(node)) for node in range(width.n_nodes)] == [1] * width.n_sum + list(width.arities)


@pytest.mark.parametrize(
    "entry",
    [0, -1, 2.5, True, "5", None, [5], [5, 3, 2], [5, -1], [5, [1]], [5, [2.0]], [0, 0], [5, "23"], [[5], 1]],
)
def test_bad_width_entries_are_refused(entry, unchecked):
    with pytest.raises(ConfigError, match="expected"):
        Width.parse(entry)


@pytest.mark.parametrize("width", [[], [2], 2, "25", None, [2, 0, 1], [[2, 1], 1], [2, 5.0, 1], {2: 1, 1: 1}])
def test_bad_widths_are_refused(width, unchecked):
    with pytest.raises(ConfigError, match="expected"):
        parse_columns(width)


def test_columns_leave_the_list_alone():
    width = [2, [3, [2, 3]], 1]
    assert parse_columns(width) == (Width(2), Width(3, (2, 3)), Width(1))
    assert width == [2, [3, [2, 3]], 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": 0}, "expected grid .* got 0"),
        ({"grid": 2.5}, "expected grid .* got 2.5"),
        ({"grid": True}, "expected grid"),
        ({"k": 0}, "from 1 to 9, got 0"),
        ({"k": 10}, "from 1 to 9, got 10"),
        ({"k": "3"}, "from 1 to 9, got '3'"),
        ({"base": None}, "expected base .* 'zero' is none"),
        ({"base": "abs"}, "smooth .* got 'abs'"),
        ({"base": "sqrt"}, "smooth .* got 'sqrt'"),
        ({"base": "1/x"}, "smooth .* got '1/x'"),
        ({"periodic": (2,)}, r"from 0 to 1, got \(2,\)"),
        ({"periodic": (-1,)}, "from 0 to 1"),
        ({"periodic": (0.5,)}, "from 0 to 1"),
        ({"periodic": 0}, "from 0 to 1"),
        ({"periodic": (0,), "grid": 3}, "use grid=4 or more"),
        ({"symbols": (("sin", ""),)}, "3 subnodes by 2 sources"),
        ({"symbols": (("sin",),) * 3}, "3 subnodes by 2 sources"),
    ],
)
def test_impossible_layers_are_refused(change, message, unchecked):
    with pytest.raises(ConfigError, match=message):
        LayerConfig(**{"n_in": 2, "out": Width(3), **change})


def test_unknown_base_functions_are_refused_with_a_hint():
    with pytest.raises(UnknownFunctionError, match="did you mean silu") as caught:
        LayerConfig(2, Width(3), base="sulu")
    assert isinstance(caught.value, KansciError)


def test_layers_keep_plain_integers(unchecked):
    numbers: dict[str, Any] = {"grid": np.int64(7), "k": np.int8(4), "periodic": [np.int64(1)]}
    layer = LayerConfig(2, Width(1), **numbers)
    assert (type(layer.grid), type(layer.k), layer.periodic, layer.n_coef) == (int, int, (1,), 11)
    assert hash(layer) == hash(LayerConfig(2, Width(1), grid=7, k=4, periodic=(1,)))


def test_records_are_frozen():
    with pytest.raises(FrozenInstanceError):
        LayerConfig(2, Width(1)).grid = 7  # type: ignore[misc]
    assert Edge(0, 2, 1)._asdict() == {"layer": 0, "target": 2, "source": 1}


@given(models())
def test_configurations_survive_json(model):
    text = model.config.to_json()
    again = ModelConfig.from_json(text)
    assert again == model.config
    assert again.to_json() == text
    assert [column.n_nodes for column in again.columns[:1]] == [model.n_inputs]


@given(st.integers(1, 9), st.integers(1, 50))
def test_an_edge_has_grid_plus_k_coefficients(k, grid):
    assert LayerConfig(1, Width(1), grid, k).n_coef == grid + k
