import math
import os
import signal
import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kansci.errors import (
    ConfigError,
    DataError,
    DerivativeError,
    DomainError,
    KansciError,
    RowDependenceError,
    ShapeError,
)
from kansci.nn.lan import LAN
from kansci.nn.mlp import MLP
from kansci.nn.multkan import MultKAN
from kansci.physics.domains import Box
from kansci.physics.pde import dirichlet, periodic, poisson
from kansci.solvers import normal
from kansci.solvers.problem import Parameter
from kansci.solvers.residual import Residual
from kansci.solvers.solve import METHODS, solve
from kansci.tracing import trace


def line(n: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return torch.linspace(low, high, n, dtype=torch.float64)[:, None]


X = line(40)


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def growth() -> list[Residual]:
    """u' = u, u(0) = 1, solved by exp."""
    equation = Residual(lambda jet, x: jet.gradient[:, 0, 0] - jet.value[:, 0], X, needs="gradient", name="equation")
    return [equation, Residual(lambda jet, x: jet.value[:, 0] - 1, X[:1], name="start")]


def network(**options) -> MultKAN:
    return MultKAN([1, 1], **{"domain": (0, 1), "k": 5, **options})


def misfit(f, x: Tensor = X, **options) -> Residual:
    """u = f at points."""
    return Residual(lambda jet, x, y: jet.value[:, 0] - y, x, targets=f(x[:, 0]), **options)


def error(model, f, x: Tensor = X) -> float:
    with torch.no_grad():
        return (model(x)[:, 0] - f(x[:, 0])).abs().max().item()


def test_an_ordinary_differential_equation():
    solution = solve(network(), growth(), progress=False)
    assert error(solution.model, torch.exp) < 1e-8
    assert solution.status in ("converged", "stalled")
    assert solution.error_estimate is None
    assert solution.parameters == {}


def test_a_partial_differential_equation():
    box = Box([(-1.0, 1.0), (0.0, 1.0)])

    def exact(x):
        return (-x[..., 0]).exp() * x[..., 1].sin()

    walls = box.boundary(60).points
    terms = [poisson(box.interior(200), 0.0, weight=0.01), dirichlet(walls, exact)]
    solution = solve(MultKAN([2, 3, 1], grid=2, k=5, domain=box.bounds), terms, steps=30, progress=False)
    x = box.interior(500, method="random", seed=5)
    assert (solution.model(x)[:, 0] - exact(x)).abs().max() < 1e-3
    assert list(solution.history.terms) == ["poisson", "dirichlet"]


def test_the_history_holds_every_step():
    seen = []
    history = solve(network(), growth(), callback=seen.append, progress=False).history
    assert history.step.tolist() == list(range(1, len(seen) + 1))
    assert history.loss.tolist() == [step.loss for step in seen]
    assert (history.loss[1:] < history.loss[:-1]).all()
    assert (history.seconds[1:] >= history.seconds[:-1]).all()
    assert history.loss == pytest.approx(history.terms["equation"] + history.terms["start"], rel=1e-12)


def test_grids_are_stages_from_coarse_to_fine():
    solution = solve(network(grid=2, k=3), growth(), grids=(2, 4, 16), progress=False)
    losses = {stage: solution.history.loss[solution.history.stage == stage][-1] for stage in range(3)}
    assert losses[2] < losses[1] / 10 < losses[0] / 100
    assert [layer.config.grid for layer in solution.model.layers] == [16]
    assert error(solution.model, torch.exp) < 1e-6


def test_the_first_grid_may_be_finer_than_the_model():
    solution = solve(network(grid=2, k=3), growth(), grids=(6,), steps=3, progress=False)
    assert [layer.config.grid for layer in solution.model.layers] == [6]


def test_points_may_be_chosen_anew_before_each_later_stage():
    x = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None]
    seen = []

    def resample(model):
        seen.append(model)
        return [Residual(lambda jet, x: jet.value[:, 0] - x[:, 0] ** 3, x[: 20 + len(seen)], name="cube")]

    first = Residual(lambda jet, x: jet.value[:, 0] - x[:, 0], x, name="cube")
    model = MultKAN([1, 1], grid=2, domain=(0, 1))
    found = solve(model, first, grids=[2, 4, 8], resample=resample, progress=False)
    assert [each.config.layers[0].grid for each in seen] == [2, 4]
    assert (seen[0](x) - x).abs().max() < 1e-3
    assert (found.model(x[:22]) - x[:22] ** 3).abs().max() < 1e-3
    with pytest.raises(ConfigError, match=r"expected resample to return the terms \['cube'\]"):
        solve(model, first, grids=[2, 4], resample=lambda model: [replace(first, name="other")], progress=False)


def test_the_loss_is_that_of_the_returned_model():
    x = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None]
    found = solve(MultKAN([1, 2, 1], domain=(0, 1)), Residual(lambda jet, x: jet.value - x.sin(), x), progress=False)
    error = (found.model(x) - x.sin()).detach()
    assert found.loss == pytest.approx(float(error.square().mean()), rel=1e-2)


def test_weights_of_points_are_those_of_a_weighted_mean():
    y, weight = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([1.0, 0.0, 3.0])
    term = Residual(lambda jet, x, y, p: p["a"] - y, line(3), targets=y, weight=weight)
    found = solve(network().requires_grad_(False), term, parameters={"a": 0.0}, steps=12, progress=False)
    assert found.parameters["a"].value == pytest.approx(19 / 4, rel=1e-12)
    assert found.history.loss[-1] == pytest.approx((3.75**2 + 3 * 1.25**2) / 3, rel=1e-12)


def test_weights_of_terms_balance_them():
    terms = [
        Residual(lambda jet, x, p, y=y: p["a"] - y + 0 * x[:, 0], X, weight=w) for y, w in ((0.0, 1.0), (1.0, 3.0))
    ]
    found = solve(network().requires_grad_(False), terms, parameters={"a": 5.0}, steps=12, progress=False)
    assert found.parameters["a"].value == pytest.approx(0.75, rel=1e-12)


def test_tuples_of_points_tie_distant_ones():
    """u'' = -sin x, u and u' periodic, u(0) = 0, solved by sin."""
    x = line(60, 0, 2 * torch.pi)
    terms = [
        Residual(lambda jet, x: jet.laplacian[:, 0] + x[:, 0].sin(), x, needs="laplacian"),
        periodic(x[:1], x[-1:]),
        dirichlet(x[:1], 0.0),
    ]
    model = MultKAN([1, 1], grid=12, k=5, domain=(0, 2 * torch.pi))
    assert error(solve(model, terms, progress=False).model, torch.sin, x) < 1e-5


def test_several_models_are_solved_together():
    """u' = v, v' = -u, u(0) = 0, v(0) = 1, solved by sin and cos."""

    def equation(jets, x):
        u, v = jets["u"], jets["v"]
        return torch.cat([u.gradient[:, 0] - v.value, v.gradient[:, 0] + u.value], 1)

    def start(jets, x):
        return torch.cat([jets["u"].value, jets["v"].value - 1], 1)

    terms = [Residual(equation, X, needs="gradient"), Residual(start, X[:1])]
    solution = solve({"u": network(), "v": network(seed=1)}, terms, progress=False)
    assert set(solution.model) == {"u", "v"}
    assert error(solution.model["u"], torch.sin) < 1e-8
    assert error(solution.model["v"], torch.cos) < 1e-8


def decay(low: float = -math.inf, high: float = math.inf):
    """u' = -a u with u = exp(-3x/2) given."""
    equation = Residual(
        lambda jet, x, p: jet.gradient[:, 0, 0] + p["a"] * jet.value[:, 0], X, needs="gradient", weight=0.1
    )
    given = Residual(lambda jet, x, y, p: jet.value[:, 0] - y, X, targets=(-1.5 * X[:, 0]).exp())
    start = Parameter(1.0, low, high)
    return solve(network(), [equation, given], parameters={"a": start}, steps=200, progress=False)


def test_free_scalars_are_found():
    found = decay().parameters["a"]
    assert found.value == pytest.approx(1.5, abs=1e-7)
    assert 0 < found.standard_error < 1e-5


def test_bounds_hold():
    assert decay(high=1.2).parameters["a"].value == 1.2
    assert decay(low=0.5, high=2.0).parameters["a"].value == pytest.approx(1.5, abs=1e-7)


@pytest.mark.parametrize(
    ("start", "low", "high"), [(0.0, 1.0, 2.0), (3.0, 1.0, 2.0), (math.nan, -1.0, 1.0), (math.inf, 0.0, math.inf)]
)
def test_a_start_outside_its_bounds_is_refused(start, low, high):
    with pytest.raises(ConfigError, match="low <= start <= high"):
        Parameter(start, low, high)


def test_a_callback_stops_the_solve():
    solution = solve(network(k=3), growth(), callback=lambda step: step.step == 3, progress=False)
    assert solution.status == "interrupted"
    assert len(solution.history.step) == 3


def test_steps_are_counted():
    solution = solve(network(), growth(), steps=2, progress=False)
    assert (solution.status, len(solution.history.step)) == ("max_steps", 2)


def test_steps_count_for_each_stage():
    solution = solve(network(grid=2), growth(), steps=2, grids=(2, 4), progress=False)
    assert solution.history.stage.tolist() == [0, 0, 1, 1]


def test_time_is_limited():
    solution = solve(network(), growth(), seconds=0.0, progress=False)
    assert (solution.status, len(solution.history.step)) == ("max_seconds", 1)


def test_control_c_returns_the_best_so_far():
    before = signal.getsignal(signal.SIGINT)

    def press(step):
        if step.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    solution = solve(network(grid=2, k=3), growth(), grids=(2, 4), callback=press, progress=False)
    assert (solution.status, len(solution.history.step)) == ("interrupted", 2)
    loss = solution.history.loss[-1]
    assert loss < solution.history.loss[0]
    assert solve(solution.model, growth(), steps=1, progress=False).history.loss[0] <= 1.01 * loss
    assert signal.getsignal(signal.SIGINT) is before


def test_the_model_passed_in_is_unchanged():
    model = network()
    model.get_parameter("layers.0.splines.scale_base").requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    solution = solve(model, growth(), grids=(5, 10), progress=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    trained = [p.requires_grad for p in model.parameters()]
    assert [p.requires_grad for p in solution.model.parameters()] == trained
    assert False in trained
    assert torch.equal(solution.model.layers[0].splines.scale_base, before["layers.0.splines.scale_base"])


def test_single_precision_comes_back():
    solution = solve(network(dtype=torch.float32), growth(), progress=False)
    assert {p.dtype for p in solution.model.parameters()} == {torch.float32}
    x = X.float()
    assert (solution.model(x)[:, 0] - x[:, 0].exp()).abs().max() < 1e-5


def test_points_in_single_precision_do():
    x = line(20).float()
    assert error(solve(network(), misfit(torch.exp, x), progress=False).model, torch.exp) < 1e-5


def test_a_perceptron_is_solved_the_same_way():
    model = MLP([1, 8, 1], domain=(0, 1))
    assert error(solve(model, growth(), steps=30, progress=False).model, torch.exp) < 1e-3


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_a_lan_solves_a_partial_differential_equation(seed):
    """sin(pi x) sin(pi y) on the unit square, the sum of two waves, on grids that are refined and follow the nodes."""
    box = Box([(0.0, 1.0), (0.0, 1.0)])

    def exact(x):
        return (torch.pi * x[..., 0]).sin() * (torch.pi * x[..., 1]).sin()

    equation = poisson(box.interior(200), lambda x: 2 * torch.pi**2 * exact(x), weight=0.01)
    terms = [equation, dirichlet(box.boundary(80).points, 0.0)]
    model = LAN([2, 6, 1], grid=4, k=5, domain=box.bounds, seed=seed)
    solution = solve(model, terms, grids=(4, 8), steps=40, progress=False)
    x = box.interior(500, method="random", seed=5)
    assert (solution.model(x)[:, 0] - exact(x)).norm() < 1e-4 * exact(x).norm()
    assert solution.model.layers[1].splines.config.grid == 8
    seen = trace(solution.model, torch.cat([x for term in terms for x in term.point_sets]))
    assert not seen.outside[1].any()


@pytest.mark.parametrize("network", [MultKAN, LAN, MLP])
def test_ends_of_a_domain_count_as_inside_in_single_precision(network):
    """0.7 is more than the single precision number next to it."""
    x = line(20, 0.0, 0.7)
    model = network([1, 3, 1], domain=(0, 0.7), dtype=torch.float32)
    assert error(solve(model, misfit(torch.exp, x), steps=20, progress=False).model.double(), torch.exp, x) < 1e-2
    with pytest.raises(DomainError, match=r"ends at 0 and 0.7"):
        solve(model, misfit(torch.exp, x + 1e-5), progress=False)


def test_any_torch_module_is():
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(1, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    assert error(solve(model, growth(), steps=20, progress=False).model, torch.exp) < 1e-2


def test_hidden_activations_stay_within_their_domains():
    solution = solve(MultKAN([1, 3, 1], domain=(0, 1), grid=3), growth(), steps=15, progress=False)
    hidden = solution.model.layers[0](X.T)
    low, high = solution.model.layers[1].splines.domain
    assert ((hidden >= low[:, None]) & (hidden <= high[:, None])).all()


def test_the_domain_of_the_inputs_is_never_changed():
    solution = solve(MultKAN([1, 2, 1], domain=(-3, 4)), growth(), grids=(5, 10), steps=5, progress=False)
    assert [end.item() for end in solution.model.domain] == [-3, 4]


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_solves_are_reproducible_bit_for_bit(one_thread):
    first, second = (
        solve(MultKAN([1, 3, 1], domain=(0, 1), seed=4), growth(), steps=10, progress=False) for _ in range(2)
    )
    assert first.history.loss.tolist() == second.history.loss.tolist()
    states = first.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_global_random_state_is_left_alone():
    before = torch.random.get_rng_state()
    solve(network(), growth(), steps=2, progress=False)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_memory_changes_nothing_but_speed(monkeypatch):
    monkeypatch.setattr(normal, "PRECISION", 1e-8)
    whole, small = (solve(network(), growth(), steps=5, memory=memory, progress=False) for memory in (1e9, 1.0))
    assert small.history.loss == pytest.approx(whole.history.loss, rel=1e-6)


def test_rows_that_depend_on_other_points_are_refused():
    mixing = Residual(lambda jet, x: jet.value[:, 0] - jet.value.mean(), X, name="mean")
    with pytest.raises(RowDependenceError, match="'mean': expected row i to depend on point i only"):
        solve(network(), mixing, progress=False)


def test_a_start_that_is_not_finite_has_diverged():
    singular = Residual(lambda jet, x: jet.value[:, 0] / x[:, 0], X)
    solution = solve(network(), singular, progress=False)
    assert solution.status == "diverged"
    assert error(solution.model, lambda x: network()(x[:, None])[:, 0]) < 1e-6


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e308])
def test_a_model_that_is_not_finite_has_diverged(value, method):
    model = network()
    with torch.no_grad():
        model.get_parameter("layers.0.splines.coef").fill_(value)
    term = Residual(lambda jet, x, p: p["a"] * jet.value[:, 0] - 1, X)
    solution = solve(model, term, method=method, parameters={"a": 2.0}, fresh=[term], progress=False)
    assert solution.status == "diverged"
    assert solution.error_estimate == solution.parameters["a"].standard_error == math.inf
    assert solution.parameters["a"].value == 2.0


GROWTH = growth()


@pytest.mark.parametrize(
    ("residuals", "options", "kind", "message"),
    [
        (GROWTH, {"method": "newton"}, ConfigError, "expected method to be one of lm, .*, got 'newton'"),
        (GROWTH, {"grids": (5, 12)}, ConfigError, r"each a multiple .* \[5\], got \[5, 12\]"),
        (GROWTH, {"grids": (3, 6)}, ConfigError, "expected grids to increase"),
        (GROWTH, {"grids": (10, 5)}, ConfigError, "expected grids to increase"),
        (GROWTH, {"grids": (5, 5)}, ConfigError, "expected grids to increase"),
        (GROWTH, {"grids": ()}, ConfigError, "expected grids to increase"),
        ([], {}, ConfigError, "expected one Residual or a list of them"),
        ([torch.zeros(3)], {}, ConfigError, "expected one Residual or a list of them"),
        (misfit(torch.exp, line(5, 0, 1.5), name="data"), {}, DomainError, r"'data': .* got 1.125 in row 3 .* domain="),
        (misfit(torch.exp, torch.zeros(3, 2)), {}, ShapeError, r"points of shape \(n, 1\) .* got \(3, 2\)"),
    ],
)
def test_what_makes_no_sense_is_refused(residuals, options, kind, message):
    with pytest.raises(kind, match=message) as caught:
        solve(network(), residuals, progress=False, **options)
    assert isinstance(caught.value, KansciError)


def test_targets_that_are_not_finite_are_named():
    with pytest.raises(
        DataError, match="'data': targets: expected finite numbers, got NaN or infinity in 2 rows: 0, 1"
    ):
        misfit(lambda x: (x - 0.1).log(), line(20), name="data")


def test_second_order_needs_cubic_splines():
    term = Residual(lambda jet, x: jet.laplacian[:, 0], X, needs="laplacian")
    with pytest.raises(DerivativeError, match="k"):
        solve(network(k=2), term, progress=False)


def test_nothing_to_solve_for_is_refused():
    with pytest.raises(ConfigError, match="expected something to solve for"):
        solve(network().requires_grad_(False), growth(), progress=False)


def test_other_things_than_models_are_refused():
    with pytest.raises(ConfigError, match="expected a torch module as model 'u', got function"):
        solve({"u": lambda x: x}, growth(), progress=False)
