import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kansci.errors import ConfigError
from kansci.nn.multkan import MultKAN
from kansci.surgery.restrict import restrict
from kansci.surgery.selection import present_edges
from tests.helpers import unchanged
from tests.strategies import models


def reached(model, start, nodes, stop):
    """The nodes of a column that paths lead to from some of another."""
    found = torch.zeros(model.config.columns[start].n_nodes, dtype=torch.bool)
    found[nodes] = True
    for layer in model.layers[start:stop]:
        subnodes = (present_edges(layer) & found).any(1)
        width = layer.config.out
        found = torch.stack([subnodes[list(width.subnodes(node))].any() for node in range(width.n_nodes)])
    return set(found.nonzero().flatten().tolist())


@st.composite
def modules(draw, model):
    """A start, the nodes of each column of a module, and its text."""
    columns = model.config.columns
    start = draw(st.integers(0, len(columns) - 2))
    stop = draw(st.integers(start + 1, len(columns) - 1))
    nodes, groups = [], []
    for number in range(start, stop + 1):
        n = columns[number].n_nodes
        nodes.append(sorted(draw(st.sets(st.integers(0, n - 1), min_size=1))))
        subnodes = [own for node in nodes[-1] for own in columns[number].subnodes(node)]
        groups += [nodes[-1]] if number == start else [subnodes, nodes[-1]]
    if draw(st.booleans()):
        groups.pop()
    return start, nodes, "->".join(str(group).replace(" ", draw(st.sampled_from(["", " "]))) for group in groups)


@given(st.data(), models())
def test_no_path_joins_a_module_with_others(data, model):
    start, nodes, text = data.draw(modules(model))
    with unchanged(model):
        restricted = restrict(model, start, text)
    for stop in range(start + 1, start + len(nodes)):
        others = sorted(set(range(model.config.columns[start].n_nodes)) - set(nodes[0]))
        assert reached(restricted, start, nodes[0], stop) <= set(nodes[stop - start])
        assert not reached(restricted, start, others, stop) & set(nodes[stop - start])
    for number, (new, old) in enumerate(zip(restricted.layers, model.layers, strict=True)):
        if not start <= number < start + len(nodes) - 1:
            assert torch.equal(present_edges(new), present_edges(old))


def test_edges_within_a_module_and_without_stay():
    model = restrict(MultKAN([4, [1, 2], 2]), 0, "[0,1]->[1,2]->[1]->[0]->[0]")
    first, second = (present_edges(layer).long().tolist() for layer in model.layers)
    assert first == [[0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert second == [[0, 1, 0], [1, 0, 1]]


def test_numbers_may_count_from_the_end():
    ours, theirs = (restrict(MultKAN([4, 4, 1]), 0, text) for text in ("[2,3]->[3]", "[-1,-2]->[-1]"))
    assert torch.equal(present_edges(ours.layers[0]), present_edges(theirs.layers[0]))


def test_later_columns_may_be_restricted():
    model = restrict(MultKAN([2, 4, 4, 1]), 1, "[0,1]->[2,3]")
    assert present_edges(model.layers[0]).all()
    assert present_edges(model.layers[1]).long().tolist() == [[0, 0, 1, 1]] * 2 + [[1, 1, 0, 0]] * 2


@pytest.mark.parametrize(
    ("start", "text", "message"),
    [
        (0, "", "from 2 groups to 5"),
        (0, "[0]", "from 2 groups to 5, .* got 1"),
        (0, "[0]->[0]->[0]->[0]->[0]->[0]", "got 6"),
        (1, "[0]->[0]->[0]->[0]", "from 2 groups to 3"),
        (0, "[0,1]->", r"subnodes of column 1 as a list such as \[0,1\] at character 8 of .*, got ''"),
        (0, "[0,1]->[0,a]", r"at character 8 of '\[0,1\]->\[0,a\]', got '\[0,a\]'"),
        (0, "0,1->[0]", "nodes of column 0 as a list .* at character 1 "),
        (0, "[]->[0]", r"at character 1 of .*, got '\[\]'"),
        (0, "[0,]->[0]", "at character 1"),
        (0, "[0.5]->[0]", "at character 1"),
        (0, "[0]->[7]", "subnodes of column 1 from 0 to 4 at character 6 .* got 7, which is not there"),
        (0, "[-5]->[0]", "nodes of column 0 from 0 to 3 at character 1 .* got -5"),
        (0, "[0]->[1,1]", "got one twice"),
        (0, "[0]->[0,3]->[0,1]", r"nodes \[0, 2\] that subnodes \[0,3\] belong to, .* at character 13 .* \[0, 1, 2\]"),
        (0, "[0]->[1]->[1]", "with all of their subnodes"),
        (0, "[0]-[1]", "got 1"),
        (2, "[0]->[0]", "from 0 to 1, got 2"),
        (-1, "[0]->[0]", "from 0 to 1, got -1"),
    ],
)
def test_bad_modules_are_refused(start, text, message):
    with pytest.raises(ConfigError, match=message):
        restrict(MultKAN([4, [1, 2], 1]), start, text)
