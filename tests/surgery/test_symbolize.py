"""Edges that become symbolic, are taken apart, carried or dropped; constants that are held."""

import pytest
import torch
from hypothesis import given

from kansci import Edge, MultKAN, formula, hold_constants, kanpile, load, perturb, save, trace
from kansci.errors import ConfigError, UnknownFunctionError
from kansci.solvers.unknowns import Unknowns
from kansci.surgery.carry import carry_inputs, drop_idle
from kansci.surgery.symbolize import branch_edge, drop_splines, set_symbol, split_edge
from tests.helpers import assert_same
from tests.strategies import seeds

X = 2 * torch.rand(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1
FORMULAS = ["x*sin(y)", "exp(x*y) + x", "sin(x) + y**2", "x*y*exp(x)", "sqrt(2 + x*y)/(3 + y)"]


@given(seeds)
def test_edges_become_functions(seed):
    model = MultKAN([2, [2, 1], 1], seed=seed)
    changed = set_symbol(model, Edge(0, 1, 0), "sin", (2.0, 0.5, 3.0, -1.0))
    edges = changed.layers[0].edge_values(X.T)
    assert_same(edges[1, 0], 3 * (2 * X[:, 0] + 0.5).sin() - 1, 1e-14)
    others = torch.ones(4, 2, dtype=torch.bool)
    others[1, 0] = False
    assert torch.equal(edges[others], model.layers[0].edge_values(X.T)[others])


def test_layers_without_splines_have_none():
    model = set_symbol(MultKAN([1, 1]), Edge(0, 0, 0), "exp")
    assert model.layers[0].splines is None
    assert str(formula(model, ["x"])[0]) == "exp(x)"
    again = set_symbol(model, Edge(0, 0, 0), "sin", (1.0, 0.0, 2.0, 0.0))
    assert str(formula(again, ["x"])[0]) == "2*sin(x)"
    with pytest.raises(UnknownFunctionError):
        set_symbol(model, Edge(0, 0, 0), "no such thing")
    with pytest.raises(ConfigError, match="target subnodes below 1"):
        set_symbol(model, Edge(0, 1, 0), "exp")


@pytest.mark.parametrize("text", FORMULAS)
def test_splitting_keeps_the_function(text, tmp_path):
    model = perturb(kanpile(text, ["x", "y"]), scale=0.1)
    for number, layer in enumerate(model.layers):
        assert layer.splines is not None
        for target, source in layer.splines.mask.nonzero().tolist():
            split, place = split_edge(model, Edge(number, target, source))
            assert_same(split(X), model(X), 1e-13)
            symbols = split.layers[place.layer].symbols
            assert symbols is not None
            assert not symbols.mask[place.target, place.source]
            save(tmp_path / "model.h5", split)
            assert torch.equal(load(tmp_path / "model.h5")(X), split(X))
            dropped = drop_splines(split, [place])
            without = drop_splines(model, [Edge(number, target, source)])
            assert_same(dropped(X), without(X), 1e-13)


def test_only_edges_of_both_kinds_are_split():
    with pytest.raises(ConfigError, match="symbolic and spline"):
        split_edge(kanpile("x", ["x"]), Edge(0, 0, 0))
    with pytest.raises(ConfigError, match="symbolic and spline"):
        split_edge(MultKAN([1, 1]), Edge(0, 0, 0))


@pytest.mark.parametrize("text", FORMULAS)
def test_carried_inputs_change_nothing_and_are_dropped_again(text):
    model = kanpile(text, ["x", "y"])
    carried = carry_inputs(model)
    assert_same(carried(X), model(X), 1e-14)
    assert_same(carry_inputs(perturb(model, scale=0.1))(X), perturb(model, scale=0.1)(X), 1e-13)
    width = carried.config.columns[-2]
    assert not carried.config.columns[-1].arities
    assert len(carried.layers) == 1 or width.n_nodes >= 2
    back = drop_idle(carried)
    assert_same(back(X), model(X), 1e-14)
    assert [w.n_nodes for w in back.config.columns][: len(model.layers)] == [
        w.n_nodes for w in model.config.columns[:-1]
    ]


def test_held_constants_are_no_unknowns(tmp_path):
    model = kanpile("2*sin(3*x) + y", ["x", "y"])
    free = len(Unknowns(model))
    held = hold_constants(model)
    assert len(Unknowns(held)) == 0 < free
    save(tmp_path / "model.h5", held)
    assert len(Unknowns(load(tmp_path / "model.h5"))) == 0
    assert len(Unknowns(model)) == free
    assert len(Unknowns(hold_constants(model, free=[Edge(0, 0, 1)]))) == 2


def test_branched_edges_are_sums_and_others_stay():
    model = MultKAN([2, [2, 1], 1], seed=3)
    edge = Edge(0, 1, 0)
    terms = [("x**2", (1.0, 0.0, 0.5, 0.0)), ("sin", (2.0, 0.3, 1.0, -1.0)), ("exp", (1.0, 0.0, -0.25, 0.0))]
    branched = branch_edge(model, edge, terms)
    assert len(branched.layers) == len(model.layers) + 1
    x = X[:, 0]
    wanted = trace(set_symbol(model, edge, "x", (1.0, 0.0, 0.0, 0.0)), X).subnodes[0].clone()
    wanted[:, 1] += x**2 / 2 + (2 * x + 0.3).sin() - 1 - x.exp() / 4
    assert_same(trace(branched, X).subnodes[1], wanted, 1e-13)


def test_branches_of_one_are_symbols():
    model, edge = MultKAN([2, 1], seed=3), Edge(0, 0, 1)
    constants = (2.0, 0.5, 3.0, -1.0)
    branched = branch_edge(model, edge, [("sin", constants)])
    assert branched.config == set_symbol(model, edge, "sin", constants).config
    assert torch.equal(branched(X), set_symbol(model, edge, "sin", constants)(X))


def test_branches_are_of_something():
    model = MultKAN([2, 1])
    with pytest.raises(ConfigError, match="expected at least one function, got none"):
        branch_edge(model, Edge(0, 0, 0), [])
    with pytest.raises(ConfigError):
        branch_edge(model, Edge(0, 0, 2), [("sin", (1.0, 0.0, 1.0, 0.0))])
