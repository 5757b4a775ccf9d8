import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kansci.config import Edge
from kansci.errors import ConfigError, DomainError
from kansci.nn.multkan import MultKAN
from kansci.solvers.fit import fit
from kansci.surgery.grow import deepen, widen
from kansci.surgery.perturb import perturb
from kansci.surgery.selection import symbolic_edges
from kansci.symbolic.kanpiler import auxiliary_features, kanpile
from tests.helpers import assert_kept, trained_columns, unchanged
from tests.strategies import models, points, seeds

every_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


def spline_masks(model):
    shapes = [(layer.config.out.n_subnodes, layer.config.n_in) for layer in model.layers]
    return [
        torch.zeros(shape, dtype=torch.bool) if layer.splines is None else layer.splines.mask != 0
        for shape, layer in zip(shapes, model.layers, strict=True)
    ]


@every_dtype
def test_perturbed_networks_are_the_same_function(dtype):
    @given(models(dtype=dtype), st.sampled_from([None, "all"]), seeds)
    def check(model, edges, seed):
        with unchanged(model):
            perturbed = perturb(model, edges=edges)
        x = points(model, seed=seed)
        assert_kept(perturbed, model, x)
        for own, before, layer in zip(spline_masks(perturbed), spline_masks(model), model.layers, strict=True):
            wanted = torch.ones_like(before) if edges == "all" else before | symbolic_edges(layer)
            assert torch.equal(own, wanted)
        again = perturb(perturbed, edges=edges)
        assert torch.equal(again(x), perturbed(x))

    check()


def test_formulas_are_kept_to_the_bit():
    model = kanpile("exp(sin(x)*y)", ["x", "y"])
    x = torch.rand(50, 2, dtype=torch.float64)
    assert torch.equal(perturb(model)(x), model(x))
    assert torch.equal(perturb(model, edges="all")(x), model(x))


def test_what_a_formula_leaves_out_is_learned():
    x = torch.linspace(-3, 3, 200, dtype=torch.float64)[:, None]
    y = x.sin() + 0.1 * x**3
    model = perturb(kanpile("sin(x)", ["x"]), domain=(-3, 3))
    found = fit(model, (x, y), progress=False).model
    assert (found(x) - y).norm() < 1e-6 * y.norm()


@pytest.mark.slow
def test_a_missing_edge_is_learned():
    x = 2 * torch.rand(300, 2, dtype=torch.float64) - 1
    y = (x[:, :1].sin() + 0.3 * x[:, 1:] ** 2).exp()
    model = kanpile("exp(sin(x))", ["x", "y"])
    missing = perturb(model, edges=[Edge(0, 0, 1)])
    assert spline_masks(missing)[0].tolist() == [[False, True]]
    assert missing.layers[1].splines is None
    found = fit(missing, (x, y), progress=False).model
    assert (found(x) - y).norm() < 1e-6 * y.norm()


def test_every_new_coefficient_can_be_trained():
    model = perturb(kanpile("exp(sin(x)*y)", ["x", "y"]), edges="all")
    columns = trained_columns(model, points(model, 500, stretch=1.0))
    assert all((columns[f"layers.{layer}.splines.coef"] > 0).float().mean() > 0.9 for layer in (0, 1))


def test_grids_are_where_the_activations_are():
    model = perturb(kanpile("exp(10*x + 20)", ["x"]), domain=(0.0, 0.5), grid=7, k=4)
    assert model.domain[1].tolist() == [0.5]
    assert (model.layers[0].config.grid, model.layers[0].config.k) == (7, 4)
    deep = perturb(deepen(kanpile("10*x + 20", ["x"]), 2), domain=(0.0, 0.5))
    assert deep.layers[1].splines is not None
    low, high = deep.layers[1].splines.domain
    assert (low.item(), high.item()) == pytest.approx((19.5, 25.5), abs=0.02)


def test_layers_that_have_splines_keep_their_grids_and_the_model_its_domain():
    model = perturb(deepen(MultKAN([2, 3, 1], grid=8, k=4, domain=(0, 2)), 1), edges="all", grid=3)
    assert [layer.config.grid for layer in model.layers] == [8, 8, 8]
    assert model.domain[1].tolist() == [2, 2]


def test_noise():
    model = kanpile("sin(x)", ["x"])
    first, same, other = (perturb(model, scale=0.1, grid=400, seed=seed).layers[0].splines for seed in (1, 1, 2))
    assert first is not None
    assert same is not None
    assert other is not None
    assert torch.equal(first.coef, same.coef)
    assert not torch.equal(first.coef, other.coef)
    assert first.coef.std().item() == pytest.approx(0.1, rel=0.2)


def test_features_are_kept():
    model = deepen(MultKAN([3, 2, 1], features=auxiliary_features("x*y", ["x", "y"])), 2)
    x = points(model)
    assert_kept(perturb(model, edges="all"), model, x)


def test_the_recipe_of_kan_2():
    """Deepen, widen by sums and products, perturb everything."""
    model = kanpile("w*(1 + v/c)/sqrt(1 - v**2/c**2)", ["w", "v", "c"])
    reach = [(0.5, 2.0), (-0.5, 0.5), (1.0, 2.0)]
    last = len(model.layers)
    larger = perturb(widen(deepen(model, last + 1), last, 2, [2, 3], domain=reach), edges="all", domain=reach)
    x = torch.tensor([[1.0, 0.3, 1.5], [1.5, -0.4, 1.1]], dtype=torch.float64)
    assert_kept(larger, model, x)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scale": -1.0}, ConfigError, "scale of 0 or more, got -1.0"),
        ({"edges": "some"}, ConfigError, "'all', None or a list of Edge.* got 'some'"),
        ({"edges": [Edge(2, 0, 0)]}, ConfigError, r"layers from 0 to 1, got Edge\(layer=2"),
        ({"edges": [Edge(0, 1, 0)]}, ConfigError, r"subnodes below 1 and sources below 1, got Edge"),
        ({"grid": 0}, ConfigError, "grid"),
        ({"domain": (-1, 1)}, DomainError, "finite on the domain"),
    ],
)
def test_bad_options_are_refused(options, error, message, unchecked):
    with pytest.raises(error, match=message):
        perturb(kanpile("sin(log(x))", ["x"]), **options)
