from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kansci.errors import ConfigError
from kansci.nn.multkan import MultKAN
from kansci.solvers.fit import fit
from kansci.surgery.modular import modular
from kansci.surgery.selection import present_edges, symbolic_edges
from tests.strategies import points

KINDS = ("additive", "multiplicative", "generalized", "function")


def meeting(model: MultKAN) -> set[frozenset[int]]:
    """The sets of inputs that nodes depend on."""
    reach = [frozenset([number]) for number in range(model.n_inputs)]
    found = set(reach)
    for layer in model.layers:
        subnodes = [frozenset().union(*(reach[s] for s in row.nonzero().flatten())) for row in present_edges(layer)]
        width = layer.config.out
        reach = [frozenset().union(*(subnodes[s] for s in width.subnodes(n))) for n in range(width.n_nodes)]
        found |= set(reach)
    return found


@st.composite
def trees(draw, inputs=tuple(range(6))):
    """A tree of some inputs, each once, and the sets of inputs that may meet."""
    if len(inputs) == 1:
        return inputs[0], set()
    cuts = sorted(draw(st.sets(st.integers(1, len(inputs) - 1), min_size=1, max_size=3)))
    pieces = [inputs[a:b] for a, b in zip([0, *cuts], [*cuts, len(inputs)], strict=True)]
    kind = draw(st.sampled_from(KINDS))
    parts = [draw(trees(piece)) for piece in pieces]
    allowed = {frozenset(inputs)}.union(*(own for _, own in parts))
    return [kind, *(part for part, _ in parts)], allowed


@given(trees())
def test_only_inputs_of_a_group_meet(drawn):
    tree, allowed = drawn
    model = modular(tree, hidden=2)
    assert meeting(model) - {frozenset([n]) for n in range(6)} <= allowed
    assert frozenset(range(6)) in meeting(model)
    assert model.n_outputs == 1
    x = points(model, 30)
    assert model(x).isfinite().all()
    varies = torch.stack([model(x) - model(x.index_fill(1, torch.tensor([n]), 0.3)) for n in range(6)])
    assert (varies.abs().amax((1, 2)) > 0).all()


@pytest.mark.parametrize(
    ("tree", "function"),
    [
        (["additive", [0, 1], ["multiplicative", 2, 3]], lambda a, b, c, d: (a * b).exp() + c.sin() * d),
        pytest.param(
            [["additive", 0, 1], ["additive", 2, 3]],
            lambda a, b, c, d: (a**2 + b) * (c + d.exp()),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["generalized", 0, ["multiplicative", 1, 2], 3],
            lambda a, b, c, d: (a + b * c + d).tanh(),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_functions_of_the_structure_can_be_learned(tree, function):
    x = points(MultKAN([4, 1]), 200, stretch=1.0)
    y = function(*x.T)[:, None]
    assert fit(modular(tree, hidden=2), (x, y), steps=25, progress=False).loss < 1e-3


def test_values_pass_unchanged_to_later_columns():
    model = modular([0, [1, [2, 3]]], hidden=2)
    passing = [int(symbolic_edges(layer).sum()) for layer in model.layers]
    assert passing == [2, 2, 1, 1, 0, 0]
    for layer in model.layers:
        if layer.symbols is not None:
            assert (layer.symbols.fixed[symbolic_edges(layer)] == 1).all()


def part(kind, *children, inputs=()):
    own = inputs or tuple(number for child in children for number in child.inputs)
    return SimpleNamespace(kind=kind, inputs=own, children=children)


def test_trees_of_functions_are_taken_as_they_are():
    inputs = [part("input", inputs=(number,)) for number in range(4)]
    root = part("additive", part("generalized", *inputs[:2]), part("multiplicative", *inputs[2:]))
    tree = SimpleNamespace(root=root, names=("a", "b", "c", "d", "e"))
    model = modular(tree, seed=3)
    assert model.n_inputs == 5
    assert not present_edges(model.layers[0])[:, 4].any()
    lists = modular(["additive", ["generalized", 0, 1], ["multiplicative", 2, 3]], n_inputs=5, seed=3)
    assert lists.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(lists.parameters(), model.parameters(), strict=True))


def test_options_are_those_of_a_network():
    model = modular([0, 1], hidden=3, grid=4, k=5, base="zero", domain=[(0, 2), (1, 3)], dtype=torch.float32)
    assert repr(model) == "MultKAN([2, 3, 1], grid=4, k=5, 81 parameters, torch.float32)"
    assert [end.tolist() for end in model.domain] == [[0, 1], [2, 3]]
    assert modular([0, 1]).config.columns[1].n_sum == 5
    assert modular(0).config.columns == MultKAN([1, 1]).config.columns
    assert modular([[0], [[1]]], hidden=1).config.columns == MultKAN([2, 1, 1]).config.columns


@pytest.mark.parametrize(
    ("tree", "options", "message"),
    [
        ([], {}, r"got \[\] as the tree"),
        ([0, []], {}, r"got \[\] as part 1 of the tree"),
        (["additive", 0, [1, -2]], {}, "got -2 as part 1 of part 1 of the tree"),
        (["sum", 0, 1], {}, '"additive", "multiplicative", "generalized" or "function", got .*sum'),
        ("additive", {}, "got 'additive' as the tree"),
        ([0.5], {}, "got 0.5 as part 0"),
        (None, {}, "got None as the tree"),
        ([0, 3], {"n_inputs": 3}, "from 0 to 2, got 3"),
        ([0, 1], {"hidden": 0}, "1 or more, got 0"),
    ],
)
def test_bad_trees_are_refused(tree, options, message):
    with pytest.raises(ConfigError, match=message):
        modular(tree, **options)
