"""The Jacobian of residuals: `System.jacobian` against torch.func through the plain forward pass."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call, jacrev

from kansci.config import LayerConfig, ModelConfig, Width
from kansci.jets import LEVELS, Jet, jet
from kansci.nn.lan import LAN
from kansci.nn.mlp import MLP
from kansci.nn.multkan import MultKAN
from kansci.solvers.blocks import Block
from kansci.solvers.losses import measure
from kansci.solvers.residual import Residual
from kansci.solvers.system import System
from kansci.solvers.unknowns import Unknowns
from kansci.symbolic.kanpiler import auxiliary_features
from tests.helpers import WAYS, assert_same, taking
from tests.solvers.systems import dense, jacobian_of, make, mixture, start
from tests.strategies import lans, models, points, seeds
from tests.thorough import examples

quiet_vmap = pytest.mark.filterwarnings("ignore:torch.searchsorted")  # vmap's choice of memory layout
smooth = st.integers(3, 9)


def state(unknowns: Unknowns, vector: Tensor) -> dict[str, Tensor]:
    """The parameters of a model as a function of the vector."""
    tensors = dict(unknowns.model.named_parameters())
    whole = torch.cat([torch.zeros(0).double(), *(tensors[name].detach().flatten() for name in unknowns.slices)])
    whole = vector if unknowns.active is None else whole.index_put((unknowns.active,), vector)
    return {name: whole[place].view(tensors[name].shape) for name, place in unknowns.slices.items()}


def rows_by_autograd(system: System, scalars: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """All weighted rows as a function of the vector, on jets by torch.func."""

    def rows(vector: Tensor) -> Tensor:
        calls, start = {}, 0
        for name, unknowns in system.models.items():
            values = state(unknowns, vector[start : start + len(unknowns)])
            calls[name] = lambda z, own=unknowns.model, values=values: functional_call(own, values, (z,))
            start += len(unknowns)
        parameters = dict(zip(system.scalars, vector[start:], strict=True))
        found = []
        for term in system.terms:
            jets = [{name: jet(call, x, term.needs) for name, call in calls.items()} for x in term.point_sets]
            found.append(measure(term, system.outputs(term, jets, parameters)).rows.flatten())
        return torch.cat(found)

    return rows


def check(system: System, scalars: Tensor | None = None) -> None:
    """The Jacobian against torch.func, and products with its factors against those with its entries."""
    vector = system.read(torch.zeros(0).double() if scalars is None else scalars)
    at = system.evaluate(vector)
    reference = rows_by_autograd(system)
    assert_same(at.flat, reference(vector))
    assert_same(jacobian_of(system, at), jacrev(reference)(vector).detach())
    for block in system.jacobian(at):
        check_products(block)


def check_products(block: Block) -> None:
    entries, generator = dense(block), torch.Generator().manual_seed(0)
    vector = torch.randn(len(entries), generator=generator, dtype=torch.float64)
    rows = torch.randn(block.rows.shape, generator=generator, dtype=torch.float64)
    assert_same(block.apply(vector), torch.einsum("p,prn->rn", vector, entries))
    assert_same(block.adjoint(rows), torch.einsum("prn,rn->p", entries, rows))
    assert_same(block.squares(), entries.square().sum((1, 2)))


@quiet_vmap
@examples(14)
@given(models(smooth), st.sampled_from(LEVELS), st.sampled_from(WAYS), seeds)
def test_any_model_and_level(model, needs, way, seed):
    weight = torch.rand(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    with taking(way):
        check(make([Residual(mixture, points(model, 4, seed), needs=needs, weight=weight)], model))


@quiet_vmap
@examples(8)
@given(models(smooth), st.sampled_from(LEVELS), st.data())
def test_any_trained_parameters(model, needs, data):
    """Also those that are not trained by default, and that have no closed form."""
    names = [name for name, _ in model.named_parameters()]
    trained = data.draw(st.sets(st.sampled_from(names), min_size=1))
    model.requires_grad_(False)
    for name in trained:
        model.get_parameter(name).requires_grad_(True)
    check(make([Residual(mixture, points(model, 4), needs=needs)], model))


@pytest.mark.parametrize(
    "name",
    [
        "layers.0.subnode_scale",
        "layers.0.subnode_bias",
        "layers.0.node_scale",
        "layers.1.node_bias",
        "layers.0.splines.scale_spline",
    ],
)
def test_parameters_without_closed_form_have_columns(name):
    model = MultKAN([2, [1, 1], 1], base="zero")
    model.requires_grad_(False).get_parameter(name).requires_grad_(True)
    system = make([Residual(mixture, points(model, 5), needs="laplacian")], model)
    check(system)
    assert (jacobian_of(system, start(system)).abs().amax(0) > 1e-6).all()
    assert system.size == model.get_parameter(name).numel()


@quiet_vmap
@examples(12)
@given(models(st.integers(1, 2)), st.sampled_from(LEVELS[:2]))
def test_low_degrees(model, needs):
    check(make([Residual(mixture, points(model, 4), needs=needs)], model))


@quiet_vmap
@examples(10)
@given(models(smooth, dtype=torch.float32))
def test_single_precision_models_are_differentiated_in_double(model):
    check(make([Residual(mixture, points(model, 4).double(), needs="laplacian")], model))


@pytest.mark.parametrize("needs", LEVELS)
def test_models_with_features(needs):
    features = auxiliary_features({"r2": "x**2 + y**2", "s": "sin(x*y)"}, ["x", "y"])
    model = MultKAN([4, [1, 1], 2], features=features)
    check(make([Residual(mixture, points(model, 4), needs=needs)], model))


@quiet_vmap
@examples(12)
@given(lans(smooth), st.sampled_from(LEVELS), seeds)
def test_any_lan_and_level(model, needs, seed):
    check(make([Residual(mixture, points(model, 4, seed), needs=needs)], model))


@quiet_vmap
@examples(6)
@given(lans(smooth), st.sampled_from(LEVELS), st.data())
def test_any_trained_parameters_of_a_lan(model, needs, data):
    """Also those that are not trained by default, and that have no closed form."""
    names = [name for name, _ in model.named_parameters()]
    trained = data.draw(st.sets(st.sampled_from(names), min_size=1))
    model.requires_grad_(False)
    for name in trained:
        model.get_parameter(name).requires_grad_(True)
    check(make([Residual(mixture, points(model, 4), needs=needs)], model))


def test_unknowns_of_a_lan_are_its_weights_biases_coefficients_and_scales():
    system = make([Residual(mixture, points(model := LAN([2, 3, 1]), 5), needs="laplacian")], model)
    assert system.size == 2 * 3 + 3 + 3 * 8 + 3 + 3 + 1
    splines = model.layers[1].splines
    assert splines is not None
    splines.mask[0, 0] = 0
    assert make([Residual(mixture, points(model, 5))], model).size == system.size - 8


@pytest.mark.parametrize("needs", LEVELS)
def test_perceptrons(needs):
    model = MLP([2, 4, 2])
    check(make([Residual(mixture, points(model, 4), needs=needs)], model))


@pytest.mark.parametrize("needs", LEVELS)
def test_other_modules_by_torch_func(needs):
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator)
    x = torch.linspace(-1, 1, 8, dtype=torch.float64).view(4, 2)
    check(make([Residual(mixture, x, needs=needs)], model))


def test_parameters_that_are_not_trained_have_no_columns():
    model = MultKAN([2, [1, 1], 1])
    model.layers[0].requires_grad_(False)
    system = make([Residual(mixture, points(model, 5), needs="laplacian")], model)
    assert system.size == 2 * 9
    check(system)


def test_masks_and_scales_are_factors():
    model = MultKAN([2, [1, 1], 1])
    generator = torch.Generator().manual_seed(0)
    for layer in model.layers:
        splines = layer.splines
        assert splines is not None
        with torch.no_grad():
            splines.mask.uniform_(0.5, 1.5, generator=generator)
            splines.scale_spline.uniform_(-2, -1, generator=generator)
    check(make([Residual(mixture, points(model, 5), needs="hessian")], model))


def test_several_terms_with_targets():
    model = MultKAN([2, 2, 2])
    x = points(model, 6)
    terms = [
        Residual(lambda jet, x: jet.laplacian.sum(1) - x[:, 0], x, needs="laplacian", weight=0.01),
        Residual(lambda jet, x, y: jet.value - y, x[:3], targets=x[:3].exp()),
        Residual(lambda jet, x, y: (jet.gradient - y).flatten(1), x[1:], needs="gradient", targets=torch.ones(5, 2, 2)),
    ]
    check(make(terms, model))


def test_tuples_of_points():
    """Periodicity, and an interface with a jump in proportion to the square of the flux."""
    model = MultKAN([2, [1, 1], 1], k=4)
    low = points(model, 5)

    def function(jets: tuple[Jet, Jet], x: tuple[Tensor, Tensor]) -> Tensor:
        first, second = jets
        jump = first.value[:, 0] - second.value[:, 0]
        return torch.stack([jump, first.gradient[:, 0, 0] ** 2 - jump * second.gradient[:, 0, 1] * x[1][:, 0]], 1)

    check(make([Residual(function, (low, low + 0.3), needs="gradient")], model))


def test_several_models_and_free_scalars():
    u, v = MultKAN([2, 2, 1]), MultKAN([2, [0, 1], 2], base="zero", grid=3)
    x = points(u, 6)

    def diffusion(jets: dict[str, Jet], x: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        return parameters["D"] * jets["u"].laplacian[:, 0] - jets["v"].value[:, 0] * parameters["rate"].exp()

    def coupling(jets: tuple[dict[str, Jet], dict[str, Jet]], x: tuple[Tensor, Tensor], _: dict[str, Tensor]) -> Tensor:
        here, there = jets
        return here["u"].value * there["v"].value

    terms = [Residual(diffusion, x, needs="laplacian"), Residual(coupling, (x, x.flip(0)))]
    system = make(terms, {"u": u, "v": v}, scalars=("D", "rate"))
    check(system, torch.tensor([0.7, -0.2], dtype=torch.float64))
    assert system.size == len(system.models["u"]) + len(system.models["v"]) + 2


def test_several_unknown_points_of_one_kind_share_no_rows():
    """One backward pass serves all rows: the Jacobian of each point alone is its part of the whole."""
    model = MultKAN([2, 2, 1])
    x = points(model, 5)
    system = make([Residual(mixture, x, needs="laplacian")], model)
    whole = jacobian_of(system, start(system)).view(2, 5, -1)
    for number in range(5):
        alone = make([Residual(mixture, x[number : number + 1], needs="laplacian", weight=0.2)], model)
        assert_same(jacobian_of(alone, start(alone)), whole[:, number])


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_chunks_of_points_make_no_difference(chunk):
    model = MultKAN([2, [2, 1], 1])
    terms = [Residual(mixture, points(model, 7), needs="hessian"), Residual(mixture, points(model, 4))]
    whole, parts = (make(terms, model, size) for size in (512, chunk))
    at, again = start(whole), start(parts)
    assert_same(again.flat, at.flat)
    assert again.loss == pytest.approx(at.loss, rel=1e-13)
    sizes = [(block.term, block.rows.shape[1]) for block in parts.jacobian(again)]
    assert max(size for _, size in sizes) <= chunk
    assert [sum(size for term, size in sizes if term == number) for number in (0, 1)] == [7, 4]
    assert_same(jacobian_of(parts, again), jacobian_of(whole, at))


def test_the_loss_is_a_sum_over_terms_of_weighted_means():
    model = MultKAN([2, 1])
    x = points(model, 6)
    weight = torch.arange(6, dtype=torch.float64)
    terms = [
        Residual(mixture, x, weight=weight, needs="gradient"),
        Residual(lambda jet, x: jet.value[:, 0], x, weight=3.0),
    ]
    system = make(terms, model)
    at = start(system)
    with torch.no_grad():
        first = mixture(model.jet(x, "gradient"), x)
        losses = [(weight * first.square().sum(1)).mean(), 3 * model(x).square().mean()]
    assert at.losses == pytest.approx([loss.item() for loss in losses])
    assert at.loss == pytest.approx(sum(at.losses))


def test_the_gradient_of_the_loss_is_twice_the_transposed_jacobian_times_the_rows():
    model = MultKAN([2, [1, 1], 1])
    x = points(model, 6)
    system = make([Residual(mixture, x, needs="laplacian")], model)
    (block,) = system.jacobian(start(system))
    mixture(model.jet(x), x).square().sum(1).mean().backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert_same(2 * block.adjoint(block.rows), gradient)


def test_residuals_of_free_scalars_alone():
    model = MultKAN([2, 1])
    prior = Residual(lambda jet, x, p: (p["c"] - 3).expand(len(x)), points(model, 4))
    check(make([prior], model, scalars=("c",)), torch.ones(1).double())


def test_networks_that_are_constant_by_construction():
    inner = LayerConfig(2, Width(2))
    outer = LayerConfig(2, Width(1), splines=False, symbols=(("zero", "zero"),))
    model = MultKAN.from_config(ModelConfig((inner, outer)))
    check(make([Residual(mixture, points(model, 4))], model))
