import math
import os
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

import kansci as ks
from kansci.errors import DataError, KansciError, RankError
from kansci.nn.mlp import MLP
from kansci.nn.multkan import MultKAN
from kansci.solvers import hidden, normal, quasi_newton, ranks, resume
from kansci.solvers.fit import fit
from kansci.solvers.normal import Linearization
from kansci.solvers.penalty import SAMPLES, Penalty, sample
from kansci.solvers.problem import Parameter, Problem
from kansci.solvers.residual import Residual
from kansci.solvers.resume import Checkpoint
from kansci.solvers.solve import solve
from tests.helpers import assert_same
from tests.solvers import processes
from tests.solvers.systems import make

X = torch.linspace(0, 1, 60, dtype=torch.float64)[:, None]


def distributed(test):
    """Marks tests that start several processes, seconds each."""
    return pytest.mark.distributed(pytest.mark.slow(test))


def own(x: Tensor) -> Tensor:
    """The rows of this rank: the last one has a third of them, or none where there are few."""
    cut = math.ceil(2 * len(x) / 3)
    return x if not ranks.exist() else x[cut:] if dist.get_rank() else x[:cut]


def growth(x: Tensor, name: str | None = "ode", **options) -> Residual:
    """u' = a u."""
    return Residual(
        lambda jet, x, p: jet.gradient[:, 0, 0] - p["a"] * jet.value[:, 0], x, needs="gradient", name=name, **options
    )


def start(x: Tensor) -> Residual:
    return Residual(lambda jet, x, p: jet.value[:, 0] - 1, x, name="start")


def measured(x: Tensor, **options) -> Residual:
    y = torch.exp(1.3 * x[:, 0]) + 1e-3 * torch.sin(97 * x[:, 0])
    return Residual(lambda jet, x, y, p: jet.value[:, 0] - y, x, targets=y, name="data", **options)


def terms() -> list[Residual]:
    """Weights, noise, and a term without points on the last rank."""
    x = own(X)
    return [growth(x, weight=1 + x[:, 0]), start(own(X[:1])), measured(own(X[::4]), noise=1e-3, weight=0.5)]


def network(**options) -> MultKAN:
    return MultKAN([1, 3, 1], **{"grid": 3, "domain": (0, 1), "seed": 3, **options})


def ran(residuals=None, model=None, **options) -> dict:
    """A solve as what processes can hand over."""
    chosen = {"steps": 10, "tolerance": 0.0, "parameters": {"a": 1.0}, "progress": False, **options}
    found = solve(network() if model is None else model, residuals or terms(), **chosen)
    return {
        "state": found.model.state_dict(),
        "losses": found.history.loss.tolist(),
        "seconds": found.history.seconds.tolist(),
        "validation": None if found.history.validation is None else found.history.validation.tolist(),
        "parameters": dict(found.parameters),
        "error": found.error_estimate,
        "end": (found.status, found.loss),
    }


def assert_equal(first: dict, second: dict) -> None:
    """Equal to the bit."""
    assert all(torch.equal(tensor, second["state"][name]) for name, tensor in first["state"].items())
    assert {**first, "state": None} == {**second, "state": None}


def assert_near(found: dict, expected: dict, tolerance: float) -> None:
    for name, tensor in expected["state"].items():
        assert_same(found["state"][name], tensor, tolerance)
    assert found["losses"] == pytest.approx(expected["losses"], rel=tolerance)
    assert found["end"][0] == expected["end"][0]


def each(function, options: list[dict]) -> list[dict]:
    return [function(**own) for own in options]


def check(function, cases: list[tuple[dict, float]], folder) -> list[tuple[dict, dict]]:
    """The same bits on all ranks, and those of one process within a tolerance; what was found, and by one process."""
    options = [own for own, _ in cases]
    whole = each(function, options)
    first, second = processes.run(each, folder, function, options)
    for mine, other, expected, (_, tolerance) in zip(first, second, whole, cases, strict=True):
        assert_equal(mine, other)
        assert_near(mine, expected, tolerance)
    return list(zip(first, whole, strict=True))


def test_one_process_gets_back_what_it_gives():
    x = torch.tensor([1.0, 2.0])
    with ranks.together():
        assert not ranks.exist()
        assert not ranks.are_many()
        assert ranks.total(x) is ranks.gather(x) is ranks.agree(x) is x
        assert ranks.hull([x], [x]) == ([x], [x])
        assert (ranks.count(3), ranks.rank(), ranks.number(), ranks.place(3)) == (3, 0, 1, (0, 3))
        assert ranks.collect("a") == ["a"]
        ranks.check_same(a=1)


def test_a_group_of_one_rank_solves_alone(tmp_path, unchecked):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        assert not ranks.exist()
        assert ran(steps=2)["end"][0] == "max_steps"
    finally:
        dist.destroy_process_group()


def test_no_points_are_refused_by_one_process():
    with pytest.raises(DataError, match="at least one row"):
        start(X[:0])


def test_samples_of_parts_are_the_samples_of_all():
    x = torch.arange(2.5 * SAMPLES, dtype=torch.float64)[:, None]
    parts = x.split([5, len(x) - 5 - SAMPLES, SAMPLES])
    before = [0, 5, len(x) - SAMPLES]
    found = [sample(part, first, len(x)) for part, first in zip(parts, before, strict=True)]
    assert torch.equal(torch.cat(found), sample(x))


def communicated() -> list:
    with ranks.together():
        rank = ranks.rank()
        x = torch.arange(3.0, dtype=torch.float64) + 10 * rank
        low, high = ranks.hull([x[:1], x[1:]], [x[:1], x[1:]])
        model = nn.Linear(1, 1)
        nn.init.constant_(model.weight, rank)
        ranks.align(model)
        return [
            [x.tolist() for x in (*low, *high)],
            ranks.gather(x[: 2 - rank]).tolist(),
            ranks.gather(x[None, : 1 + rank], 1).tolist(),
            ranks.gather(x[:0]).tolist(),
            [ranks.agree(value) for value in (rank, rank == 0, 0.1 + rank, None if rank else "converged")],
            ranks.agree(x).tolist(),
            ranks.count(rank + 1),
            ranks.place(rank + 2)[1],
            ranks.collect({"rank": rank, "name": "ü" * rank}),
            [each["x"].tolist() for each in ranks.collect_tensors({"x": x[rank:]})],
            model.weight.item(),
            ranks.total(x).tolist(),
        ]


@distributed
def test_ranks_communicate(tmp_path):
    first, second = processes.run(communicated, tmp_path)
    assert first == second
    assert first == [
        [[0.0], [1.0, 2.0], [10.0], [11.0, 12.0]],
        [0.0, 1.0, 10.0],
        [[0.0, 10.0, 11.0]],
        [],
        [0, True, 0.1, "converged"],
        [0.0, 1.0, 2.0],
        3,
        5,
        [{"rank": 0, "name": ""}, {"rank": 1, "name": "ü"}],
        [[0.0, 1.0, 2.0], [11.0, 12.0]],
        0.0,
        [10.0, 12.0, 14.0],
    ]


def normal_equations() -> list[Tensor]:
    with ranks.together():
        problem = Problem.read(network(), terms(), {"a": 1.0})
        system = make(list(problem.terms), network(), scalars=("a",), penalty=Penalty(1e-3, 1e-3, 1e-3))
        at = system.evaluate(system.read(problem.starts))
        local = Linearization(system, at, 1e9)
        products = Linearization(system, at, 1e3)
        gram = local._gram
        assert gram is not None
        flat = [at.flat, local.apply(at.vector), products.apply(at.vector)]
        slopes = [local.gradient, system.gradient(at), products.gradient, system.slope(at.vector)]
        sums = [gram.tril(), *slopes, local.adjoint(at.flat), products._diagonal, torch.tensor(at.losses)]
        return [*sums, *(ranks.gather(x) for x in flat)]


@distributed
def test_sums_are_those_of_one_process(tmp_path):
    whole = normal_equations()
    for found in processes.run(normal_equations, tmp_path):
        for mine, expected in zip(found[:-3], whole, strict=False):
            assert_same(mine, expected, 1e-12)
        for mine, expected in zip(found[-3:], whole[-3:], strict=True):
            assert_same(mine.sort().values, expected.sort().values, 1e-12)


@distributed
def test_a_solve_is_that_of_one_process(tmp_path):
    penalty = Penalty(1e-3, 1e-3, 1e-3)
    cases = [
        ({}, 1e-10),
        ({"method": "ssbroyden", "steps": 20}, 1e-9),
        ({"method": "lbfgs", "steps": 20, "penalty": Penalty(1e-3)}, 1e-9),
        ({"method": "adam", "steps": 30}, 1e-12),
        ({"method": "sgd", "steps": 30, "rate": 1e-3, "penalty": penalty}, 1e-12),
        ({"penalty": penalty, "parameters": {"a": Parameter(1.0, high=1.1)}}, 1e-8),
    ]
    check(ran, cases, tmp_path)


def with_everything() -> dict:
    """Stages, fresh and validation points, points chosen on the way, and an answer of rank 0's callback."""
    denser = torch.linspace(0, 1, 83, dtype=torch.float64)[:, None]

    def resample(model):
        return [growth(own(denser)), *terms()[1:]]

    def callback(step):
        if step.step == 2:
            return [replace(step.residuals[0], points=own(denser)), *step.residuals[1:]]
        return step.step == 9 and ranks.rank() == 0

    others = [growth(own(denser)), start(own(X[:1])), measured(own(denser), noise=1e-3)]
    unweighted = [growth(own(X)), *terms()[1:]]
    options = {"grids": [3, 6], "steps": 5, "resample": resample, "callback": callback}
    return ran(unweighted, **options, fresh=others, validation=others)


@distributed
def test_stages_points_and_answers_are_shared(tmp_path):
    [(found, whole)] = check(with_everything, [({}, 1e-6)], tmp_path)
    assert found["end"][0] == "interrupted"
    assert found["validation"] == pytest.approx(whole["validation"], rel=1e-6)
    assert found["error"] == pytest.approx(whole["error"], rel=0.3)
    for name, (value, error) in whole["parameters"].items():
        assert found["parameters"][name] == pytest.approx((value, error), rel=1e-5)


def stopped() -> list[dict]:
    """Ctrl-C and a time limit on one rank only."""

    def press(step):
        if step.step == 3 and ranks.rank() == 0:
            os.kill(os.getpid(), signal.SIGINT)

    return [
        ran(callback=press),
        *(ran(seconds=(0.0, None)[dist.get_rank()], method=method) for method in ("lm", "adam")),
    ]


@distributed
def test_the_first_rank_ends_a_solve(tmp_path):
    first, second = processes.run(stopped, tmp_path)
    for mine, other in zip(first, second, strict=True):
        assert_equal(mine, other)
    assert [found["end"][0] for found in first] == ["interrupted", "max_seconds", "max_seconds"]
    assert [len(found["losses"]) for found in first] == [3, 1, 1]


def inexact() -> list[dict]:
    """Solves where the second rank rounds differently, in a big way."""

    def off(function):
        return lambda *arguments: (1 + 1e-6 * dist.get_rank()) * function(*arguments)

    options = [{}, {"method": "bfgs"}, {"penalty": Penalty(1e-3)}, {"memory": 1e3, "steps": 3}]
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (torch, "cholesky_solve"),
            (normal, "conjugate_gradients"),
            (quasi_newton.DenseInverse, "times"),
            (hidden, "uniform_knots"),
        ):
            patch.setattr(owner, name, off(getattr(owner, name)))
        return [ran(**{"steps": 12, "grids": [3, 6], **own}) for own in options]


@distributed
def test_ranks_that_round_differently_stay_together(tmp_path):
    first, second = processes.run(inexact, tmp_path)
    for mine, other in zip(first, second, strict=True):
        assert_equal(mine, other)


def huber(values: Tensor, targets: Tensor) -> Tensor:
    return (1 + (values[:, 0] - targets[:, 0]).square()).sqrt() - 1


def fitted(loss="mse", classes=False, model=None, **options) -> dict:
    x = torch.rand(240, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.exp(torch.sin(math.pi * x[:, :1]) + x[:, 1:].square())
    y = (y > 2).double() if classes else y
    data = ks.Dataset(own(x), own(y), own(x[:50] / 2), own(y[:50]), domain=(0, 1))
    model = MultKAN([2, 2, 2 if classes else 1], grid=3, domain=data.domain) if model is None else model
    found = fit(model, data, loss=loss, steps=10, progress=False, tolerance=0.0, **options)
    return {
        "state": found.model.state_dict(),
        "losses": found.history.loss.tolist(),
        "error": found.error_estimate,
        "end": (found.status, found.loss),
    }


@distributed
def test_a_fit_is_that_of_one_process(tmp_path):
    cases = [
        ({}, 1e-8),
        ({"model": MLP([2, 4, 1]), "method": "adam"}, 1e-12),
        ({"loss": huber}, 1e-8),
        ({"loss": "cross_entropy", "classes": True}, 1e-8),
    ]
    found = check(fitted, cases, tmp_path)
    for mine, whole in found[:2]:
        assert mine["error"] == pytest.approx(whole["error"], rel=1e-8)


def in_batches() -> dict:
    found = fitted(method="adam", batch_size=32)
    return {**found, "reference": fitted(method="adam")["losses"][-1]}


@distributed
def test_each_rank_takes_batches_of_its_own(tmp_path):
    first, second = processes.run(in_batches, tmp_path)
    assert_equal(first, second)
    assert first["losses"][-1] < first["reference"] / 2  # eight times as many steps


class Killed(BaseException):
    """Ends a solve without a chance to clean up."""


def resumed(path: str) -> tuple[list[dict], int]:
    """A whole solve and one that is killed and goes on, with points chosen on the way; how often this rank wrote."""
    writes = []
    write = resume.write
    resume.write = lambda *arguments: (writes.append(1), write(*arguments))

    def callback(step, end=math.inf):
        if step.step == end:
            raise Killed
        return [replace(step.residuals[0], points=own(X[::2])), *step.residuals[1:]] if step.step == 3 else None

    plain = [growth(own(X)), *terms()[1:]]
    options = {"steps": 8, "grids": [3, 6], "method": "ssbroyden"}
    whole = ran(plain, **options, callback=callback)
    with pytest.raises(Killed):
        ran(plain, **options, checkpoint=Checkpoint(path, steps=1), callback=partial(callback, end=6))
    found = ran(plain, **options, checkpoint=Checkpoint(path, steps=1))
    return [{**each, "seconds": None} for each in (whole, found)], len(writes)


@distributed
def test_ranks_go_on_from_the_checkpoint_of_the_first(tmp_path):
    (first, wrote), (second, wrote_not) = processes.run(resumed, tmp_path, str(tmp_path / "solve.h5"))
    for whole, found in (first, second):
        assert_equal(found, whole)
    assert_equal(first[0], second[0])
    assert wrote > 0 == wrote_not


def failure(residuals, options) -> tuple[str, str, float]:
    """How a solve fails, after how many seconds, and that the next one does not."""
    begin = time.monotonic()
    try:
        ran(residuals(), **options())
    except (KansciError, ValueError) as error:
        found = type(error).__name__, str(error), time.monotonic() - begin
    else:
        raise RuntimeError("expected an error")
    assert not ranks.are_many()
    assert ran(steps=2)["end"][0] == "max_steps"
    return found


def beyond() -> list[Residual]:
    return [growth(own(X) + 2 * dist.get_rank())]


def at_call(number: int, act, rank: int) -> list[Residual]:
    """Terms of which a rank does something else at the call with a number."""
    calls = []

    def function(jet, x, p):
        calls.append(1)
        if len(calls) == number and dist.get_rank() == rank:
            act()
        return jet.value[:, 0] - p["a"] * x[:, 0]

    return [Residual(function, own(X))]


def refuse() -> None:
    raise ValueError("no more")


def die(note: Path) -> None:
    note.write_text(str(time.time()))
    os.kill(os.getpid(), signal.SIGKILL)


@distributed
@pytest.mark.parametrize(
    ("residuals", "error", "words"),
    [
        (beyond, "DomainError", "expected points within the model's domain"),
        (partial(at_call, 1, refuse, 1), "ValueError", "no more"),
        (partial(at_call, 20, refuse, 1), "ValueError", "no more"),
    ],
)
def test_an_error_of_one_rank_is_told_to_all(residuals, error, words, tmp_path):
    first, second = processes.run(failure, tmp_path, residuals, dict)
    assert second[0] == error
    assert words in second[1]
    assert first[0] == "RankError"
    assert f"rank 1 failed with {error}: " in first[1]
    assert words in first[1]
    assert max(first[2], second[2]) < 30


def other(name: str) -> dict:
    """An option that ranks do not agree on."""
    rank = dist.get_rank()
    values = {
        "steps": 3 + rank,
        "model": network(seed=rank),
        "method": ["lm", "bfgs"][rank],
        "validation": [terms(), None][rank],
        "parameters": {"a": 1.0 + rank},
    }
    return {name: values[name]}


@distributed
def test_ranks_that_do_not_agree_are_refused(tmp_path):
    names = ("steps", "model", "method", "validation", "parameters")
    for name, found in zip(names, zip(*processes.run(disagreements, tmp_path, names), strict=True), strict=True):
        for error, message, _ in found:
            assert error == "ConfigError"
            assert message.startswith(f"expected the same {name} on all ranks, got ")


def disagreements(names: tuple[str, ...]) -> list:
    return [failure(terms, partial(other, name)) for name in names]


def no_points() -> list:
    empty = partial(start, X[:0])
    fewer = [failure(lambda: [growth(own(X)), empty()], dict)]
    return [*fewer, failure(lambda: terms()[: 2 + dist.get_rank()], dict)]


@distributed
def test_terms_are_the_same_ones_and_have_points(tmp_path):
    for nowhere, others in processes.run(no_points, tmp_path):
        assert nowhere[:2] == ("DataError", "residual 'start': expected points on one of the ranks, got none")
        assert others[0] == "ConfigError"
        assert "expected the same terms on all ranks" in others[1]


def survived(rank: int, note: Path) -> tuple[str, float]:
    """What another rank gets when one dies, and after how many seconds; it stays alive itself."""
    with pytest.raises(RankError) as caught:
        ran(at_call(20, partial(die, note), rank), steps=1000)
    return str(caught.value), time.time() - float(note.read_text())


@distributed
@pytest.mark.parametrize(("rank", "count"), [(1, 2), (0, 2), (2, 3)])
def test_a_rank_that_dies_is_seen_by_all_others(rank, count, tmp_path):
    found = processes.run(survived, tmp_path, rank, tmp_path / "note", ranks=count, lost=rank)
    del found[rank]
    for message, seconds in found:
        assert f"expected all {count} ranks to solve together, but one ended or its connection was lost" in message
        assert seconds < 60
