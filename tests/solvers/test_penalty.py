import math
from typing import Any, cast

import pytest
import torch

import kansci as ks
from kansci.errors import ConfigError
from kansci.nn.edges import SplineEdges
from kansci.nn.lan import LAN
from kansci.nn.mlp import MLP
from kansci.nn.multkan import MultKAN
from kansci.solvers.normal import Linearization
from kansci.solvers.penalty import SAMPLES, Penalty, entropy, look, penalize, sample
from kansci.solvers.residual import Residual
from kansci.solvers.solve import METHODS, solve
from tests.helpers import assert_same
from tests.solvers.systems import make, start

pytestmark = pytest.mark.usefixtures("unchecked")  # types are checked in the tests of the parts


def points(n: int, d: int, seed: int) -> torch.Tensor:
    return 2 * torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1


X = points(50, 2, seed=1)
ALL = Penalty(l1=0.3, entropy=0.2, smoothness=0.1)


def misfit(x=X):
    return Residual(lambda jet, x, y: jet.value - y, x, targets=x[:, :1] * x[:, 1:])


@pytest.mark.parametrize("width", [[2, 3, 1], [2, [2, 1], 1]])
def test_magnitudes_are_those_of_the_paper(width):
    model = MultKAN(width)
    trace = ks.trace(model, X)
    expected = torch.zeros(()).double()
    for edges in trace.edges:
        magnitudes = edges.abs().mean(0)
        shares = magnitudes / magnitudes.sum()
        expected += 0.3 * magnitudes.sum() - 0.2 * (shares * shares.log()).sum()
    assert_same(penalize(Penalty(l1=0.3, entropy=0.2), look(model, X)).detach(), expected)


def test_smoothness_of_a_parabola_is_known():
    model = MultKAN([1, 1], grid=4, k=3, base="zero")
    with torch.no_grad():
        model.get_parameter("layers.0.splines.coef").copy_(torch.arange(7).double() ** 2)
    assert penalize(Penalty(smoothness=0.5), look(model, X[:, :1])).item() == pytest.approx(0.5 * 4)


def test_entropy_has_known_values():
    assert float(entropy(torch.tensor([1.0, 0.0, 0.0]))) == pytest.approx(0, abs=1e-30)
    assert float(entropy(torch.ones(5))) == pytest.approx(math.log(5))
    assert float(entropy(torch.zeros(3))) == pytest.approx(0, abs=1e-30)


@pytest.mark.parametrize("penalty", [Penalty(l1=1.0), Penalty(entropy=1.0), Penalty(smoothness=1.0), ALL])
def test_gradients_are_exact_and_not_zero(penalty):
    system = make([misfit()], MultKAN([2, 3, 1], grid=3), penalty=penalty)
    plain = make([misfit()], MultKAN([2, 3, 1], grid=3))
    at, step = start(system), torch.randn(system.size, generator=torch.Generator().manual_seed(3)).double()
    own = system.gradient(at) - plain.gradient(start(plain))
    ends = [system.evaluate(at.vector + t * step).losses[-1] for t in (-1e-6, 1e-6)]
    assert abs(float(own @ step)) > 1e-4
    assert 2 * float(own @ step) == pytest.approx((ends[1] - ends[0]) / 2e-6, rel=1e-5)
    assert_same(2 * system.gradient(at), system.slope(at.vector))
    assert_same(Linearization(system, at, 1e9).gradient, system.gradient(at))


def test_the_curvature_is_that_of_the_majorizer():
    """In one layer, of sum c phi^2 / (2 |phi_0|) / n with slopes c of the penalty."""
    model = MultKAN([2, 1], grid=3)
    system, plain = (make([misfit()], model, penalty=own) for own in (ALL, None))
    at = start(system)
    values = look(model, X)[0].values.detach().abs()
    shares = values.mean(2) / values.mean(2).sum()
    slopes = (0.3 - 0.2 * (shares.log() - (shares * shares.log()).sum()) / values.mean(2).sum()).clamp(min=0)

    def by_parts(vector):
        coef, base = vector[:12].view(1, 2, 6), vector[12:].view(1, 2)
        functions = cast(SplineEdges, model.layers[0].splines).functions_at(X.T)
        phi = (coef[..., None] * functions[:, :-1]).sum(2) + base[..., None] * functions[:, -1]
        smooth = 0.1 * coef.diff(n=2, dim=2).square().mean(2).sum()
        return (slopes[..., None] * phi.square() / (2 * values)).mean(2).sum() + smooth

    expected = torch.func.hessian(by_parts)(at.vector) / 2
    found = system.curvatures(at)[0]
    matrix = torch.zeros(system.size, system.size).double()
    found.add_to(matrix)
    assert_same(matrix, expected, 1e-10)
    vector = points(1, system.size, seed=4)[0]
    assert_same(found.times(vector), expected @ vector, 1e-10)
    assert_same(found.diagonal(system.size), expected.diagonal(), 1e-10)
    assert plain.curvatures(start(plain)) == []


@pytest.mark.parametrize(("memory", "steps"), [(1e9, 15), (1.0, 4)])
def test_steps_lower_the_true_objective_but_where_grids_grow(memory, steps, unchecked):
    found = solve(MultKAN([2, 3, 1]), misfit(), penalty=ALL, steps=steps, memory=memory, progress=False)
    ratio = found.history.loss[1:] / found.history.loss[:-1]
    assert (ratio < 1).mean() > 0.6
    assert ratio.max() < 1.1
    assert found.loss < 0.8 * found.history.loss[0]
    total = found.history.terms["term 0"] + found.history.terms["penalty"]
    assert found.history.loss == pytest.approx(total)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_idle_inputs_small(method, unchecked):
    x = points(200, 3, seed=2)
    data = (x, (3 * x[:, :1]).sin())
    options: dict[str, Any] = {"rate": 0.02} if method in ("adam", "sgd") else {}
    steps = 40 if method == "lm" else 150
    found = ks.fit(
        MultKAN([3, 1]), data, method=method, penalty=Penalty(l1=0.02), steps=steps, progress=False, **options
    )
    used, *idle = look(found.model, x)[0].magnitudes[0].tolist()
    assert used > 0.5
    assert max(idle) < (0.2 if method in ("adam", "sgd") else 0.01) * used


def test_entropy_chooses_among_edges_that_do_the_same(unchecked):
    """Both hidden nodes could carry the function; the penalty leaves one."""
    x = points(200, 1, seed=2)
    plain, sparse = (
        ks.fit(MultKAN([1, 2, 1], seed=1), (x, (3 * x).sin()), penalty=own, steps=60, progress=False).model
        for own in (None, Penalty(l1=1e-3, entropy=1e-2))
    )
    shares = [look(own, x)[1].magnitudes[0] for own in (plain, sparse)]
    ratio = [(own.amin() / own.amax()).item() for own in shares]
    assert ratio[1] < 0.02 < ratio[0]


def test_more_samples_than_needed_are_thinned():
    x = torch.arange(3.0 * SAMPLES)[:, None]
    assert sample(x)[:, 0].tolist() == list(range(0, 3 * SAMPLES, 3))
    assert sample(x[:5]) is not None
    assert len(sample(x[:5])) == 5


@pytest.mark.parametrize("model", [MLP([3, 8, 1]), LAN([3, 4, 1])])
def test_dense_networks_have_edges_too(model, unchecked):
    x = points(200, 3, seed=2)
    data = (x, (3 * x[:, :1]).sin())
    found = ks.fit(model, data, penalty=Penalty(l1=0.02, smoothness=1e-4), steps=60, progress=False)
    used, *idle = look(found.model, x)[0].magnitudes.amax(0).tolist()
    assert max(idle) < 0.05 * used


def test_models_without_edges_are_refused():
    model = torch.nn.Linear(2, 1).double()
    with pytest.raises(ConfigError, match="expected a MultKAN, LAN or MLP to penalize edges of, got Linear"):
        ks.fit(model, (X, X[:, 0]), penalty=Penalty(l1=1.0), progress=False)


@pytest.mark.parametrize("options", [{"l1": -1.0}, {"entropy": math.nan}, {"smoothness": math.inf}])
def test_weights_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match="expected weights that are finite and not negative"):
        Penalty(**options)
