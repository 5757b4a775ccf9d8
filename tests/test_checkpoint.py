import copy
import json
import pickle
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import kansci as ks
from kansci import checkpoint, sealed
from kansci.errors import CheckpointError, DtypeError
from kansci.sealed import Group
from tests.strategies import lans, models, points, seeds

DTYPES = (torch.float64, torch.float32)
COEF = "layers.0.splines.coef"


def bits(tensor: Tensor) -> Tensor:
    return tensor.detach().reshape(-1).view(torch.int64 if tensor.dtype == torch.float64 else torch.int32)


@torch.no_grad()
def scramble(model: nn.Module, seed: int) -> None:
    """Any bits in every tensor: NaN, infinities, -0.0 and denormals among them; any parameter frozen."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.state_dict().values():
        raw = bits(tensor)
        raw.copy_(torch.randint(-(2**31), 2**31, raw.shape, generator=generator) * (1 + 2**32))
        raw[:1] = torch.tensor([-0.0], dtype=tensor.dtype).view(raw.dtype)
    for parameter in model.parameters():
        parameter.requires_grad_(bool(torch.rand(1, generator=generator) < 0.5))


def assert_identical(actual: nn.Module, expected: nn.Module) -> None:
    assert repr(actual) == repr(expected)
    assert list(actual.state_dict()) == list(expected.state_dict())
    for name, tensor in expected.state_dict().items():
        loaded = actual.state_dict()[name]
        assert (loaded.dtype, loaded.shape, loaded.device.type) == (tensor.dtype, tensor.shape, "cpu")
        assert torch.equal(bits(loaded), bits(tensor))
    for (name, loaded), (other, parameter) in zip(actual.named_parameters(), expected.named_parameters(), strict=True):
        assert (name, loaded.requires_grad) == (other, parameter.requires_grad)


def with_features(dtype: torch.dtype = torch.float64) -> ks.MultKAN:
    features = ks.auxiliary_features({"r": "sqrt(x**2 + y**2)", "p": "x*y"}, ["x", "y"])
    return ks.MultKAN([4, [2, 1], 1], k=4, domain=[(0.5, 1), (-1, 1)], features=features, dtype=dtype)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.h5"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A path, for tests that write it many times."""
    return tmp_path_factory.mktemp("many") / "model.h5"


@given(models(), st.sampled_from(DTYPES), seeds)
def test_any_network_comes_back_to_the_bit(file, model, dtype, seed):
    model.to(dtype)
    scramble(model, seed)
    ks.save(file, model)
    loaded = ks.load(file)
    assert_identical(loaded, model)
    assert loaded.config == model.config


@given(models())
def test_any_network_keeps_its_function(file, model):
    ks.save(file, model)
    loaded, x = ks.load(file), points(model)
    assert torch.equal(loaded(x), model(x))
    assert torch.equal(loaded.jet(x, "gradient").channels, model.jet(x, "gradient").channels)


@pytest.mark.parametrize("dtype", DTYPES)
def test_features_come_back(path, dtype):
    model = with_features(dtype)
    ks.save(path, model)
    loaded = ks.load(path)
    x = torch.rand(5, 2, dtype=dtype, generator=torch.Generator().manual_seed(0)) / 2 + 0.5
    assert_identical(loaded, model)
    assert repr(loaded.features) == repr(model.features)
    assert torch.equal(loaded.jet(x).channels, model.jet(x).channels)


def test_features_alone_come_back(path):
    features = with_features().features
    assert isinstance(features, ks.AuxiliaryFeatures)
    ks.save(path, features)
    assert_identical(ks.load(path), features)


@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=4),
    st.sampled_from(["tanh", "sin", "x**7"]),
    st.sampled_from(DTYPES),
    seeds,
)
def test_perceptron_comes_back(file, width, activation, dtype, seed):
    model = ks.MLP(width, activation=activation, dtype=dtype)
    scramble(model, seed)
    ks.save(file, model)
    assert_identical(ks.load(file), model)


@given(lans(), st.sampled_from(DTYPES), seeds)
def test_any_lan_comes_back_to_the_bit(file, model, dtype, seed):
    x = points(model)
    ks.save(file, model)
    assert torch.equal(ks.load(file)(x), model(x))
    model.to(dtype)
    scramble(model, seed)
    ks.save(file, model)
    assert_identical(ks.load(file), model)
    assert ks.load(file).config == model.config


def test_several_models_come_back_in_order(path):
    solution = {"u": ks.MultKAN([2, 3, 1]), "p": ks.MLP([2, 3, 1]), "a": with_features(), "l": ks.LAN([2, 3, 1])}
    ks.save(path, solution)
    loaded = ks.load(path)
    assert list(loaded) == list(solution)
    for name, model in solution.items():
        assert_identical(loaded[name], model)


@pytest.mark.parametrize("network", [ks.MultKAN, ks.LAN])
def test_changed_grids_come_back(network, path):
    x = torch.rand(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) ** 2
    model = ks.adapt_grid(ks.refine(network([2, 3, 1]), 10), x, tolerance=1.0)
    ks.save(path, model)
    assert_identical(ks.load(path), model)
    assert torch.equal(ks.load(path)(x), model(x))


def test_width_of_numpy_comes_back(path):
    model = ks.MultKAN([*np.array([2, 3, 1])])
    ks.save(path, model)
    assert_identical(ks.load(path), ks.MultKAN([2, 3, 1]))


def test_loaded_model_can_be_trained(path):
    ks.save(path, ks.MultKAN([1, 1]))
    model = ks.load(path)
    model(torch.ones(3, 1, dtype=torch.float64)).sum().backward()
    assert model.layers[0].splines.coef.grad.abs().sum() > 0
    assert model.layers[0].splines.scale_spline.grad is None


@pytest.mark.gpu
def test_model_of_another_device_loads_on_the_cpu(path):
    model = ks.MultKAN([2, 3, 1], device="cuda")
    ks.save(path, model)
    assert_identical(ks.load(path), ks.MultKAN([2, 3, 1]))
    assert ks.load(path, device="cuda").layers[0].splines.coef.is_cuda


def test_device_without_double_precision_is_refused(path):
    ks.save(path, ks.MultKAN([1, 1]))
    with pytest.raises(DtypeError, match="mps"):
        ks.load(path, device="mps")


def test_equal_models_make_equal_files(tmp_path):
    for name in "ab":
        ks.save(tmp_path / name, ks.MultKAN([2, 3, 1]), note="one")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_file_tells_what_it_is_to_any_reader_of_hdf5(path):
    ks.save(path, ks.MultKAN([2, 3, 1]), note="für später")
    with h5py.File(path) as file:
        found: dict[str, Any] = {name: file[name] for name in ("about", "model/about", f"model/{COEF}")}
        about, model = (json.loads(found[name][()]) for name in ("about", "model/about"))
        assert found[f"model/{COEF}"].shape == (3, 2, 8)
    assert about == {"kansci": ks.__version__, "torch": torch.__version__, "note": "für später"}
    assert (model["kind"], model["config"]["layers"][0]["grid"]) == ("MultKAN", 5)
    assert COEF in model["trained"]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])  # noqa: S301
@pytest.mark.parametrize("make", [lambda: ks.MultKAN([2, [2, 1], 1]), with_features, lambda: ks.MLP([2, 3, 1])])
def test_models_can_be_copied_and_pickled(make, duplicate):
    model = make()
    assert_identical(duplicate(model), model)


def test_damage_is_an_error(path):
    ks.save(path, ks.MultKAN([1, 1]))
    whole = path.read_bytes()
    for place in range(3, len(whole), 997):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        with pytest.raises(CheckpointError):
            ks.load(path)


# Files undamaged by their digest whose parts do not belong together


def changed(about: dict | None = None, tensors: dict | None = None, **layer: object) -> Group:
    """A file of a small model with parts of its description, of its first layer or of its tensors changed."""
    model = checkpoint.pack(ks.MultKAN([2, 3, 1]))
    description = copy.deepcopy(model.about)
    description["config"]["layers"][0].update(layer)
    kept = {name: value for name, value in (model.tensors | (tensors or {})).items() if value is not None}
    return Group({}, groups={"model": Group(description | (about or {}), kept)})


CONTRADICTIONS = {
    "unknown kind": lambda: changed({"kind": "Transformer"}),
    "no kind": lambda: Group({}, groups={"model": Group()}),
    "no model": Group,
    "unknown part": lambda: changed({"parts": {"engine": changed().groups["model"].about}}),
    "no layers": lambda: changed({"config": {"layers": []}}),
    "unknown base": lambda: changed(base="moon"),
    "unknown symbol": lambda: changed(symbols=[["moon", ""]] * 3),
    "symbols that do not fit": lambda: changed(symbols=[["x"]] * 3),
    "unknown option": lambda: changed(color="red"),
    "larger grid": lambda: changed(grid=6),
    "enormous grid": lambda: changed(grid=10**18),
    "enormous column": lambda: changed(n_in=10**9, out={"n_sum": 10**9, "arities": []}),
    "negative column": lambda: changed(n_in=-2),
    "text for a number": lambda: changed(n_in="2"),
    "degree out of range": lambda: changed(k=10),
    "missing tensor": lambda: changed(tensors={COEF: None}),
    "further tensor": lambda: changed(tensors={"more": torch.zeros(3)}),
    "other shape": lambda: changed(tensors={COEF: torch.zeros(2, 3, 8).double()}),
    "whole coefficients": lambda: changed(tensors={COEF: torch.zeros(3, 2, 8, dtype=torch.int64)}),
    "tensors of both precisions": lambda: changed(tensors={COEF: torch.zeros(3, 2, 8)}),
    "whole masks": lambda: changed(tensors={"layers.0.splines.mask": torch.ones(3, 2, dtype=torch.int64)}),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradiction_is_refused(path, name):
    sealed.write(path, CONTRADICTIONS[name](), checkpoint.FORMAT_VERSION)
    with pytest.raises(CheckpointError, match=f"expected {path} to hold a model"):
        ks.load(path)


@pytest.mark.parametrize(
    "config",
    [
        {"grids": []},
        {"grids": [[5, 3, True]] * 2},
        {"grids": [[6, 3, True]]},
        {"grids": [[5, 10, True]]},
        {"grids": [[10**18, 3, True]]},
        {"grids": [5]},
        {"activation": "moon"},
        {"width": [2, 4, 1]},
        {"width": [2, "3", 1]},
        {"color": "red", "grids": None},
    ],
    ids=str,
)
def test_contradiction_in_a_lan_is_refused(path, config):
    packed = checkpoint.pack(ks.LAN([2, 3, 1]))
    about = {**packed.about, "config": packed.about["config"] | config}
    sealed.write(path, Group({}, groups={"model": Group(about, packed.tensors)}), checkpoint.FORMAT_VERSION)
    with pytest.raises(CheckpointError, match=f"expected {path} to hold a model"):
        ks.load(path)


def test_undisturbed_description_is_accepted(path):
    sealed.write(path, changed(), checkpoint.FORMAT_VERSION)
    assert_identical(ks.load(path), ks.MultKAN([2, 3, 1]))


def test_nothing_large_is_allocated_for_a_small_file(path):
    resource = pytest.importorskip("resource")
    sealed.write(path, changed(n_in=4000, out={"n_sum": 4000, "arities": []}), checkpoint.FORMAT_VERSION)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError):
        ks.load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # the coefficients: 1 GB


def test_newer_version_is_refused(path):
    sealed.write(path, changed(), checkpoint.FORMAT_VERSION + 1)
    with pytest.raises(CheckpointError, match="update kansci"):
        ks.load(path)


def test_older_version_is_migrated(path, monkeypatch):
    old = Group({}, groups={"network": changed().groups["model"]})
    sealed.write(path, old, checkpoint.FORMAT_VERSION)

    def rename(root: Group) -> Group:
        return Group(root.about, groups={"model": root.groups["network"]})

    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", checkpoint.FORMAT_VERSION + 1)
    monkeypatch.setattr(checkpoint, "MIGRATIONS", {checkpoint.FORMAT_VERSION - 1: rename})
    assert_identical(ks.load(path), ks.MultKAN([2, 3, 1]))


def test_every_older_version_has_a_migration():
    assert sorted(checkpoint.MIGRATIONS) == list(range(1, checkpoint.FORMAT_VERSION))


@pytest.mark.parametrize("kind", [nn.Linear, type("Deep", (ks.MLP,), {}), type("MLP", (ks.MLP,), {})])
def test_unknown_model_is_refused(path, kind):
    model = nn.Linear(1, 1) if kind is nn.Linear else kind([1, 1])
    with pytest.raises(CheckpointError, match=f"got {type(model).__name__}"):
        ks.save(path, model)
    assert not path.exists()


def test_other_precision_is_refused(path):
    with pytest.raises(CheckpointError, match=r"got .* of torch\.float16"):
        ks.save(path, ks.MultKAN([1, 1]).half())
    assert not path.exists()


def test_failure_leaves_the_former_model_and_nothing_else(path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    ks.save(path, ks.MultKAN([2, 3, 1]))
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(CheckpointError, match="No space left"):
        ks.save(path, ks.MultKAN([2, 4, 1]))
    assert list(path.parent.iterdir()) == [path]
    assert_identical(ks.load(path), ks.MultKAN([2, 3, 1]))
