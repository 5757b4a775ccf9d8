"""What pykan's tutorials on reading networks show, for every seed: more, and by one set of options each.

References:
    Liu et al., KAN 2.0, arXiv:2408.10205; recorded numbers are those of the notebooks Interp_1, 2, 4, 8 and 10.
"""

import itertools

import pytest
import torch

import kansci as ks
from kansci.surgery.selection import list_edges, present_edges
from kansci.surgery.symbolize import set_symbol
from tests.symbolic.laws import LAWS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unchecked")]
SEEDS = range(5)
DEEP = [2, [2, 2], [1, 3], [3, 2], [1, 1]]


def uniform(n, d, seed):
    return 2 * torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1


def corners(d):
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=d)), dtype=torch.float64)


def rmse(model, x, y):
    return (model(x) - y).square().mean().sqrt().item()


def accuracy(model, x, y):
    return ((model(x) > 0.5) == (y > 0.5)).double().mean().item()


def modules(model):
    """The inputs of each hidden node of the first column, in the order of the nodes."""
    return [set(row.nonzero().flatten().tolist()) for row in present_edges(model.layers[0])]


@pytest.mark.parametrize("seed", SEEDS)
def test_interp_1_a_product_of_two_is_one_node(seed):
    """pykan: 1.66e-7, for one seed, before edges are snapped."""
    x, new = uniform(1000, 2, 0), uniform(1000, 2, 1)
    y = x[:, :1] * x[:, 1:]
    penalty = ks.Penalty(l1=1e-2, entropy=1e-2, smoothness=1.0)
    model = ks.MultKAN([2, [5, 2], 1], grid=1, base="x", seed=seed)
    sparse = ks.fit(model, (x, y), penalty=penalty, progress=False).model
    pruned = ks.prune(sparse, x)
    assert repr(pruned).startswith("MultKAN([2, [0, [2]], 1]")
    assert rmse(ks.fit(pruned, (x, y), progress=False).model, new, new.prod(1, keepdim=True)) < 1e-10


@pytest.mark.parametrize("width", [[2, [5, [3, 3]], 1], [2, [5, [4, 4]], 1], [2, [5, [2, 3]], 1], DEEP])
@pytest.mark.parametrize("seed", SEEDS)
def test_interp_2_products_of_any_number_in_any_column(width, seed):
    """pykan: pictures only. Here the network is drawn, and its formula is the network."""
    model = ks.MultKAN(width, seed=seed)
    for number, edge in enumerate(list_edges(model)):
        model = set_symbol(model, edge, "sin", (1.0 + number / 50, 0.1 * number, 1.0, 0.3))
    products = sum(len(column.arities) for column in model.config.columns)
    picture = ks.plot.draw_network(model, uniform(100, 2, 0))
    assert picture.axes
    assert products == sum(len(w[1]) if isinstance(w[1], list) else w[1] for w in width if isinstance(w, list))
    x = uniform(20, 2, 1)
    with torch.no_grad():
        expected = model(x)[:, 0]
    found = ks.torch_function(ks.formula(model)[0], ("x1", "x2"))(x)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_interp_8_auxiliary_variables_are_chosen(seed):
    """pykan: 1.99e-5 after pruning, for one seed. A mass moves with beta and gamma beside its raw inputs."""
    law = LAWS["mass_by_features"]
    x, _, y = law.sample(seed)
    new, expected, _ = law.sample(seed + 1000)
    pruned = ks.prune(ks.sparsify(law.model(seed), (x, y)).model, x)
    fitted = ks.fit(pruned, (x, y), progress=False).model
    assert rmse(fitted, new, expected) < 1.99e-5
    mass, feature = sorted(modules(fitted), key=min)
    assert mass == {0}
    assert feature in ({3}, {4})  # gamma, or 1/sqrt(1 - beta^2)


@pytest.mark.parametrize("seed", SEEDS)
def test_interp_10_a_square_is_learned(seed):
    """pykan: 8.26e-4 after 1000 steps of Adam."""
    x, new = uniform(1000, 1, 0), uniform(1000, 1, 1)
    fitted = ks.fit(ks.MultKAN([1, 5, 1], seed=seed), (x, x.square()), steps=50, progress=False).model
    assert rmse(fitted, new, new.square()) < 1e-5


@pytest.mark.parametrize("seed", SEEDS)
def test_interp_4_inputs_that_do_not_matter_go(seed):
    """pykan: 8.47e-3, and scores .8916, .5155, .1079 and .0040."""
    x, new = uniform(1000, 4, 0), uniform(1000, 4, 1)

    def function(x):
        return (x[:, 0] ** 2 + 0.3 * x[:, 1] + 0.1 * x[:, 2] ** 3)[:, None]

    penalty = ks.Penalty(l1=1e-3, entropy=1e-3)
    sparse = ks.fit(ks.MultKAN([4, 5, 1], seed=seed), (x, function(x)), penalty=penalty, progress=False).model
    scores = ks.attribution_scores(sparse, x).inputs
    expected = torch.tensor([0.861, 0.500, 0.109, 0.0], dtype=torch.float64)
    assert (scores - expected).abs().max() < 0.05
    pruned = ks.prune(sparse, x, inputs=True)
    assert pruned.inputs == (0, 1, 2)
    fitted = ks.fit(pruned, (x[:, :3], function(x)), progress=False).model
    assert rmse(fitted, new[:, :3], function(new)) < 1e-3


@pytest.mark.parametrize("seed", SEEDS)
def test_interp_4_of_a_hundred_inputs_a_leading_run_is_kept(seed):
    """pykan: 5.46e-2; the first five inputs and a wrong one, number 64, are kept."""
    weights = 0.5 ** torch.arange(100, dtype=torch.float64)
    x, new = uniform(1000, 100, 0), uniform(1000, 100, 1)
    y, expected = ((each.square() * weights).sum(1, keepdim=True) for each in (x, new))
    model = ks.MultKAN([100, 10, 10, 1], grid=3, seed=seed)
    penalty = ks.Penalty(l1=1e-2, entropy=1e-2)
    solution = ks.fit(model, (x, y), method="lbfgs", steps=200, penalty=penalty, progress=False)
    assert rmse(solution.model, new, expected) < 5.46e-2
    kept = ks.prune(solution.model, x, node=3e-2, inputs=True).inputs
    assert kept == tuple(range(len(kept)))
    assert len(kept) >= 4


@pytest.mark.parametrize("seed", SEEDS)
def test_interp_10_parities_of_pairs_are_modules(seed):
    """pykan shows sums of pairs instead, and no number for parity."""
    x = corners(10)
    y = (x[:, ::2] + x[:, 1::2]) % 2
    penalty = ks.Penalty(l1=1e-2, entropy=1e-2)
    model = ks.MultKAN([10, 10, 5], domain=(0, 1), grid=3, seed=seed)
    sparse = ks.fit(model, (x, y), steps=60, penalty=penalty, progress=False).model
    arranged = ks.arrange(ks.prune(sparse, x), x)
    assert accuracy(arranged, x, y) == 1
    pairs = [{2 * n, 2 * n + 1} for n in range(5)]
    found = modules(arranged)
    assert [own for own, _ in itertools.groupby(found)] == pairs
    scores = ks.attribution_scores(arranged, x).per_output.inputs
    assert torch.equal(scores.reshape(5, 5, 2).sum(2) > 0, torch.eye(5, dtype=torch.bool))


def majority_of_majorities(seed):
    """A network that has learned it, pruned and arranged, and the data."""
    x = corners(9)
    majorities = (x.reshape(-1, 3, 3).sum(2) > 1.5).double()
    y = (majorities.sum(1, keepdim=True) > 1.5).double()
    model = ks.MultKAN([9, 10, 10, 1], domain=(0, 1), grid=3, seed=seed)
    sparse = ks.fit(model, (x, y), penalty=ks.Penalty(l1=3e-3, entropy=3e-3), progress=False).model
    return ks.arrange(ks.prune(sparse, x), x), x, y


@pytest.mark.parametrize("seed", SEEDS)
def test_interp_10_a_majority_of_majorities_is_learned(seed):
    """pykan: 100 % for one seed."""
    assert accuracy(*majority_of_majorities(seed)) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_interp_10_a_majority_of_majorities_shows_its_modules(seed):
    """The inputs of each majority lead to hidden nodes of their own, which stand together."""
    arranged, _, _ = majority_of_majorities(seed)
    assert [own for own, _ in itertools.groupby(modules(arranged))] == [{0, 1, 2}, {3, 4, 5}, {6, 7, 8}]
