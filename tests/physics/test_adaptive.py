import pytest
import torch

from kansci.errors import ConfigError
from kansci.nn.multkan import MultKAN
from kansci.physics.adaptive import Causal, ResidualAdaptive, residual_size
from kansci.solvers.residual import Residual
from kansci.solvers.solve import solve

X = torch.linspace(0, 1, 400, dtype=torch.float64)[:, None]


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def layer(x):
    """A thin layer at 0.7."""
    return (60 * (x[:, 0] - 0.7)).tanh()


def misfit(x, **options):
    return Residual(lambda jet, x: jet.value[:, 0] - layer(x), x, name="data", **options)


def first(terms: list[Residual] | None) -> Residual:
    assert terms
    return terms[0]


def test_points_gather_where_the_residual_is_large():
    seen = []

    adapt = ResidualAdaptive("data", X, every=4, power=2.0, constant=0.1)

    def callback(step):
        found = adapt(step)
        seen.append(step.residuals[0].points if found is None else found[0].points)
        return found

    start = X[::10]
    solve(MultKAN([1, 1], domain=(0, 1)), misfit(start), steps=9, callback=callback, progress=False)
    near = [((points - 0.7).abs() < 0.1).double().mean() for points in (start, seen[-1])]
    assert near[1] > 1.3 * near[0]
    assert len(seen[-1]) == len(start)
    assert len(seen[-1].unique()) == len(start)
    assert torch.equal(seen[4], seen[3])


def test_draws_depend_on_the_seed_alone():
    def points(seed):
        found = []

        def callback(step):
            found.append(first(ResidualAdaptive("data", X, every=1, seed=seed)(step)).points)

        solve(MultKAN([1, 1], domain=(0, 1)), misfit(X[::10]), steps=2, callback=callback, progress=False)
        return torch.cat(found)

    assert torch.equal(points(0), points(0))
    assert not torch.equal(points(0), points(1))


def test_causal_weights_fall_with_the_error_of_earlier_times():
    rows = []

    def callback(step):
        term = first(Causal("data", tolerance=5.0, slabs=4, every=1)(step))
        rows.append((term.weight, residual_size(step, misfit(X))))

    solve(MultKAN([1, 1], domain=(0, 1)), misfit(X, weight=2.0), steps=1, callback=callback, progress=False)
    weight, size = rows[0]
    means = size.square().view(4, 100).mean(1)
    expected = 2 * torch.tensor([0, means[0], means[:2].sum(), means[:3].sum()]).double().mul(-5).exp()
    assert weight.view(4, 100)[:, 0].tolist() == pytest.approx(expected.tolist())
    assert weight.view(4, 100).std(1).max() < 1e-15


def test_causal_weights_stay_relative_to_the_weight_of_the_term():
    """Also where another object goes on, as after an interruption."""
    weights = []

    def callback(step):
        weights.append(first(Causal("data", tolerance=5.0, slabs=4, every=1)(step)))
        return weights[-1:]

    solve(MultKAN([1, 1], domain=(0, 1)), misfit(X, weight=0.1), steps=4, callback=callback, progress=False)
    assert len(weights) == 4
    assert all(term.weight[0] == term.weight.max() == 0.1 for term in weights)


def test_causal_weights_tend_to_one_as_the_problem_is_solved():
    """u' = -u, u(0) = 1: with the weights the same solution is found."""
    ode = Residual(lambda jet, x: jet.gradient[:, 0, 0] + jet.value[:, 0], X, needs="gradient", name="ode")
    start = Residual(lambda jet, x: jet.value[:, 0] - 1, X[:1], name="start")
    last = []

    def callback(step):
        found = causal(step)
        last.append(step.residuals[0].weight)
        return found

    causal = Causal("ode", tolerance=100.0, every=2)
    found = solve(MultKAN([1, 1], domain=(0, 1), k=5), [ode, start], callback=callback, steps=30, progress=False)
    assert (found.model(X)[:, 0] - (-X[:, 0]).exp()).abs().max() < 1e-6
    assert last[-1].min() > 0.999


def test_free_scalars_and_several_models_are_passed_on():
    def ode(jets, x, p):
        return jets["u"].gradient[:, 0, 0] - p["a"] * jets["v"].value[:, 0]

    terms = [Residual(ode, X, needs="gradient", name="ode"), Residual(lambda jets, x, p: jets["u"].value - 1, X[:1])]
    models = {name: MultKAN([1, 1], domain=(0, 1)) for name in "uv"}
    found = solve(models, terms, parameters={"a": 1.0}, callback=ResidualAdaptive("ode", X, every=1), steps=3)
    assert len(found.history.loss) == 3


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (ResidualAdaptive("other", X, every=1), r"one of \['data'\], got 'other'"),
        (ResidualAdaptive("data", X[:3], every=1), "expected at least 400 candidates for 'data', got 3"),
        (Causal("other", every=1), "expected the name of a term"),
    ],
)
def test_what_cannot_be_moved_is_refused(callback, message):
    with pytest.raises(ConfigError, match=message):
        solve(MultKAN([1, 1], domain=(0, 1)), misfit(X), callback=callback, progress=False)


def test_weights_of_points_are_refused():
    term, callback = misfit(X, weight=1 + X[:, 0]), Causal("data", every=1)
    with pytest.raises(ConfigError, match="expected a term with one weight for all points"):
        solve(MultKAN([1, 1], domain=(0, 1)), term, callback=callback, progress=False)


def test_targets_belong_to_their_points():
    term = Residual(lambda jet, x, y: jet.value[:, 0] - y, X, targets=layer(X), name="data")
    with pytest.raises(ConfigError, match="expected a term without targets"):
        solve(MultKAN([1, 1], domain=(0, 1)), term, callback=ResidualAdaptive("data", X, every=1), progress=False)
