import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from kansci.errors import ConfigError, DerivativeError, ShapeError
from kansci.jets import LEVELS, Jet, cross_terms, jet, orders_of, second_channels, second_pairs
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


def gradients(d: int, seed: int) -> torch.Tensor:
    """First derivatives of two functions at four points."""
    return samples(8, d, seed).T.reshape(d, 2, 4)


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
    inner = x.T[2:]
    sine = c.apply(torch.stack([inner.sin(), inner.cos(), -inner.sin()])[: orders_of(needs)])
    product = a * c
    exponential = product.apply(product.value.T.exp().expand(orders_of(needs), -1, -1))
    first = a * b * b + sine
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
    assert found.channels.shape == (1 + (needs != "value") * d + second_channels(needs, d), 1, 7)
    shapes = {"value": (), "gradient": (d,), "laplacian": (), "diagonal": (d,), "hessian": (d, d)}
    for level in CONTENTS[needs]:
        assert getattr(found, level).shape == (7, 1, *shapes[level])
    assert (found.orders, found.d) == (orders_of(needs), d)


@given(st.sampled_from(LEVELS), st.integers(1, 4), seeds)
def test_products_form_a_commutative_ring(needs, d, seed):
    a, b, c = (jet(g, samples(4, d, seed), needs) for g in (torch.sin, torch.exp, torch.square))
    assert_same_jet(a * b, b * a)
    assert_same_jet((a * b) * c, a * (b * c))
    assert_same_jet(a + b, b + a)
    assert_same_jet(a * (b + c), a * b + a * c)
    one = jet(torch.ones_like, samples(4, d, seed), needs)
    assert_same_jet(a * one, a)


@given(st.sampled_from(LEVELS[2:]), st.integers(1, 4), seeds)
def test_cross_terms_are_the_mixed_part_of_a_product(needs, d, seed):
    a, b = gradients(d, seed), gradients(d, seed + 1)
    full = a[:, None] * b + b[:, None] * a
    diagonal = full[range(d), range(d)]
    expected: dict[str, torch.Tensor] = {
        "laplacian": diagonal.sum(0, keepdim=True),
        "diagonal": diagonal,
        "hessian": full[*torch.triu_indices(d, d)],
    }
    assert_same(cross_terms(a, b, needs), expected[needs])


@given(st.sampled_from(LEVELS), st.integers(1, 4), seeds)
def test_pairs_say_where_products_of_first_derivatives_belong(needs, d, seed):
    gradient = gradients(d, seed)
    found = gradient.new_zeros(second_channels(needs, d), *gradient.shape[1:])
    for i, j, channel in second_pairs(needs, d):
        found[channel] += gradient[i] * gradient[j]
    assert_same(found, cross_terms(gradient, gradient, needs) / 2)


@every_level
def test_squares_are_what_a_second_derivative_is_multiplied_by(needs):
    found = jet(f, samples(), needs)
    if found.orders < 3:
        assert found.squares().shape == (0, 2, 5)
        return
    unit = torch.zeros(3, 2, 5, dtype=torch.float64)
    unit[2] = 1
    expected = Jet(found.channels.clone(), needs, 3).apply(unit)
    assert (expected.channels[:4] == 0).all()
    assert_same(found.squares(), expected.channels[4:])
    slopes = closed_form(samples())["gradient"]
    outer = slopes[..., None] * slopes[..., None, :]
    whole = Jet(torch.cat([torch.zeros(4, 2, 5).double(), found.squares()]), needs, 3)
    assert_same(whole.laplacian, outer.diagonal(dim1=-2, dim2=-1).sum(-1))
    if needs == "hessian":
        assert_same(whole.hessian, outer)


@every_level
def test_affine_maps_move_the_value_and_scale_everything(needs):
    found = jet(f, samples(), needs)
    moved = found.affine(torch.tensor([2.0, -3.0]).double(), torch.tensor([1.0, 5.0]).double())
    assert_same_jet(moved, jet(lambda x: f(x) * torch.tensor([2.0, -3.0]) + torch.tensor([1.0, 5.0]), samples(), needs))


@every_level
def test_linear_maps_mix_the_functions(needs):
    weight, bias = samples(4, 2) - 1, samples(1, 4)[0]
    moved = jet(f, samples(), needs).linear(weight, bias)
    assert_same_jet(moved, jet(lambda x: f(x) @ weight.T + bias, samples(), needs))
    assert_same(moved.value, f(samples()) @ weight.T + bias)


@every_level
def test_biases_and_weights_of_affine_and_linear_maps_get_gradients(needs):
    found = jet(f, samples(), needs)
    scale, bias, weight = samples(1, 2)[0].requires_grad_(), samples(1, 2)[0].requires_grad_(), samples(2, 2)
    weight.requires_grad_()
    ones = torch.ones_like(found.channels)
    for move, inputs in ((found.affine, (scale, bias)), (found.linear, (weight, bias))):
        grads = torch.autograd.grad(move(*inputs).channels, inputs, ones)
        assert_same(grads[1], torch.full((2,), 5.0).double())
        expected = found.channels.sum((0, 2))
        assert_same(grads[0], expected.expand_as(grads[0]))


@every_level
def test_selected_functions_keep_their_derivatives(needs):
    found = jet(f, samples(), needs)
    swapped = found.select([1, 0])
    assert torch.equal(swapped.value, found.value.flip(1))
    assert torch.equal(swapped.channels, found.channels.flip(1))
    assert torch.equal(found.select(slice(0, 1)).channels, found.channels[:, :1])


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
