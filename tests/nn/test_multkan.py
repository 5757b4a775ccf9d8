import copy
import pickle
import random
import shutil
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kansci.config import LayerConfig, ModelConfig, Width
from kansci.errors import (
    ConfigError,
    DerivativeError,
    DtypeError,
    KansciError,
    ShapeError,
    UnknownFunctionError,
)
from kansci.jets import LEVELS, Jet
from kansci.nn.multkan import MultKAN, nearest_neighbors
from kansci.solvers.system import gradients
from tests.helpers import assert_same, assert_same_function, assert_same_jet
from tests.reference import Network
from tests.strategies import models, points, seeds
from tests.thorough import examples

smooth = st.integers(3, 9)
quiet_vmap = pytest.mark.filterwarnings("ignore:torch.searchsorted")  # vmap's choice of memory layout
every_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


def samples(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1


def trained(model: MultKAN) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def exact_jet(model: MultKAN, x: Tensor, needs: str) -> Jet:
    """From the definition of the network, in forty digits."""
    network, d = Network(model), model.n_inputs
    unit = torch.eye(d, dtype=torch.int).tolist()
    channels = [network.table(x)]
    if needs != "value":
        channels += [network.table(x, unit[i]) for i in range(d)]
    if needs == "hessian":
        pairs = [(i, j) for i in range(d) for j in range(i, d)]
        channels += [network.table(x, [a + b for a, b in zip(unit[i], unit[j], strict=True)]) for i, j in pairs]
    if needs in ("laplacian", "diagonal"):
        pure = [network.table(x, [2 * a for a in unit[i]]) for i in range(d)]
        channels += pure if needs == "diagonal" else [torch.stack(pure).sum(0)]
    return Jet(torch.stack([channel.T for channel in channels]), needs, d)


def typical(model: MultKAN, needs: str) -> list[float]:
    """The size of each channel of a jet."""
    return model.jet(points(model, 100), needs).channels.abs().amax((1, 2)).tolist()


@given(models(), seeds)
def test_values_agree_with_forty_digits(model, seed):
    x = points(model, 2, seed)
    assert_same(model(x), Network(model).table(x), scale=typical(model, "value")[0])


@given(models(dtype=torch.float32), seeds)
def test_single_precision_values_agree_with_forty_digits(model, seed):
    x = points(model, 2, seed)
    assert_same(model(x), Network(model).table(x), scale=typical(model, "value")[0])


@examples(10)
@given(models(smooth), st.sampled_from(LEVELS), seeds)
def test_jets_agree_with_forty_digits(model, needs, seed):
    x = points(model, 2, seed)
    assert_same_jet(model.jet(x, needs), exact_jet(model, x, needs), scales=typical(model, needs))


@examples(6)
@given(models(smooth, dtype=torch.float32), seeds)
def test_single_precision_jets_agree_with_forty_digits(model, seed):
    x = points(model, 2, seed)
    assert_same_jet(model.jet(x, "laplacian"), exact_jet(model, x, "laplacian"), scales=typical(model, "laplacian"))


@quiet_vmap
@given(models(smooth), st.sampled_from(LEVELS))
def test_jets_agree_with_torch_func_on_the_plain_forward(model, needs):
    x = points(model)
    found = model.jet(x, needs)
    value, *slopes = typical(model, needs)
    assert_same(found.value, model(x), scale=value)
    if needs != "value":
        assert_same(found.gradient, torch.vmap(torch.func.jacrev(model))(x), scale=max(slopes[: found.d]))
    if needs == "hessian":
        curvature = max(slopes[found.d :])
        assert_same(found.hessian, torch.vmap(torch.func.hessian(model))(x), scale=curvature)


@given(models(smooth), st.sampled_from(LEVELS))
def test_levels_agree_with_each_other(model, needs):
    x = points(model)
    found, all_of_it = model.jet(x, needs), model.jet(x, "hessian")
    for level in LEVELS[: LEVELS.index(needs) + 1]:
        assert_same(getattr(found, level), getattr(all_of_it, level))


@quiet_vmap
@given(models(smooth), st.sampled_from(LEVELS))
def test_one_backward_pass_through_a_jet_gives_the_gradient_of_the_parameters(model, needs):
    """Of a weighted sum of all channels, against torch.func through the plain forward."""
    x = points(model, 5)
    parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    weights = {level: torch.randn_like(getattr(model.jet(x, needs), level)) for level in _contents(needs)}

    def plain(parameters: dict[str, Tensor]) -> Tensor:
        def call(point: Tensor) -> Tensor:
            return torch.func.functional_call(model, parameters, (point,))

        loss = (weights["value"] * call(x)).sum()
        if "gradient" in weights:
            loss = loss + (weights["gradient"] * torch.vmap(torch.func.jacrev(call))(x)).sum()
        if "hessian" in weights:
            loss = loss + (weights["hessian"] * torch.vmap(torch.func.hessian(call))(x)).sum()
        elif "diagonal" in weights or "laplacian" in weights:
            diagonal = torch.vmap(torch.func.hessian(call))(x).diagonal(dim1=-2, dim2=-1)
            weight = weights["laplacian"][..., None] if needs == "laplacian" else weights["diagonal"]
            loss = loss + (weight * diagonal).sum()
        return loss

    expected = torch.func.grad(plain)(parameters)
    found = model.jet(x, needs)
    total = torch.stack([(weights[level] * getattr(found, level)).sum() for level in weights]).sum()
    actual = gradients(total, [model.get_parameter(name) for name in parameters])
    scale = max(gradient.abs().max().item() for gradient in expected.values())
    for name, own in zip(parameters, actual, strict=True):
        torch.testing.assert_close(own, expected[name], rtol=0, atol=1e-12 * scale)


def _contents(needs: str) -> tuple[str, ...]:
    """The levels whose channels make up a jet."""
    second = (needs,) if needs in ("laplacian", "diagonal", "hessian") else ()
    return ("value", *(("gradient",) if needs != "value" else ()), *second)


@given(models(smooth))
def test_gradients_with_respect_to_the_points_agree_with_torch_func(model):
    x = points(model, 5)
    expected = torch.func.grad(lambda z: model(z).square().sum())(x)
    (found,) = gradients(model.jet(x.requires_grad_(), "value").value.square().sum(), [x])
    assert_same(found, expected)


def test_closed_form():
    """exp(sin(pi x) + y^2) and its Laplacian."""
    inner = LayerConfig(2, Width(1), splines=False, symbols=(("sin", "x**2"),))
    outer = LayerConfig(1, Width(1), splines=False, symbols=(("exp",),))
    model = MultKAN.from_config(ModelConfig((inner, outer)))
    assert model.layers[0].symbols is not None
    with torch.no_grad():
        model.layers[0].symbols.affine[0, 0, 0] = torch.pi
    x, y = samples(20, 2).T
    value = ((torch.pi * x).sin() + y**2).exp()
    slope = torch.stack([torch.pi * (torch.pi * x).cos(), 2 * y], 1)
    found = model.jet(torch.stack([x, y], 1))
    assert_same(found.value[:, 0], value)
    assert_same(found.gradient[:, 0], value[:, None] * slope)
    laplacian = value * (slope.square().sum(1) - torch.pi**2 * (torch.pi * x).sin() + 2)
    assert_same(found.laplacian[:, 0], laplacian)


@pytest.mark.parametrize("needs", LEVELS[2:])
def test_second_derivatives_need_cubic_splines(needs):
    with pytest.raises(DerivativeError, match="degree k >= 3, got k=2; build with k=3"):
        MultKAN([2, 2, 1], k=2).jet(samples(3, 2), needs)
    assert MultKAN([2, 2, 1], k=2).jet(samples(3, 2), "gradient").gradient.shape == (3, 1, 2)


@given(models(), st.lists(st.integers(0, 3), max_size=3))
def test_points_may_have_any_leading_dimensions(model, shape):
    flat = points(model, int(np.prod(shape, dtype=int)))
    x = flat.reshape(*shape, model.n_inputs)
    assert model(x).shape == (*shape, model.n_outputs)
    assert torch.equal(model(x).flatten(), model(flat).flatten())


@given(models(smooth), st.sampled_from(LEVELS))
def test_there_may_be_no_points(model, needs):
    x = points(model, 0)
    found, expected = model.jet(x, needs), model.jet(points(model, 1), needs)
    assert model(x).shape == found.value.shape == (0, model.n_outputs)
    assert found.channels.shape == (*expected.channels.shape[:2], 0)
    found.channels.sum().backward()


@quiet_vmap
@given(models(smooth))
def test_vmap_and_hessian_apply(model):
    x = points(model, 4)
    assert_same(torch.vmap(model)(x), model(x))
    assert_same(torch.func.hessian(model)(x[0]), model.jet(x[:1], "hessian").hessian[0])


@given(models())
def test_copies_and_pickles_are_the_same_function(model):
    x = points(model)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
        assert torch.equal(copied(x), model(x))
        assert copied.config == model.config
        with torch.no_grad():
            for parameter in copied.parameters():
                parameter.add_(1)
        assert not torch.equal(copied(x), model(x))


@given(models())
def test_configuration_and_tensors_are_all_there_is(model):
    again = MultKAN.from_config(ModelConfig.from_json(model.config.to_json())).to(model.dtype)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(points(model)), model(points(model)))


@every_dtype
def test_export_keeps_the_batch_size_free(dtype, unchecked):
    model = MultKAN([2, [2, [2, 3]], 2], k=4, dtype=dtype)
    x = samples(7, 2).to(dtype)
    batch = torch.export.Dim("batch", min=2, max=1024)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: batch},)).module()
    assert_same_function(program, model, samples(50, 2).to(dtype))


COMPILE = """
import sys, torch
from kansci import MultKAN
model = MultKAN([2, [1, [2]], 1], dtype=torch.float32)
compiled = torch.compile(model, backend=sys.argv[1], fullgraph=True)
x = torch.rand(8, 2, requires_grad=True)
for f in (model, compiled):
    f(x).square().sum().backward()
(a, b), x.grad = (f(x) for f in (model, compiled)), None
raise SystemExit(int(not torch.allclose(a, b, atol=1e-6)))
"""


@pytest.mark.parametrize(
    "backend",
    [
        "eager",
        pytest.param(
            "inductor",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler"),
            ],
        ),
    ],
)
def test_models_compile_in_one_graph(backend):
    done = subprocess.run([sys.executable, "-c", COMPILE, backend], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_first_call_may_be_under_inference_mode():
    script = """
import torch
with torch.inference_mode():
    from kansci import MultKAN
    MultKAN([2, 1])(torch.zeros(1, 2, dtype=torch.float64))
MultKAN([2, 1])(torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)).sum().backward()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_seeds_are_reproducible_and_global_state_is_left_alone(unchecked):
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    x = samples(5, 2)
    first, again, other = (MultKAN([2, [2, 1], 1], seed=seed)(x) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert states[2] == str(np.random.get_state())  # noqa: NPY002
    assert torch.get_default_dtype() == torch.float32


def test_the_list_of_widths_is_left_alone():
    inner = [3, [2, 3]]
    width = [2, inner, 1]
    model = MultKAN(width)
    assert (width, inner) == ([2, inner, 1], [3, [2, 3]])
    inner[0], width[2] = 9, 9
    assert model.config.columns == (Width(2), Width(3, (2, 3)), Width(1))


@pytest.mark.parametrize(("grid", "k"), [(1, 1), (5, 3), (20, 9)])
@pytest.mark.parametrize("width", [[2, 5, 1], [3, 2, 2, 2]])
def test_parameters_are_counted_as_in_the_paper(width, grid, k):
    """Edges x (G + k + 1), the paper's N^2 L (G + k) without the base; a product node adds none."""
    edges = sum(a * b for a, b in pairwise(width))
    assert trained(MultKAN(width, grid=grid, k=k)) == edges * (grid + k + 1)
    assert trained(MultKAN(width, grid=grid, k=k, base="zero")) == edges * (grid + k)


def test_product_nodes_cost_no_parameters():
    assert trained(MultKAN([2, 4, 1])) - 9 * 4 == trained(MultKAN([2, [2, 1], 1])) - 9 * 3


@pytest.mark.parametrize(
    ("domain", "low", "high"),
    [
        ((-1, 1), [-1, -1], [1, 1]),
        ([(0, 1), (2, 5)], [0, 2], [1, 5]),
        (((0.0, 1.0), torch.tensor([2.0, 5.0])), [0, 2], [1, 5]),
    ],
)
def test_domains_are_in_raw_units(domain, low, high):
    found = MultKAN([2, 2, 1], domain=domain).domain
    assert [end.tolist() for end in found] == [low, high]


@every_dtype
def test_hidden_domains_hold_the_activations_with_room_to_spare(dtype):
    model = MultKAN([2, [3, 1], 2, 1], domain=[(0.0, 1.0), (300.0, 310.0)], dtype=dtype)
    nodes = points(model, 2000, stretch=1.0)
    for layer in model.layers:
        assert layer.splines is not None
        low, high = layer.splines.domain
        assert ((nodes >= low) & (nodes <= high)).double().mean() > 0.999
        assert ((nodes.amax(0) - nodes.amin(0)) > 0.5 * (high - low)).all()
        nodes = layer(nodes.T).T


def test_sparse_models_join_neighbors_only():
    model = MultKAN([4, 2, 4], sparse=True)
    assert model.layers[0].splines is not None
    assert model.layers[0].splines.mask.tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]
    jet = model.jet(samples(5, 4), "gradient")
    assert (jet.gradient[:, :2, 2:] == 0).all()
    assert (jet.gradient[:, 2:, 2:] != 0).all()


@given(st.integers(1, 8), st.integers(1, 8))
def test_no_node_is_left_alone_by_nearest_neighbors(targets, sources):
    mask = nearest_neighbors(targets, sources)
    assert (mask.sum(0) >= 1).all()
    assert (mask.sum(1) >= 1).all()
    assert mask.sum() <= targets + sources
    assert torch.equal(mask, mask.flip(0, 1)) or targets % 2 or sources % 2


def test_periodic_inputs_repeat():
    model = MultKAN([2, 3, 1], grid=8, periodic=[0], domain=[(0.0, 2.0), (0.0, 1.0)])
    x = samples(9, 2)
    assert_same_function(lambda z: model(z + torch.tensor([6.0, 0.0])), model, x)
    assert not torch.allclose(model(x + torch.tensor([0.0, 6.0])), model(x))
    assert model.domain[0].tolist() == [-torch.inf, 0]


def test_repr_says_what_it_is():
    model = MultKAN([2, [3, 1], 1], grid=7, k=4, dtype=torch.float32)
    assert repr(model) == "MultKAN([2, [3, [2]], 1], grid=7, k=4, 168 parameters, torch.float32)"
    mixed = ModelConfig((LayerConfig(1, Width(1), grid=2), LayerConfig(1, Width(1), grid=9, k=5)))
    assert repr(MultKAN.from_config(mixed)).startswith("MultKAN([1, 1, 1], grid=[2, 9], k=[3, 5], ")


@every_dtype
def test_tensors_have_the_dtype_asked_for(dtype):
    model = MultKAN([2, [2, 1], 1], dtype=dtype)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {dtype}
    x = samples(3, 2).to(dtype)
    assert model(x).dtype == model.jet(x, "hessian").channels.dtype == model.dtype == dtype


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("options", [{}, {"grid": 8, "periodic": [0, 1]}, {"base": "zero"}])
def test_diverged_models_give_nan_and_no_error(value, options):
    model = MultKAN([2, [2, 1], 1], **options)
    assert model(torch.full((3, 2), value).double()).isnan().all()
    with torch.no_grad():
        for layer in model.layers:
            assert layer.splines is not None
            layer.splines.coef.fill_(1e200)
    for _ in range(2):
        assert not model(samples(4, 2)).isfinite().all()
        assert not model.jet(samples(4, 2), "laplacian").channels.isfinite().all()
        with torch.no_grad():
            assert not model.jet(samples(4, 2), "laplacian").channels.isfinite().all()
            model.layers[0].splines.coef.fill_(value)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (
            torch.zeros(4, 3).double(),
            ShapeError,
            r"shape \(n, 2\) .* got \(4, 3\); did you forget AuxiliaryFeatures",
        ),
        (torch.zeros(()).double(), ShapeError, r"shape \(n, 2\) .* got \(\)"),
        (torch.zeros(4, 2), DtypeError, "torch.float64 .* got torch.float32; convert with torch.as_tensor"),
        (torch.zeros(4, 2, dtype=torch.int64), DtypeError, "got torch.int64; convert"),
        (np.zeros((4, 2)), DtypeError, "got ndarray; convert"),
        ([[0.0, 0.0]], DtypeError, "got list; convert"),
    ],
)
def test_points_of_the_wrong_kind_are_refused(x, error, message, unchecked):
    for call in (MultKAN([2, 1]), MultKAN([2, 1]).jet):
        with pytest.raises(error, match=message) as caught:
            call(x)
        assert isinstance(caught.value, KansciError)


@pytest.mark.parametrize("shape", [(2,), (3, 4, 2)])
def test_jets_take_one_point_a_row(shape, unchecked):
    with pytest.raises(ShapeError, match=r"expected x of shape \(n, 2\), got .*; pass one point a row"):
        MultKAN([2, 1]).jet(torch.zeros(shape).double())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"width": [2]}, ConfigError, r"expected a width .* got \[2\]"),
        ({"width": [2, 0, 1]}, ConfigError, "at least one node"),
        ({"width": 3}, ConfigError, "expected a width .* got 3"),
        ({"width": [2, [3, [1]], 1]}, ConfigError, "two or more"),
        ({"grid": 0}, ConfigError, "expected grid .* got 0"),
        ({"grid": 2.5}, ConfigError, "expected grid .* got 2.5"),
        ({"k": 10}, ConfigError, "from 1 to 9, got 10"),
        ({"base": "silly"}, UnknownFunctionError, "expected a function of the library, got 'silly'"),
        ({"base": "log"}, ConfigError, "smooth"),
        ({"periodic": [2]}, ConfigError, "from 0 to 1"),
        ({"periodic": 0}, ConfigError, "from 0 to 1"),
        ({"periodic": [0], "grid": 3}, ConfigError, "use grid=4"),
        ({"domain": (1, -1)}, ConfigError, r"low < high, .* got \(1, -1\)"),
        ({"domain": (0, 0)}, ConfigError, "low < high"),
        ({"domain": (0, torch.inf)}, ConfigError, "low < high"),
        ({"domain": [(0, 1)] * 3}, ConfigError, "2 such pairs"),
        ({"domain": "unit"}, ConfigError, "expected domain"),
        ({"domain": None}, ConfigError, "expected domain"),
        ({"domain": [(0, 1), (0,)]}, ConfigError, "expected domain"),
        ({"dtype": torch.float16}, DtypeError, "float64 or torch.float32, got torch.float16"),
        ({"dtype": float}, DtypeError, "float64 or torch.float32"),
        ({"device": "mps"}, DtypeError, "mps, which has none"),
        ({"device": "abacus"}, DtypeError, "device such as 'cpu' .* got 'abacus'"),
    ],
)
def test_bad_arguments_are_refused(options, error, message, unchecked):
    arguments: dict[str, Any] = {"width": [2, 2, 1], **options}
    with pytest.raises(error, match=message) as caught:
        MultKAN(**arguments)
    assert isinstance(caught.value, KansciError)
