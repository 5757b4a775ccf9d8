"""What all surgery has in common: a new model, of the same kind, that shares nothing with the old one."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import kansci as ks
from kansci.surgery.carry import carry_inputs
from kansci.surgery.gather import Fresh, Part, gather_nodes
from kansci.surgery.symbolize import branch_edge, drop_splines, set_symbol, split_edge
from tests.helpers import assert_same
from tests.strategies import models, points, seeds

Surgery = Callable[[ks.MultKAN, Tensor], ks.MultKAN]

PUBLIC: dict[str, Surgery] = {
    "adapt_grid": lambda model, x: ks.adapt_grid(model, x, tolerance=10.0),
    "arrange": ks.arrange,
    "auto_prune": lambda model, x: ks.auto_prune(model, x, (x, model(x).detach() + 0.1 * x[:, :1])).model,
    "deepen": lambda model, x: ks.deepen(model, 1),
    "hold_constants": lambda model, x: ks.hold_constants(model),
    "perturb": lambda model, x: ks.perturb(model, edges="all", scale=0.1),
    "prune": lambda model, x: ks.prune(model, x, node=0.1, edge=0.1, inputs=True),
    "refine": lambda model, x: ks.refine(model, 8, tolerance=10.0),
    "restrict": lambda model, x: ks.restrict(model, 0, "[0,1]->[0]"),
    "swap": lambda model, x: ks.swap(model, 0, 0, 1),
    "thaw": lambda model, x: ks.thaw(model, x, tolerance=1e-1),
    "widen": lambda model, x: ks.widen(model, 1, 1, [2, 3]),
}
INNER: dict[str, Surgery] = {
    "branch_edge": lambda model, x: branch_edge(model, ks.Edge(0, 1, 1), [("sin", UNIT), ("x", UNIT)]),
    "carry_inputs": lambda model, x: carry_inputs(model),
    "deepen the outputs": lambda model, x: ks.deepen(model, len(model.layers) + 1),
    "drop_splines": lambda model, x: drop_splines(model, [ks.Edge(0, 0, 0)]),
    "gather_nodes": lambda model, x: gather_nodes(model, {0: [1, 0, 2], 1: [0, Fresh(), Part(1, (1,)), 1]}),
    "prune by magnitude": lambda model, x: ks.prune(model, x, by="magnitude"),
    "set_symbol": lambda model, x: set_symbol(model, ks.Edge(0, 0, 0), "exp"),
    "split_edge": lambda model, x: split_edge(model, ks.Edge(0, 0, 0))[0],
    "thaw one": lambda model, x: ks.thaw(model, x, [ks.Edge(0, 1, 0)], tolerance=1e-1),
}
SURGERY = PUBLIC | INNER
UNIT = (1.0, 0.0, 1.0, 0.0)
RECORDS = {"Pruning", "connection_cost", "modular"}
KEEPING: dict[str, Surgery] = {
    "arrange": ks.arrange,
    "deepen the inputs": lambda model, x: ks.deepen(model, 1),
    "deepen the outputs": lambda model, x: ks.deepen(model, len(model.layers) + 1),
    "carry_inputs": lambda model, x: carry_inputs(model),
    "hold_constants": lambda model, x: ks.hold_constants(model),
    "perturb": lambda model, x: ks.perturb(model, edges="all", scale=0.0),
    "prune nothing": lambda model, x: ks.prune(model, x, node=0.0, edge=0.0),
}


def both(dtype: torch.dtype, device: str = "cpu") -> ks.MultKAN:
    """A model with spline edges, symbolic edges and edges that are both, sums and a product."""
    model = ks.MultKAN([3, [1, 1], 2], grid=4, seed=1)
    edges = [ks.Edge(0, 0, 0), ks.Edge(0, 1, 0), ks.Edge(0, 2, 2), ks.Edge(1, 0, 1), ks.Edge(1, 1, 1)]
    for edge, name in zip(edges, ["sin", "exp", "x", "x**2", "tanh"], strict=True):
        model = set_symbol(model, edge, name, (0.7, 0.1, 0.5, -0.2))
    model = ks.perturb(model, edges=edges[::2], scale=0.1)
    return model.to(device=device, dtype=dtype)


def storages(model: ks.MultKAN) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}


@pytest.mark.parametrize("name", SURGERY)
@pytest.mark.parametrize(("dtype", "training"), [(torch.float64, False), (torch.float32, True)])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_surgery_leaves_its_input_and_returns_a_new_model_of_the_same_kind(name, training, dtype, device):
    model = both(dtype, device).train(training)
    model.layers[1].node_scale.requires_grad_(True)
    x = points(model, 60, stretch=1.0).to(device)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    config, trained = model.config, {key: p.requires_grad for key, p in model.named_parameters()}
    new = SURGERY[name](model, x)
    assert new is not model
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert (model.config, model.training) == (config, training)
    assert trained == {key: p.requires_grad for key, p in model.named_parameters()}
    assert not storages(new) & storages(model)
    assert {(t.dtype, t.device.type) for t in new.state_dict().values()} == {(dtype, device)}
    assert {module.training for module in new.modules()} == {training}
    assert new(x[:, new.inputs] if new.n_inputs < 3 else x).dtype == dtype
    assert name == "deepen the outputs" or new.layers[-1].node_scale.requires_grad


def test_all_public_surgery_is_tested():
    stub = Path(ks.__file__).with_suffix(".pyi").read_text()
    public = set(re.findall(r"^from \.surgery\.\w+ import (\w+)", stub, re.MULTILINE))
    assert public == PUBLIC.keys() | RECORDS


@given(st.sampled_from(sorted(KEEPING)), models(), seeds)
def test_the_function_is_kept(name, model, seed):
    x = points(model, 20, seed)
    before = model(x).detach()
    if (before.std(0) < 1e-9).any():
        return
    assert_same(KEEPING[name](model, x)(x).detach(), before, 1e-13)


@given(st.data(), models(st.integers(3, 9)), seeds)
def test_swapped_and_wider_networks_are_the_same_function(data, model, seed):
    if len(model.layers) == 1:
        return
    x = points(model, 20, seed)
    column = data.draw(st.integers(1, len(model.layers) - 1))
    width = model.config.columns[column]
    kind = range(width.n_sum) if width.n_sum else range(width.n_nodes)
    i, j = (data.draw(st.sampled_from(kind)) for _ in range(2))
    assert_same(ks.swap(model, column, i, j)(x).detach(), model(x).detach(), 1e-13)
    wider = ks.widen(model, column, data.draw(st.integers(1, 2)), data.draw(st.lists(st.integers(2, 4), max_size=2)))
    assert_same(wider(x).detach(), model(x).detach(), 1e-13)
