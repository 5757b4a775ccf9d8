"""Auxiliary features as inputs of networks."""

import copy

import pytest
import torch
from torch import nn

from kansci.errors import ConfigError, DerivativeError, DomainError, ShapeError
from kansci.jets import LEVELS, _functional_jet
from kansci.nn.features import AuxiliaryFeatures
from kansci.nn.multkan import MultKAN
from kansci.solvers.jacobian import factorize
from kansci.solvers.unknowns import Unknowns
from kansci.splines import domain_of
from kansci.symbolic.kanpiler import auxiliary_features, kanpile
from tests.helpers import written

X = torch.rand(40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture
def features():
    return auxiliary_features({"p": "x*y", "r": "sqrt(2 + x**2 + y**2)"}, ["x", "y"])


def test_columns_are_inputs_then_features(features):
    x, y = X.T
    expected = torch.stack((x, y, x * y, (2 + x**2 + y**2).sqrt()), 1)
    torch.testing.assert_close(features(X), expected, rtol=1e-15, atol=0)
    assert (features.n_inputs, features.n_features) == (2, 2)
    assert features(X.reshape(4, 10, 2)).shape == (4, 10, 4)
    assert repr(features) == "AuxiliaryFeatures(x, y, p = x*y, r = sqrt(2 + x**2 + y**2))"


@pytest.mark.parametrize("needs", LEVELS)
def test_jets_of_features_and_of_models_with_features(features, needs):
    model = MultKAN([4, [3, 1], 2], k=4, features=features)
    for f in (features, model):
        expected = _functional_jet(f, X, needs).channels
        torch.testing.assert_close(f.jet(X, needs).channels, expected, rtol=1e-11, atol=1e-11)


def test_features_are_not_trained(features):
    assert not any(parameter.requires_grad for parameter in features.parameters())
    model = MultKAN([4, 3, 1], features=features)
    assert len(Unknowns(model)) == len(Unknowns(MultKAN([4, 3, 1])))
    model(X).sum().backward()
    assert all(p.grad is None for name, p in model.named_parameters() if name.startswith("features"))


def test_jacobian_of_a_model_with_features(features):
    unknowns = Unknowns(MultKAN([4, 2, 1], features=features))
    adjoints = torch.zeros(1, 4, 1, len(X), dtype=torch.float64)
    adjoints[:, -1] = 1
    columns = written(factorize(unknowns, X, "laplacian", adjoints), unknowns, 1, len(X))[0]
    vector, step = unknowns.read(), 1e-5
    direction = torch.randn(len(vector), dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    ends, shifted = [], unknowns.model
    assert isinstance(shifted, MultKAN)
    for sign in (1, -1):
        unknowns.write(vector + sign * step * direction)
        ends.append(shifted.jet(X, "laplacian").laplacian[:, 0])
    difference = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close(direction @ columns, difference, rtol=1e-7, atol=1e-7)


def test_grids_of_features_cover_what_they_reach(features):
    domain = [(-1.0, 1.0), (0.0, 3.0)]
    model = MultKAN([4, 3, 1], features=features, domain=domain)
    low, high = domain_of(model.layers[0].get_buffer("splines.knots"), k=3)
    torch.testing.assert_close(torch.stack((low, high), 1)[:2], torch.tensor(domain, dtype=torch.float64))
    corners = torch.tensor([[-1.0, 0.0], [-1.0, 3.0], [1.0, 3.0], [0.0, 0.0]], dtype=torch.float64)
    reached = features(corners)
    assert (low <= reached.amin(0)).all()
    assert (high >= reached.amax(0)).all()
    assert ((high - low)[2:] < 1.5 * (reached.amax(0) - reached.amin(0))[2:]).all()


def test_the_model_keeps_a_copy_of_its_features(features):
    single = MultKAN([4, 3, 1], features=features, dtype=torch.float32)
    double = MultKAN([4, 3, 1], features=features)
    assert single(X.float()).dtype == torch.float32
    assert features(X).dtype == double(X).dtype == torch.float64
    assert (single(X.float()).double() - double(X)).abs().max() < 1e-5
    again = MultKAN([4, 3, 1], features=features.to(torch.float32))
    assert torch.allclose(again(X), double(X), rtol=1e-5)


def test_domains_of_float32_models_can_be_set(features):
    model = MultKAN([4, 3, 1], features=features, dtype=torch.float32)
    model.set_domain(torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=torch.float64))
    assert model.layers[0].get_buffer("splines.knots").dtype == torch.float32
    assert model(X.float()).isfinite().all()


def test_copies_and_state_dicts(features):
    model = MultKAN([4, 3, 1], features=features)
    clone = copy.deepcopy(model)
    with torch.no_grad():
        clone.layers[0].get_parameter("splines.coef").add_(1)
    assert not torch.equal(clone(X), model(X))
    clone.load_state_dict(model.state_dict())
    assert torch.equal(clone(X), model(X))


def test_a_width_that_does_not_count_the_features_is_refused(features):
    for width in ([2, 3, 1], [5, 3, 1]):
        with pytest.raises(ConfigError, match=r"width\[0\] = 2 raw inputs \+ 2 features"):
            MultKAN(width, features=features)
    with pytest.raises(ConfigError, match=r"2 raw inputs \+ 2 features, got 2"):
        MultKAN.from_config(MultKAN([2, 3, 1]).config, features)


def test_features_not_finite_on_the_domain_are_refused():
    undefined = auxiliary_features("log(x)", ["x"])
    assert MultKAN([2, 1], features=undefined, domain=(0.5, 1)).n_inputs == 1
    with pytest.raises(DomainError, match="finite on the domain"):
        MultKAN([2, 1], features=undefined)


def test_points_with_the_features_already_in_them_are_refused(features):
    with pytest.raises(ShapeError, match=r"expected x of shape \(n, 2\)"):
        MultKAN([4, 3, 1], features=features)(features(X))


def test_second_derivatives_need_degree_three_also_behind_features(features):
    model = MultKAN([4, 3, 1], features=features, k=2)
    assert model.jet(X, "gradient").gradient.shape == (40, 1, 2)
    with pytest.raises(DerivativeError, match="k >= 3"):
        model.jet(X, "laplacian")


@pytest.mark.parametrize(("formulas", "names"), [(["x*y"], ["x", "y"]), ([], ["x", "y", "p"])])
def test_formulas_and_names_fit_the_network(formulas, names):
    with pytest.raises(ConfigError, match="expected 1 formulas, and names of 2 inputs"):
        AuxiliaryFeatures(kanpile("x*y", ["x", "y"]), formulas, names)


def test_a_frozen_copy_of_the_network_is_kept():
    network = kanpile("x*y", ["x", "y"])
    features = AuxiliaryFeatures(network, ["x*y"], ["x", "y", "p"])
    assert all(p.requires_grad for name, p in network.named_parameters() if name.endswith("affine"))
    nn.init.zeros_(network.layers[0].get_parameter("symbols.affine"))
    assert torch.equal(features(X)[:, 2], X.prod(1))
