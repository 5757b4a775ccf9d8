import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from kansci.nn.multkan import MultKAN
from kansci.solvers.unknowns import Unknowns
from tests.helpers import assert_same
from tests.strategies import models, points, seeds


def random(size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(models(), seeds)
def test_what_is_written_is_read_back(model, seed):
    unknowns = Unknowns(model)
    before = unknowns.read()
    vector = random(len(unknowns), seed)
    unknowns.write(vector)
    assert torch.equal(unknowns.read(), vector)
    unknowns.write(before)
    assert torch.equal(unknowns.read(), before)
    x = points(model)
    assert torch.equal(unknowns.model(x), model(x))


@given(models(), seeds)
def test_the_model_itself_is_never_changed(model, seed):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trained = [p.requires_grad for p in model.parameters()]
    unknowns = Unknowns(model)
    unknowns.write(random(len(unknowns), seed))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert trained == [p.requires_grad for p in model.parameters()]
    assert not any(p.requires_grad for p in unknowns.model.parameters())


@given(models(dtype=torch.float32))
def test_single_precision_models_are_solved_in_double(model):
    unknowns = Unknowns(model)
    assert unknowns.read().dtype == torch.float64
    x = points(model)
    assert_same(model(x).detach(), unknowns.model(x.double()), 1e-4)


@given(models(), seeds)
def test_columns_left_out_do_not_matter(model, seed):
    """All trained numbers that are not in the vector can be anything without a change of the function.

    But for the gauge of symbolic edges, which others replace.
    """
    unknowns, x = Unknowns(model), points(model)
    left_out = torch.ones(unknowns.size, dtype=torch.bool)
    left_out[slice(None) if unknowns.active is None else unknowns.active] = False
    tensors = dict(unknowns.model.named_parameters())
    before = unknowns.model(x)
    for name, place in unknowns.slices.items():
        if "symbols" not in name:
            numbers = tensors[name].view(-1)
            numbers[left_out[place]] = random(unknowns.size, seed)[place][left_out[place]]
    assert torch.equal(unknowns.model(x), before)


@given(models(), seeds)
def test_columns_are_selected_and_spread(model, seed):
    unknowns = Unknowns(model)
    vector, columns = random(len(unknowns), seed), random(unknowns.size, seed + 1)
    assert torch.equal(unknowns.select(unknowns.spread(vector)), vector)
    assert_same((unknowns.spread(vector) * columns).sum(), (vector * unknowns.select(columns)).sum())
    several = torch.stack([columns, 2 * columns], 1)
    assert torch.equal(unknowns.select(several)[:, 1], 2 * unknowns.select(columns))


def test_columns_that_are_not_identifiable_are_zero():
    model = MultKAN([2, 1], grid=8, periodic=[0], base="zero")
    spread = Unknowns(model).spread(torch.ones(8 + 11, dtype=torch.float64))
    assert spread.view(2, 11).tolist() == [[1.0] * 8 + [0.0] * 3, [1.0] * 11]


def test_masked_edges_are_not_unknowns():
    model = MultKAN([2, 3, 1])
    assert len(Unknowns(model)) == 9 * 9
    for layer in model.layers:
        assert layer.splines is not None
        layer.splines.mask[0, 1] = 0
    assert len(Unknowns(model)) == 7 * 9


def test_tied_coefficients_of_a_period_are_not_unknowns():
    model = MultKAN([2, 3, 1], grid=8, periodic=[0])
    assert len(Unknowns(model)) == 3 * 8 + 3 * 12 + 3 * 12
    assert len(Unknowns(MultKAN([2, 1], base="zero"))) == 2 * 8


def test_parameters_that_are_not_trained_stay_where_they_are():
    model = MultKAN([1, 2, 1])
    model.layers[0].requires_grad_(False)
    unknowns = Unknowns(model)
    assert list(unknowns.slices) == ["layers.1.splines.coef", "layers.1.splines.scale_base"]
    unknowns.write(random(len(unknowns)))
    after = unknowns.model.state_dict()
    fixed = [name for name in model.state_dict() if name.startswith("layers.0")]
    assert all(torch.equal(after[name], model.state_dict()[name]) for name in fixed)


def test_the_unknowns_can_be_named():
    unknowns = Unknowns(MultKAN([1, 1]), ["layers.0.node_bias"])
    unknowns.write(torch.tensor([7.0], dtype=torch.float64))
    assert unknowns.model.get_parameter("layers.0.node_bias").item() == 7
    assert len(unknowns) == 1


@pytest.mark.parametrize("module", [nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))])
def test_any_module_has_unknowns(module):
    unknowns = Unknowns(module)
    assert len(unknowns) == sum(p.numel() for p in module.parameters())
    flat = torch.cat([p.detach().flatten() for p in module.parameters()])
    assert torch.equal(unknowns.read(), flat.double())


def test_a_model_without_unknowns_has_an_empty_vector():
    unknowns = Unknowns(MultKAN([1, 1]).requires_grad_(False))
    assert len(unknowns) == 0
    assert unknowns.read().shape == (0,)
    unknowns.write(torch.zeros(0, dtype=torch.float64))
