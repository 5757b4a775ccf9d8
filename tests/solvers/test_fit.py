import math
from typing import Any

import pytest
import torch

from kansci.errors import ConfigError, DataError, DomainError, KansciError, ShapeError
from kansci.nn.lan import LAN
from kansci.nn.mlp import MLP
from kansci.nn.multkan import MultKAN
from kansci.solvers.data import Dataset
from kansci.solvers.fit import fit


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def wave(x):
    return (2 * x).sin() + x.exp() / 2


X = torch.linspace(-1, 1, 401, dtype=torch.float64)[:, None]
FINE = torch.linspace(-1, 1, 2003, dtype=torch.float64)[:, None]


def fitted(k: int, grid: int) -> MultKAN:
    model = MultKAN([1, 1], grid=grid, k=k, base="zero")
    return fit(model, (X, wave(X)), progress=False).model


def orders(k: int, grids: tuple[int, ...], needs: str = "laplacian") -> torch.Tensor:
    """Observed orders of convergence of value, first and second derivative."""
    x = FINE.T
    truth = torch.stack([wave(x), 2 * (2 * x).cos() + x.exp() / 2, x.exp() / 2 - 4 * (2 * x).sin()])
    errors = []
    for grid in grids:
        found = fitted(k, grid).jet(FINE, needs).channels.detach()
        errors.append((found - truth).square().mean((1, 2)).sqrt())
    return (errors[0] / errors[-1]).log2() / math.log2(grids[-1] / grids[0])


def test_cubic_splines_converge_with_order_four():
    assert orders(3, (5, 40))[0] >= 3.9
    assert orders(3, (20, 40))[0] >= 3.9


@pytest.mark.parametrize(("k", "grids"), [(3, (10, 40)), (5, (5, 15)), (7, (8, 16))])
def test_derivatives_lose_one_order_each(k, grids):
    expected = k + 0.9 - torch.arange(3)
    assert (orders(k, grids) >= expected).all()


@pytest.mark.parametrize("model", [MultKAN([1, 1]), LAN([1, 4, 1]), MLP([1, 8, 1])], ids=["KAN", "LAN", "MLP"])
def test_targets_are_standardized_by_the_output_nodes(model):
    y = 300 + 40 * wave(X)
    solution = fit(model, (X, y), progress=False)
    last = solution.model.layers[-1]
    assert last.node_scale.tolist() == pytest.approx(y.std(0, correction=0).tolist(), rel=1e-12)
    assert last.node_bias.tolist() == pytest.approx(y.mean(0).tolist(), rel=1e-12)
    assert (solution.model(X) - y).abs().max() < 40 * 1e-3
    assert model.layers[-1].node_scale.tolist() == [1.0]


def test_the_loss_does_not_depend_on_units():
    raw, scaled = (fit(MultKAN([1, 1]), (X, s * wave(X)), steps=1, progress=False) for s in (1.0, 1e5))
    assert scaled.history.loss == pytest.approx(raw.history.loss, rel=1e-6)


def test_the_first_fit_alone_sets_the_scale():
    first = fit(MultKAN([1, 1]), (X, 100 * wave(X)), progress=False).model
    second = fit(first, (X, 100 * wave(X) + 5), progress=False)
    assert second.model.layers[-1].node_scale.tolist() == first.layers[-1].node_scale.tolist()
    assert second.model.layers[-1].node_bias.tolist() == first.layers[-1].node_bias.tolist()
    assert (second.model(X) - 100 * wave(X) - 5).abs().max() < 0.1


def test_without_normalization_the_loss_is_in_raw_units():
    solution = fit(MultKAN([1, 1], grid=1), (X, 100 * wave(X)), normalize=False, progress=False)
    assert solution.model.layers[-1].node_scale.tolist() == [1.0]
    rest = (solution.model(X) - 100 * wave(X)).square().mean().item()
    assert solution.history.loss[-1] == pytest.approx(rest, rel=1e-2)


def test_constant_targets_are_fitted():
    assert (fit(MultKAN([1, 1]), (X, torch.full_like(X, 7.0)), progress=False).model(X) - 7).abs().max() < 1e-6


def test_several_targets():
    y = torch.cat([wave(X), 1000 * X.cos()], 1)
    model = fit(MultKAN([1, 2], grid=10), (X, y), progress=False).model
    assert ((model(X) - y).abs().amax(0) < torch.tensor([1e-4, 0.1])).all()


@pytest.mark.parametrize("points", [7, 4096])
def test_inputs_in_raw_units(points, monkeypatch):
    monkeypatch.setattr("kansci.solvers.fit.POINTS", points)
    data = Dataset.from_function(
        lambda x: (x[:, 0] / 1000).sin() * x[:, 1] / 1e3, [(0, 2000), (0, 5e-3)], 400, n_test=99
    )
    solution = fit(MultKAN([2, 3, 1], domain=data.domain), data, steps=50, progress=False)
    assert solution.error_estimate is not None
    assert data.x_test is not None
    assert data.y_test is not None
    assert solution.error_estimate < 1e-3
    expected = (solution.model(data.x_test) - data.y_test).norm() / data.y_test.norm()
    assert solution.error_estimate == pytest.approx(expected.item(), rel=1e-12)


def test_weights_say_which_samples_count():
    x, y = torch.cat([X, X]), torch.cat([wave(X), wave(X) + 1])
    weight = torch.cat([torch.ones(401), torch.zeros(401)])
    model = fit(MultKAN([1, 1]), Dataset(x, y, weight=weight), progress=False).model
    assert (model(X) - wave(X)).abs().max() < 1e-3


def test_grids_are_stages():
    solution = fit(MultKAN([1, 1], grid=5), (X, wave(X)), grids=(5, 20), progress=False)
    assert solution.model.layers[0].config.grid == 20
    assert solution.history.loss[-1] < solution.history.loss[solution.history.stage == 0][-1] / 1000


def test_perceptrons_are_fitted():
    solution = fit(MLP([1, 8, 1]), (X, wave(X)), steps=40, progress=False)
    assert (solution.model(X) - wave(X)).abs().max() < 1e-2


def test_learnable_activations_are_fitted():
    solution = fit(LAN([1, 4, 1], k=5), (X, wave(X)), grids=(5, 10), steps=30, progress=False)
    assert (solution.model(X) - wave(X)).abs().max() < 1e-5
    assert solution.history.loss[-1] < solution.history.loss[solution.history.stage == 0][-1]


def test_numpy_arrays_are_fitted():
    solution = fit(MultKAN([1, 1]), (X.numpy(), wave(X).numpy()[:, 0]), progress=False)
    assert (solution.model(X) - wave(X)).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("model", "x", "options", "kind", "message"),
    [
        (MultKAN([2, 1]), X, {}, ShapeError, "data with 2 inputs for this model, got 1"),
        (MultKAN([1, 2]), X, {}, ShapeError, "data with 2 targets for this model, got 1"),
        (LAN([2, 3, 1]), X, {}, ShapeError, "data with 2 inputs for this model, got 1"),
        (MLP([1, 2]), X, {}, ShapeError, "data with 2 targets for this model, got 1"),
        (MultKAN([1, 1]), 2 * X, {}, DomainError, "within the model's domain, .*Dataset.domain"),
        (LAN([1, 1]), 2 * X, {}, DomainError, "within the model's domain, .*Dataset.domain"),
        (MLP([1, 1]), 2 * X, {}, DomainError, "within the model's domain, .*Dataset.domain"),
        (MultKAN([1, 1]), X, {"loss": "hinge"}, ConfigError, "'mse' or 'cross_entropy' or a function, got 'hinge'"),
        (MultKAN([1, 1]), X, {"method": "newton"}, ConfigError, "expected method to be one of"),
        (torch.sin, X, {}, ConfigError, "expected a torch module"),
    ],
)
def test_what_does_not_fit_is_refused(model, x, options, kind, message):
    with pytest.raises(kind, match=message) as caught:
        fit(model, (x, wave(x)), progress=False, **options)
    assert isinstance(caught.value, KansciError)


@pytest.mark.parametrize("method", ["lm", "bfgs", "adam"])
def test_classes_are_learned(method):
    """Three sectors of the plane."""
    x = Dataset.from_function(lambda x: x[:, 0], [(-1, 1), (-1, 1)], 300).x
    classes = (torch.atan2(x[:, 1], x[:, 0]) / 2.1 + 1.5).floor()
    options: dict[str, Any] = {"batch_size": 50, "rate": 0.05} if method == "adam" else {}
    options |= {"method": method, "steps": 30, "progress": False}
    found = fit(MultKAN([2, 3]), (x, classes), loss="cross_entropy", **options)
    assert (found.model(x).argmax(1) == classes).double().mean() > 0.93
    assert found.loss < 0.3


def test_shares_of_classes_are_learned():
    shares = torch.cat([0.5 + 0.1 * wave(X), 0.5 - 0.1 * wave(X)], 1)
    found = fit(MultKAN([1, 2]), (X, shares), loss="cross_entropy", steps=30, progress=False)
    assert (found.model(X).softmax(1) - shares).abs().max() < 1e-2


def test_outliers_are_ignored_by_a_loss_that_grows_slowly():
    y = wave(X)
    y[::20] += 5
    found = fit(
        MultKAN([1, 1]), (X, y), loss=lambda f, y: (100 * (f - y)[:, 0] ** 2 + 1).sqrt(), steps=60, progress=False
    )
    assert (found.model(X) - wave(X)).abs().max() < 0.05


def test_validation_stops_before_noise_is_learned():
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(60, 1, generator=generator).double() - 1
    y = wave(x) + 0.3 * torch.randn(60, 1, generator=generator).double()
    options: dict[str, Any] = {"grids": (5, 20, 80), "steps": 60, "progress": False}
    plain = fit(MultKAN([1, 1]), (x, y), **options)
    stopped = fit(MultKAN([1, 1]), (x, y), validation=0.3, patience=5, **options)
    errors = [(own.model(X) - wave(X)).square().mean().item() for own in (plain, stopped)]
    assert errors[1] < errors[0] / 3
    assert stopped.history.validation is not None
    assert len(stopped.history.validation) == len(stopped.history.loss)


def test_validation_data_may_be_given():
    found = fit(MultKAN([1, 1]), (X[::2], wave(X[::2])), validation=(X[1::2], wave(X[1::2])), progress=False)
    assert found.history.validation is not None
    best = found.history.validation.min()
    scale = wave(X[::2]).var(correction=0)
    error = (found.model(X[1::2]) - wave(X[1::2])).square().mean()
    assert (error / scale).item() == pytest.approx(best, rel=0.3)


@pytest.mark.parametrize(
    ("width", "y", "kind", "message"),
    [
        ([1, 3], torch.full((401,), 3.0), DataError, "numbers of classes from 0 to 2, got 3 in row 0"),
        ([1, 3], torch.full((401,), 0.5), DataError, "numbers of classes from 0 to 2, got 0.5 in row 0"),
        ([1, 2], torch.ones(401, 2), DataError, "shares of classes that are not negative and sum to 1"),
        ([1, 2], torch.ones(401, 3), ShapeError, "one output for each class"),
        ([1, 1], torch.zeros(401), ShapeError, "one output for each class"),
    ],
)
def test_targets_that_are_no_classes_are_refused(width, y, kind, message):
    with pytest.raises(kind, match=message):
        fit(MultKAN(width), (X, y), loss="cross_entropy", progress=False)


def test_the_row_outside_the_domain_is_named(monkeypatch):
    monkeypatch.setattr("kansci.nn.arguments.PART", 10)
    x = X.clone()
    x[327] = 1.5
    with pytest.raises(DomainError, match=r"got 1.5 in row 327 where input 0 ends at -1 and 1"):
        fit(MultKAN([1, 1]), (x, wave(x)), progress=False)
