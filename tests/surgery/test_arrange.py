import itertools

import numpy as np
import pytest
import torch
from hypothesis import given

from kansci.config import Edge
from kansci.nn.multkan import MultKAN
from kansci.surgery.arrange import _attributions, _between_nodes, _cost, arrange, connection_cost
from kansci.surgery.gather import gather_nodes
from kansci.surgery.restrict import restrict
from kansci.surgery.selection import present_edges
from kansci.surgery.symbolize import set_symbol
from kansci.symbolic.kanpiler import kanpile
from tests.helpers import assert_same, unchanged
from tests.strategies import models, points, seeds


@given(models(), seeds)
def test_arranged_networks_are_the_same_function_at_less_cost(model, seed):
    x = points(model, 30, seed)
    with unchanged(model):
        arranged = arrange(model, x)
    assert_same(arranged(x), model(x), 1e-13)
    assert connection_cost(arranged, x) <= connection_cost(model, x) * (1 + 1e-12)
    assert [width.n_sum for width in arranged.config.columns] == [width.n_sum for width in model.config.columns]


def all_orders(columns):
    """The nodes of all columns, those of hidden ones in every order."""
    hidden = [
        [
            np.array([*sums, *products])
            for sums in itertools.permutations(range(width.n_sum))
            for products in itertools.permutations(range(width.n_sum, width.n_nodes))
        ]
        for width in columns[1:-1]
    ]
    for orders in itertools.product(*hidden):
        yield [np.arange(columns[0].n_nodes), *orders, np.arange(columns[-1].n_nodes)]


@pytest.mark.parametrize("width", [[3, 4, 2], [4, 3, 2, 1], [4, 2, 3, 1], [3, [2, 2], 3, 2], [2, [1, [2, 3]], 2]])
@pytest.mark.parametrize("seed", range(2))
def test_no_order_costs_less(width, seed):
    model = MultKAN(width, seed=seed)
    x = points(model, 40, seed)
    weights = _between_nodes(_attributions(model, x), model.config.columns)
    assert _cost(weights, next(all_orders(model.config.columns))) == connection_cost(model, x)
    least = min(_cost(weights, orders) for orders in all_orders(model.config.columns))
    assert connection_cost(arrange(model, x), x) <= least * (1 + 1e-9)


def test_modules_that_were_mixed_stand_together_again():
    model = MultKAN([9, 9, 9, 3], seed=3)
    for part in range(3):
        own = [3 * part, 3 * part + 1, 3 * part + 2]
        model = restrict(model, 0, "->".join([str(own)] * 5 + [f"[{part}]"]))
    generator = torch.Generator().manual_seed(1)
    mixed = gather_nodes(model, {layer: torch.randperm(9, generator=generator).tolist() for layer in (1, 2)})
    arranged = arrange(mixed, points(model, 100))
    for number in range(2):
        splines = arranged.layers[number].splines
        assert splines is not None
        blocks = splines.mask.reshape(3, 3, 3, 3).sum((1, 3))
        assert torch.equal(blocks, 9 * torch.eye(3, dtype=torch.float64))


def test_factors_stand_as_what_they_come_from():
    model = MultKAN([3, [0, [3]], 1])
    for factor, source in enumerate((2, 0, 1)):
        model = restrict(model, 0, f"[{source}]->[{factor}]")
    arranged = arrange(model, points(model, 30))
    assert torch.equal(present_edges(arranged.layers[0]), torch.eye(3, dtype=torch.bool))


def test_without_hidden_columns_or_edges_all_stays():
    model = MultKAN([3, 2])
    assert connection_cost(arrange(model, points(model)), points(model)) == connection_cost(model, points(model))
    dead = set_symbol(kanpile("x", ["x"]), Edge(0, 0, 0), "x", (1.0, 0.0, 0.0, 0.0))
    assert connection_cost(arrange(dead, points(dead)), points(dead)) == 0
