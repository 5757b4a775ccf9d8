import math
from dataclasses import replace
from functools import cache

import pytest
import torch

import kansci as ks
from kansci import checkpoint, sealed
from kansci.errors import CheckpointError, ConfigError
from kansci.nn.mlp import MLP
from kansci.nn.multkan import MultKAN
from kansci.solvers.problem import Parameter
from kansci.solvers.residual import Residual
from kansci.solvers.resume import Checkpoint
from kansci.solvers.solve import METHODS, solve

pytestmark = pytest.mark.usefixtures("unchecked")  # types are checked in the tests of the parts

X = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None]


class Killed(BaseException):
    """Ends a solve without a chance to clean up."""


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


def terms(x=X):
    ode = Residual(lambda jet, x: jet.gradient[:, 0, 0] - jet.value[:, 0], x, needs="gradient", name="ode")
    return [ode, Residual(lambda jet, x: jet.value[:, 0] - 1, x[:1], name="start")]


def run(model=None, **options):
    model = MultKAN([1, 2, 1], grid=2, domain=(0, 1), seed=3) if model is None else model
    return solve(model, terms(), **{"steps": 14, "grids": [2, 4], "progress": False, **options})


def kill_at(number):
    def callback(step):
        if step.step == number:
            raise Killed

    return callback


def assert_equal(first, second):
    assert first.history.loss.tolist() == second.history.loss.tolist()
    assert first.history.stage.tolist() == second.history.stage.tolist()
    assert (first.loss, first.status) == (second.loss, second.status)
    ours, theirs = first.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("number", "method"),
    [
        *((5, method) for method in ("lm", "lbfgs", "adam")),
        *(pytest.param(17, m, marks=pytest.mark.slow) for m in METHODS),
    ],
)
def test_a_killed_solve_goes_on_to_the_bit(method, number, tmp_path):
    whole = run(method=method)
    path = tmp_path / "solve.h5"
    kept = Checkpoint(path, steps=1)
    with pytest.raises(Killed):
        run(method=method, checkpoint=kept, callback=kill_at(number))
    assert isinstance(ks.load(path), MultKAN)
    assert_equal(run(method=method, checkpoint=kept), whole)


@pytest.mark.slow
def test_points_chosen_on_the_way_are_kept(tmp_path):
    chosen = torch.linspace(0, 0.9, 30, dtype=torch.float64)[:, None]

    def callback(step, end=math.inf):
        if step.step == end:
            raise Killed
        return [replace(step.residuals[0], points=chosen), step.residuals[1]] if step.step == 3 else None

    whole = run(callback=callback)
    kept = Checkpoint(tmp_path / "solve.h5", steps=1)
    with pytest.raises(Killed):
        run(callback=lambda step: callback(step, end=6), checkpoint=kept)
    assert_equal(run(checkpoint=kept), whole)


def test_free_scalars_and_several_models(tmp_path):
    ode = Residual(lambda jets, x, p: jets["u"].gradient[:, 0, 0] - p["a"] * jets["v"].value[:, 0], X, needs="gradient")
    same = Residual(lambda jets, x, p: jets["u"].value - jets["v"].value, X)
    data = Residual(lambda jets, x, y, p: jets["u"].value - y, X, targets=(0.5 * X).exp())

    def go(**options):
        models = {"u": MultKAN([1, 1], domain=(0, 1)), "v": MLP([1, 4, 1], domain=(0, 1))}
        start = {"a": Parameter(0.1, low=0.0)}
        return solve(models, [ode, same, data], parameters=start, steps=12, progress=False, **options)

    whole = go()
    kept = Checkpoint(tmp_path / "solve.h5", steps=1)
    with pytest.raises(Killed):
        go(checkpoint=kept, callback=kill_at(5))
    resumed = go(checkpoint=kept)
    assert resumed.parameters == whole.parameters
    assert resumed.history.loss.tolist() == whole.history.loss.tolist()
    assert set(ks.load(kept.path)) == {"u", "v"}


def test_any_torch_module_can_be_resumed_but_not_loaded(tmp_path):
    def go(**options):
        generator = torch.Generator().manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(1, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        return run(model, grids=None, steps=6, **options)

    kept = Checkpoint(tmp_path / "solve.h5", steps=1)
    with pytest.raises(Killed):
        go(checkpoint=kept, callback=kill_at(3))
    assert_equal(go(checkpoint=kept), go())
    with pytest.raises(CheckpointError, match="can be built, not a Sequential"):
        ks.load(kept.path)


def test_a_finished_solve_is_not_done_again(tmp_path):
    path, calls = tmp_path / "solve.h5", []
    first = run(checkpoint=path)
    assert_equal(run(checkpoint=path, callback=calls.append), first)
    assert not calls


def test_more_steps_go_on_from_the_end(tmp_path):
    path = tmp_path / "solve.h5"
    run(checkpoint=path, steps=5, grids=None)
    assert_equal(run(checkpoint=path, steps=9, grids=None), run(steps=9, grids=None))


def test_time_counts_from_the_first_start(tmp_path):
    path = tmp_path / "solve.h5"
    first = run(checkpoint=Checkpoint(path, steps=1), steps=5, grids=None)
    second = run(checkpoint=path, steps=9, grids=None)
    assert (second.history.seconds[5:] > first.history.seconds[4]).all()


def test_what_killed_writers_left_is_removed(tmp_path):
    path, part = tmp_path / "solve.h5", tmp_path / ".solve.h5.0123.part"
    run(checkpoint=path, steps=2)
    part.write_bytes(b"half")
    run(checkpoint=path, steps=3)
    assert [each.name for each in tmp_path.iterdir()] == ["solve.h5"]


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"method": "bfgs"}, {"grids": [2, 8]}, {"model": MultKAN([1, 2, 1], grid=2, domain=(0, 1))}]
)
def test_another_problem_is_refused_and_nothing_lost(other, tmp_path):
    path = tmp_path / "solve.h5"
    run(checkpoint=path, steps=2)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="to be the checkpoint of this problem, got that of another"):
        run(checkpoint=path, **other)
    assert path.read_bytes() == before


def test_other_points_are_another_problem(tmp_path):
    path = tmp_path / "solve.h5"
    run(checkpoint=path, steps=2)
    with pytest.raises(CheckpointError, match="this problem"):
        solve(MultKAN([1, 2, 1], grid=2, domain=(0, 1), seed=3), terms(X[:30]), grids=[2, 4], checkpoint=path)


def test_saved_models_are_no_checkpoints(tmp_path):
    path = tmp_path / "model.h5"
    ks.save(path, MultKAN([1, 1]))
    with pytest.raises(CheckpointError, match="to be the checkpoint of a solve, got a model"):
        run(checkpoint=path)


# States undamaged by their digest and of this problem that no solve leaves behind


def changed(path, change) -> None:
    root, version = sealed.read(path, 1)
    change(root.groups["solve"])
    sealed.write(path, root, version)


def put(name, value, *groups):
    """What sets a value of a description or a tensor."""

    def change(solve):
        for group in groups:
            solve = solve.groups[group]
        (solve.tensors if isinstance(value, torch.Tensor) else solve.about)[name] = value

    return change


def single(tensors, name):
    tensors[name] = tensors[name].float()


LONG = torch.zeros(99, dtype=torch.float64)
STATES = {
    "no method": ("lm", lambda solve: solve.groups.pop("method")),
    "no losses": ("lm", put("losses", [])),
    "stage after the last": ("lm", put("stage", 2)),
    "negative step": ("lm", put("done", -1)),
    "step that is no number": ("lm", put("done", "7")),
    "status that is no text": ("lm", put("status", [])),
    "no damping": ("lm", put("damping", 0.0, "method")),
    "negative damping": ("lm", put("damping", -1.0, "method")),
    "undefined damping": ("lm", put("damping", math.nan, "method")),
    "longer vector": ("lm", put("vector", LONG, "at")),
    "vector of single precision": ("lm", lambda solve: single(solve.groups["at"].tensors, "vector")),
    "other model": ("lm", lambda solve: solve.groups["at"].groups.update({"0": checkpoint.pack(MLP([1, 2, 1]))})),
    "other history": ("lm", put("loss", LONG, "history")),
    "tables in the history": ("lm", put("loss", torch.ones(5, 2).double(), "history")),
    "epoch after the last": ("adam", put("epoch", 2**70, "method")),
    "moments of other size": ("adam", put("exp_avg", LONG, "method")),
    "no moments": ("adam", lambda solve: solve.groups["method"].tensors.pop("exp_avg")),
    "other moments": ("sgd", put("exp_avg", LONG, "method")),
    "matrix of other size": ("bfgs", put("matrix", torch.eye(3).double(), "method")),
    "matrix of single precision": ("bfgs", lambda solve: single(solve.groups["method"].tensors, "matrix")),
    "steps of other size": ("lbfgs", put("steps", torch.ones(2, 99).double(), "method")),
    "steps that lead nowhere": ("lbfgs", lambda solve: solve.groups["method"].tensors["steps"].zero_()),
}


@pytest.fixture(scope="module")
def five_steps(tmp_path_factory):
    """The checkpoint of a solve by each method."""

    @cache
    def content(method):
        path = tmp_path_factory.mktemp(method) / "solve.h5"
        run(method=method, checkpoint=path, steps=5, grids=None)
        return path.read_bytes()

    return content


@pytest.mark.parametrize("name", STATES)
def test_states_that_do_not_fit_are_refused_and_nothing_lost(name, five_steps, tmp_path):
    method, change = STATES[name]
    path = tmp_path / "solve.h5"
    path.write_bytes(five_steps(method))
    changed(path, change)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=f"expected {path} to hold the state of this solve"):
        run(method=method, checkpoint=path, steps=8, grids=None)
    assert path.read_bytes() == before


@pytest.mark.parametrize("options", [{"steps": 0}, {"seconds": -1.0}, {"seconds": math.nan}])
def test_intervals_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match="expected steps of at least 1"):
        Checkpoint("run.h5", **options)


def test_data_are_not_in_the_file(tmp_path):
    path = tmp_path / "solve.h5"
    secret = torch.full((64, 1), 0.123456789, dtype=torch.float64) + 1e-9 * torch.arange(64)[:, None]
    solve(MultKAN([1, 1], domain=(0, 1)), terms(secret), steps=2, checkpoint=path, progress=False)
    assert secret.numpy().tobytes() not in path.read_bytes()
