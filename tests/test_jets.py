import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from kansci.errors import ConfigError, DerivativeError, ShapeError
from kansci.jets import LEVELS, Jet, cross_terms, jet, orders_of, second_channels
from kansci.nn.multkan import MultKAN
from tests.helpers import assert_same, assert_same_jet
from tests.strategies import seeds

every_level = pytest.mark.parametrize("needs", LEVELS)
CONTENTS = {
    "value": {"value"},
    "gradient": {"value", "gradient"},
    "laplacian": {"value", "gradient", "laplacian"},
    "diagonal": {"value", "gradient", "laplacian", "diagonal"},
    "hessian": set(LEVELS),
}


def samples(n: int = 5, d: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + torch.rand(n, d, generator=generator, dtype=torch.float64)


def f(x):
    """Two functions of three variables."""
    return torch.stack([x[..., 0] * x[..., 1] ** 2 + x[..., 2].sin(), (x[..., 0] * x[..., 2]).exp()], -1)


def closed_form(x: torch.Tensor) -> dict[str, torch.Tensor]:
    """All derivatives of f, by hand."""
    a, b, c = x.T
    e, zero = (a * c).exp(), torch.zeros_like(a)
    gradient = torch.stack([torch.stack([b**2, 2 * a * b, c.cos()], 1), torch.stack([c * e, zero, a * e], 1)], 1)
    rows = [[zero, 2 * b, zero], [2 * b, 2 * a, zero], [zero, zero, -c.sin()]]
    others = [[c**2 * e, zero, (1 + a * c) * e], [zero, zero, zero], [(1 + a * c) * e, zero, a**2 * e]]
    hessian = torch.stack([torch.stack([torch.stack(row, 1) for row in part], 1) for part in (rows, others)], 1)
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    return {
        "value": f(x),
        "gradient": gradient,
        "laplacian": diagonal.sum(-1),
        "diagonal": diagonal,
        "hessian": hessian,
    }


def coordinates(x: torch.Tensor, needs: str) -> list[Jet]:
    lifted = Jet.lift(x, needs)
    return [lifted.select([column]) for column in range(x.shape[1])]


@every_level
def test_any_function_has_a_jet(needs):
    x = samples()
    found, expected = jet(f, x, needs), closed_form(x)
    for level in CONTENTS[needs]:
        assert_same(getattr(found, level), expected[level])


@every_level
def test_sums_products_and_compositions_follow_the_rules_of_calculus(needs):
    """f again, built of jets of the coordinates."""
    x = samples()
    a, b, c = coordinates(x, needs)
    sine = c.apply(torch.stack([x[:, 2:].sin(), x[:, 2:].cos(), -x[:, 2:].sin()], 1)[:, : orders_of(needs)])
    product = a * c
    exponential = product.apply(product.value.exp()[:, None].expand(-1, orders_of(needs), 1))
    first = Jet((a * b * b).channels + sine.channels, needs, 3)
    expected = closed_form(x)
    for level in CONTENTS[needs]:
        assert_same(getattr(first, level), expected[level][:, :1])
        assert_same(getattr(exponential, level), expected[level][:, 1:])


@every_level
def test_a_level_contains_the_lower_ones_and_nothing_else(needs):
    found = Jet.lift(samples(), needs)
    for level in LEVELS:
        if level in CONTENTS[needs]:
            assert getattr(found, level).isfinite().all()
        else:
            with pytest.raises(DerivativeError, match=f"holds the {level}, got one with needs='{needs}'; ask for"):
                getattr(found, level)


@every_level
@pytest.mark.parametrize("d", [1, 2, 4])
def test_shapes(needs, d):
    found = jet(lambda x: x.prod(-1), samples(7, d), needs)
    assert found.channels.shape == (7, 1 + (needs != "value") * d + second_channels(needs, d), 1)
    shapes = {"value": (), "gradient": (d,), "laplacian": (), "diagonal": (d,), "hessian": (d, d)}
    for level in CONTENTS[needs]:
        assert getattr(found, level).shape == (7, 1, *shapes[level])
    assert (found.orders, found.d) == (orders_of(needs), d)


@given(st.sampled_from(LEVELS), st.integers(1, 4), seeds)
def test_products_form_a_commutative_ring(needs, d, seed):
    a, b, c = (jet(g, samples(4, d, seed), needs) for g in (torch.sin, torch.exp, torch.square))
    assert_same_jet(a * b, b * a)
    assert_same_jet((a * b) * c, a * (b * c))
    assert_same_jet(a * Jet(b.channels + c.channels, needs, d), Jet((a * b).channels + (a * c).channels, needs, d))
    one = jet(torch.ones_like, samples(4, d, seed), needs)
    assert_same_jet(a * one, a)


@given(st.sampled_from(LEVELS[2:]), st.integers(1, 4), seeds)
def test_cross_terms_are_the_mixed_part_of_a_product(needs, d, seed):
    a, b = samples(4, d, seed)[..., None], samples(4, d, seed + 1)[..., None]
    full = a * b.transpose(1, 2) + b * a.transpose(1, 2)
    diagonal = full.diagonal(dim1=1, dim2=2)
    expected: dict[str, torch.Tensor] = {
        "laplacian": diagonal.sum(-1, keepdim=True),
        "diagonal": diagonal,
        "hessian": full[:, *torch.triu_indices(d, d)],
    }
    assert_same(cross_terms(a, b, needs), expected[needs][..., None])


@every_level
def test_affine_maps_move_the_value_and_scale_everything(needs):
    found = jet(f, samples(), needs)
    moved = found.affine(torch.tensor([2.0, -3.0]).double(), torch.tensor([1.0, 5.0]).double())
    assert_same_jet(moved, jet(lambda x: f(x) * torch.tensor([2.0, -3.0]) + torch.tensor([1.0, 5.0]), samples(), needs))


@every_level
def test_selected_functions_keep_their_derivatives(needs):
    found = jet(f, samples(), needs)
    swapped = found.select([1, 0])
    assert torch.equal(swapped.value, found.value.flip(1))
    assert torch.equal(swapped.channels, found.channels.flip(2))
    assert torch.equal(found.select(slice(0, 1)).channels, found.channels[:, :, :1])


@every_level
def test_functions_may_return_columns_or_numbers(needs):
    x = samples()
    assert_same_jet(jet(lambda z: f(z)[..., 0], x, needs), jet(f, x, needs).select([0]))


@every_level
def test_modules_without_a_jet_get_one(needs):
    torch_module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = samples()
    found = jet(torch_module, x, needs)
    assert_same(found.value, torch_module(x))
    if needs == "hessian":
        assert_same(found.hessian, torch.vmap(torch.func.hessian(torch_module))(x))
        assert_same(found.hessian, found.hessian.transpose(-1, -2))
    loss = found.channels.square().sum()
    assert all(
        g.isfinite().all() for g in torch.autograd.grad(loss, list(torch_module.parameters()), allow_unused=True)
    )


@every_level
def test_models_answer_for_themselves(needs):
    model = MultKAN([3, 2, 2])
    assert torch.equal(jet(model, samples(), needs).channels, model.jet(samples(), needs).channels)


def test_unknown_levels_are_refused():
    for call in (lambda: jet(f, samples(), "jacobian"), lambda: MultKAN([3, 1]).jet(samples(), "Hessian")):
        with pytest.raises(ConfigError, match=r"expected needs to be one of value, gradient, .* got"):
            call()


@pytest.mark.parametrize("shape", [(3,), (2, 2, 3)])
def test_points_are_rows(shape, unchecked):
    with pytest.raises(ShapeError, match=r"expected x of shape \(n, d\), got .*; pass one point a row"):
        jet(f, torch.zeros(shape), "value")
