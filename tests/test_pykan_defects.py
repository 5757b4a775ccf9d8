"""What goes wrong in pykan 0.2.8 does not go wrong here: one test for each known defect, by its number.

T is training, K what is kept of models, A what changes them, B splines and layers, C the compiler of formulas, H
what is around all that.
"""

import copy
import importlib.util
import io
import itertools
import math
import pickle
import random
import subprocess
import sys
import threading
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import sympy
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import kansci as ks
from kansci.config import LayerConfig, ModelConfig, Width
from kansci.errors import CheckpointError, ConfigError, DataError, FormulaError
from kansci.functions import LIBRARY
from kansci.nn.edges import SplineEdges
from kansci.solvers.penalty import look, penalize
from kansci.solvers.solve import METHODS
from kansci.surgery.selection import present_edges
from kansci.surgery.symbolize import set_symbol
from kansci.symbolic.suggest import edge_curve
from tests.benchmarks.feynman import read_equations

X = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


@pytest.fixture
def library() -> Iterator[dict[str, Any]]:
    """The table of functions, which is afterwards what it was."""
    before = dict(LIBRARY)
    yield LIBRARY
    LIBRARY.clear()
    LIBRARY.update(before)


def points(n: int, d: int, seed: int = 0) -> Tensor:
    return 2 * torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1


def samples(n: int = 60) -> tuple[Tensor, Tensor]:
    x = points(n, 2)
    return x, (x[:, :1] + 0.5 * x[:, 1:]).sin()


def misfit(x: Tensor = X) -> ks.Residual:
    return ks.Residual(lambda jet, x, y: jet.value - y, x, targets=x.exp())


def small(**options: Any) -> ks.MultKAN:
    return ks.MultKAN([1, 2, 1], **{"grid": 2, "domain": (0, 1), **options})


def fitted(**options: Any) -> ks.Solution:
    return ks.fit(ks.MultKAN([2, 2, 1], grid=3), samples(), **{"steps": 3, "progress": False, **options})


def same(a: nn.Module, b: nn.Module) -> bool:
    """Whether two models have the same tensors to the bit."""
    ours, theirs = a.state_dict(), b.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


def splines(model: ks.MultKAN) -> SplineEdges:
    """Those of the first layer."""
    return cast(SplineEdges, model.layers[0].splines)


def random_states() -> tuple[Any, ...]:
    kind, keys, *others = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), random.getstate(), kind, list(keys), others


class Watch(TorchDispatchMode):
    """Counts the operations within its block, and the numbers of the largest tensor that they make."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.largest = Counter(), 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.calls[str(func)] += 1
        for own in found if isinstance(found, list | tuple) else [found]:
            if isinstance(own, Tensor):
                self.largest = max(self.largest, own.untyped_storage().nbytes() // own.element_size())
        return found


def largest_of(do: Callable[[], object]) -> int:
    with Watch() as watch:
        do()
    return watch.largest


# Training

IMPORTS = """
import random, sys, numpy, torch
states = lambda: (torch.get_rng_state().tolist(), random.getstate(), str(numpy.random.get_state()))
before = states()
import kansci
for name in kansci.__all__:
    getattr(kansci, name)
sys.exit(states() != before)
"""


@pytest.mark.parametrize("method", METHODS)
def test_t1_no_method_touches_global_random_numbers(method):
    """LBFGS.step calls torch.manual_seed(0), so that whoever redraws points gets the same ones for ever."""
    before, drawn = random_states(), []
    ks.solve(small(), misfit(), method=method, steps=2, batch_size=10 if method in ("adam", "sgd") else None)
    assert random_states() == before
    ks.solve(small(), misfit(), method=method, steps=3, callback=lambda step: drawn.append(float(torch.rand(()))))
    assert len(set(drawn)) == len(drawn) >= 2


def test_t2_neither_importing_nor_building_seeds_global_generators():
    """KAN(...) and import kan.MLP reseed torch, numpy and random."""
    before = random_states()
    for model in (ks.MultKAN, ks.LAN, ks.MLP):
        model([2, 3, 1], seed=5)
    assert random_states() == before
    subprocess.run([sys.executable, "-c", IMPORTS], cwd=Path(__file__).parents[1], check=True)


@pytest.mark.parametrize("options", [{"method": "Adm"}, {"loss": "msee"}, {"optimizer": "adam"}])
def test_t3_unknown_names_are_refused(options):
    """An unknown optimizer trains nothing and says nothing."""
    with pytest.raises((ConfigError, TypeError), match=r"Adm|msee|optimizer"):
        fitted(**options)


def test_t4_solves_in_threads_do_not_mix():
    """Losses and regularizations are global variables, which models and threads share."""
    alone = [fitted(seed=seed, penalty=ks.Penalty(l1=seed / 100), steps=8) for seed in range(3)]
    found: dict[int, ks.Solution] = {}

    def work(seed: int) -> None:
        found[seed] = fitted(seed=seed, penalty=ks.Penalty(l1=seed / 100), steps=8)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, solution in enumerate(alone):
        assert found[seed].history.loss.tolist() == solution.history.loss.tolist()
        assert same(found[seed].model, solution.model)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_t5_an_interrupted_fit_leaves_the_model_as_it_was(error):
    """Ctrl-C or an exception leaves the symbolic part switched off for good."""
    model = ks.kanpile("x*sin(y)", ["x", "y"]).requires_grad_(True)
    before = copy.deepcopy(model)

    def interrupt(step: Any) -> None:
        raise error

    data = (points(50, 2), points(50, 1, seed=1))
    with pytest.raises(error):
        ks.fit(model, data, callback=interrupt, progress=False)
    assert same(model, before)
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in before.parameters()]
    assert torch.equal(model(data[0]), before(data[0]))
    again, fresh = (ks.fit(own, data, steps=2, progress=False) for own in (model, before))
    assert same(again.model, fresh.model)


def test_t6_test_data_leave_no_trace_in_the_model():
    """After fit the caches hold the test set, by which networks are then pruned and snapped."""
    x, y = samples()
    tested = ks.Dataset(x, y, x_test=points(37, 2, seed=3), y_test=points(37, 1, seed=4), domain=(-1, 1))
    with_test = ks.fit(ks.MultKAN([2, 2, 1], grid=3), tested, steps=3, progress=False)
    assert same(with_test.model, fitted().model)
    held = [*with_test.model.state_dict().values(), *vars(with_test.model).values()]
    assert not any(37 in own.shape for own in held if isinstance(own, Tensor))
    assert ks.trace(with_test.model, x).nodes[1].shape == (60, 2)


def test_t7_options_that_do_not_fit_are_refused_and_others_work():
    """Few steps with many grid updates divide by zero; a batch larger than the test set is an error."""
    x, y = samples()
    data = ks.Dataset(x, y, x_test=x[:5], y_test=y[:5])
    model = ks.MultKAN([2, 1, 1], grid=2)
    stages = ks.fit(model, data, grids=[2, 4, 8], steps=1, progress=False).history.stage.tolist()
    assert stages == [0, 1, 2]
    for batch_size in (6, 60, 1000):
        found = ks.fit(model, data, method="adam", batch_size=batch_size, steps=2, progress=False)
        assert len(found.history.loss) == 2
    refused: list[dict[str, Any]] = [{"grids": [3]}, {"method": "adam", "batch_size": 0}, {"batch_size": 10}]
    for options in refused:
        with pytest.raises(ConfigError, match=r"grids|batch_size"):
            ks.fit(model, data, **options)


def test_t8_the_test_pass_takes_no_derivatives_of_the_same_function():
    """The test pass runs with autograd, and without the options of the training pass."""
    x, y = samples()
    x_test, y_test = points(37, 2, seed=3), points(37, 1, seed=4)
    passes = []

    class Line(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            passes.append((len(input), torch.is_grad_enabled()))
            return super().forward(input)

    line = Line(2, 1).double()
    solution = ks.fit(line, ks.Dataset(x, y, x_test, y_test), steps=2, progress=False)
    tested = [watched for n, watched in passes if n == 37]
    assert tested and not any(tested)
    with torch.no_grad():
        expected = (solution.model(x_test) - y_test).norm() / y_test.norm()
    assert solution.error_estimate == pytest.approx(float(expected), rel=1e-12)


def test_t9_losses_are_reported_as_they_are():
    """The square root of whatever the loss function returns is reported, NaN where that is negative."""
    x = points(50, 2)
    classes = (x[:, 0] > 0).long()
    found = ks.fit(ks.MultKAN([2, 2], grid=3), (x, classes), loss="cross_entropy", steps=3, progress=False)
    with torch.no_grad():
        expected = nn.functional.cross_entropy(found.model(x), classes)
    assert found.loss == pytest.approx(float(expected), rel=1e-9)

    def shifted(f: Tensor, y: Tensor) -> Tensor:
        return (f - y).square().sum(1) - 1

    found = fitted(loss=shifted, steps=5)
    with torch.no_grad():
        expected = shifted(found.model(samples()[0]), samples()[1]).mean()
    assert found.loss == pytest.approx(float(expected), rel=1e-9)
    assert -1 <= found.loss < 0


@pytest.mark.parametrize("method", ["bfgs", "ssbroyden", "lbfgs"])
def test_t10_curvature_is_forgotten_when_grids_change(method):
    """The history of L-BFGS outlives a grid update, which changes the parameters under it."""
    options = {"method": method, "steps": 8, "tolerance": 1e-9, "progress": False}
    first = ks.solve(small(), misfit(), grids=[2], **options)
    second = ks.solve(first.model, misfit(), grids=[4], **options)
    whole = ks.solve(small(), misfit(), grids=[2, 4], **options)
    assert whole.history.loss[whole.history.stage == 1].tolist() == pytest.approx(
        second.history.loss.tolist(), rel=1e-9
    )


@pytest.mark.parametrize("name", ["l1", "entropy", "smoothness"])
def test_t11_every_penalty_has_a_gradient(name):
    """One of the regularization metrics has a gradient of exactly zero."""
    nothing = ks.Residual(lambda jet, x: 0 * jet.value, points(50, 2))
    model, penalty = ks.MultKAN([2, 3, 1]), ks.Penalty(**{name: 1.0})
    history = ks.solve(model, nothing, penalty=penalty, method="adam", rate=1e-3, steps=3, progress=False).history
    falls = -np.diff(history.terms["penalty"])
    assert (falls > 1e-6 * history.terms["penalty"][0]).all()


def test_t12_a_penalty_is_never_dropped():
    """With save_act=False the penalty is set to zero and training goes on."""
    penalty = ks.Penalty(l1=1e-2)
    for method in METHODS:
        history = fitted(penalty=penalty, method=method).history
        assert (history.terms["penalty"] > 0).all()
        assert history.loss.tolist() == pytest.approx(np.sum(list(history.terms.values()), 0).tolist())
    with pytest.raises(ConfigError, match="to penalize edges of"):
        ks.fit(nn.Linear(2, 1).double(), samples(), penalty=penalty, progress=False)


def test_t13_batches_are_epochs_in_which_every_sample_is_used_once():
    """A batch is a random subset each time, by global random numbers; samples are used often or never."""

    def epochs(seed: int) -> list[list[float]]:
        batches = []

        def misfit(jet: Any, x: Tensor, y: Tensor) -> Tensor:
            if len(x) == 8 and torch.is_grad_enabled():
                batches.append(x[:, 0].tolist())
            return jet.value - y

        term = ks.Residual(misfit, X, targets=X.exp())
        ks.solve(small(), term, method="adam", batch_size=8, steps=3, seed=seed, progress=False)
        return batches

    batches = epochs(seed=1)
    assert len(batches) == 15
    for epoch in range(3):
        assert sorted(x for batch in batches[5 * epoch : 5 * epoch + 5] for x in batch) == X[:, 0].tolist()
    assert batches[:5] != batches[5:10]
    assert epochs(seed=1) == batches != epochs(seed=2)


def test_t14_symbolic_edges_are_evaluated_together_or_not_at_all():
    """Every forward pass loops over all edges in Python, whether or not they are symbolic."""
    model = ks.kanpile([f"sin({a}*x + {a}) + sin(y - {a})" for a in (1, 2, 3)], ["x", "y"])
    with torch.no_grad(), Watch() as watch:
        model(points(20, 2))
    assert watch.calls["aten.sin.default"] == 1
    assert all(layer.symbols is None for layer in ks.MultKAN([2, 3, 1]).layers)


# What is kept


@pytest.mark.parametrize(
    "change",
    [
        lambda model: ks.refine(model, 10),
        lambda model: ks.refine(model, 7, tolerance=0.5),
        lambda model: ks.adapt_grid(model, points(90, 2) ** 3, tolerance=1.0),
        lambda model: (
            ks.solve(model, ks.Residual(lambda j, x: j.value - 1, points(50, 2)), grids=[5, 20], steps=2).model
        ),
    ],
)
def test_k1_changed_models_are_saved_as_they_are(change, tmp_path):
    """The checkpoint of refine has the old grid."""
    model = change(ks.MultKAN([2, 2, 1], grid=5))
    ks.save(tmp_path / "model.h5", model)
    loaded = ks.load(tmp_path / "model.h5")
    assert loaded.config == model.config
    assert torch.equal(loaded(points(9, 2)), model(points(9, 2)))


def test_k5_numpy_numbers_are_saved_and_unknown_functions_are_named(tmp_path, library):
    """Models with a grid of numpy type, or with a function that is not in the library, cannot be loaded."""
    path = tmp_path / "model.h5"
    options: dict[str, Any] = {"grid": np.int64(4), "k": np.int8(3), "domain": np.array([0.0, 1.0])}
    model = ks.MultKAN([np.int64(2), np.int32(1)], **options)
    ks.save(path, model)
    assert same(ks.load(path), ks.MultKAN([2, 1], grid=4, domain=(0, 1)))
    ks.register_function("anonymous", torch.atan, lambda sp, x: sp.atan(x))
    config = ModelConfig((LayerConfig(1, Width(1), splines=False, symbols=(("anonymous",),)),))
    ks.save(path, ks.MultKAN.from_config(config))
    assert torch.equal(ks.load(path)(X), X.atan())
    del library["anonymous"]
    with pytest.raises(CheckpointError, match="anonymous"):
        ks.load(path)


def test_k6_older_versions_are_what_they_were(tmp_path):
    """rewind writes the current model under the name of an older one, and may overwrite versions."""
    first = ks.MultKAN([2, 2, 1], grid=3)
    second = fitted().model
    ks.save(tmp_path / "1.h5", first)
    ks.save(tmp_path / "2.h5", second)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = ks.load(tmp_path / "1.h5")
    assert same(again, first) and not same(again, second)
    ks.fit(again, samples(), steps=2, progress=False)
    ks.save(tmp_path / "3.h5", again)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after == {**before, "3.h5": before["1.h5"]}


def test_k7_nothing_is_written_unless_asked(tmp_path, monkeypatch):
    """prune and refine write files although auto_save is off."""
    monkeypatch.chdir(tmp_path)
    model = fitted(grids=[3, 6], penalty=ks.Penalty(l1=1e-3)).model
    model = ks.adapt_grid(ks.refine(model, 12), samples()[0], tolerance=1.0)
    ks.trace(model, samples()[0])
    assert not list(tmp_path.iterdir())


def test_k8_copies_are_made_in_memory(tmp_path, monkeypatch):
    """copy writes files into the working directory and changes the number of the round."""
    monkeypatch.chdir(tmp_path)
    model = fitted().model
    twin = copy.deepcopy(model)
    assert same(twin, model) and repr(twin) == repr(model)
    with torch.no_grad():
        twin.layers[0].splines.coef.zero_()
    assert not same(twin, model)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda own: pickle.loads(pickle.dumps(own))])  # noqa: S301
def test_k9_models_can_be_copied_and_pickled(duplicate):
    """copy.deepcopy and pickle fail after a forward pass, and with symbolic edges."""
    solution = fitted()
    formula = ks.kanpile("exp(sin(x) + y**2)", ["x", "y"]).requires_grad_(True)
    for model in (solution.model, formula):
        x = points(20, 2).requires_grad_()
        model(x).sum().backward()
        assert torch.equal(duplicate(model)(x), model(x))
    twin = duplicate(solution)
    assert same(twin.model, solution.model) and twin.history.loss.tolist() == solution.history.loss.tolist()


def test_k10_data_are_not_in_files(tmp_path):
    """Cached training data are written into every checkpoint, and one operation writes dozens of them."""
    x, y = samples()
    ks.save(tmp_path / "model.h5", fitted(checkpoint=tmp_path / "solve.h5").model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.h5", "solve.h5"]
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert not any(row.numpy().tobytes() in content for row in (*x, *y))
        assert len(content) < 100_000


@pytest.mark.parametrize("device", DEVICES)
def test_k11_models_stay_on_their_device_and_load_on_any(device, tmp_path):
    """Files of models on a GPU cannot be loaded without one; surgery returns models on the CPU."""
    model = ks.MultKAN([2, 2, 1], grid=3, device=device)
    x = points(50, 2).to(device)
    ks.save(tmp_path / "model.h5", model)
    assert all(own.device.type == "cpu" for own in ks.load(tmp_path / "model.h5").state_dict().values())
    moved = [ks.load(tmp_path / "model.h5", device=device), ks.refine(model, 6), ks.adapt_grid(model, x, tolerance=1.0)]
    for own in moved:
        assert {tensor.device.type for tensor in own.state_dict().values()} == {device}
        assert own(x).device.type == device
    assert device == "cpu" or device.encode() not in (tmp_path / "model.h5").read_bytes()


# Splines and layers


@pytest.mark.parametrize("make", [small, lambda: ks.LAN([1, 2, 1], domain=(0, 1))])
def test_b1_functions_continue_outside_their_domain(make):
    """Outside the grid the spline part is zero: values jump."""
    model, eps = make(), 1e-6
    around = torch.tensor([0 - eps, 0 + eps, 1 - eps, 1 + eps], dtype=torch.float64)[:, None]
    with torch.no_grad():
        below, above, before, after = model(around).flatten().tolist()
    assert abs(below - above) + abs(before - after) < 100 * eps
    edge = ks.MultKAN([1, 1], domain=(0, 1), base="zero")
    far = edge(torch.tensor([[5.0], [50.0], [95.0]], dtype=torch.float64)).flatten()
    with torch.no_grad():
        end = edge.jet(torch.ones(1, 1, dtype=torch.float64), "gradient")
    assert far.tolist() == pytest.approx([float(end.value + own * end.gradient) for own in (4, 49, 94)])
    assert abs(float(end.gradient)) > 1e-3


def test_b2_constant_inputs_keep_living_edges():
    """A constant input gets a grid of no width, on which the spline is silently zero."""
    x, y = samples()
    x[:, 1] = 0.7
    data = ks.Dataset(x, y)
    models = [ks.MultKAN([2, 2, 1], domain=data.domain), ks.adapt_grid(ks.MultKAN([2, 2, 1]), x, tolerance=1.0)]
    for model in models:
        edges = splines(model)
        assert (edges.knots.diff(dim=1) > 1e-3).all()
        (slopes,) = torch.autograd.grad(model(x).sum(), edges.coef)
        assert (slopes.abs().sum(2) > 0).all()
    assert ks.fit(models[0], data, steps=5, progress=False).loss < 1
    with pytest.raises(ConfigError, match="low < high"):
        ks.MultKAN([2, 1], domain=[(0, 1), (0.7, 0.7)])


@pytest.mark.parametrize("margin", [0.0, 0.01, 0.25])
def test_b3_the_margin_of_grids_is_an_option(margin):
    """The margin is zero, whatever is asked for and whatever the documentation says."""
    adapted = ks.adapt_grid(ks.MultKAN([1, 1]), X / 2, margin=margin, tolerance=1.0)
    low, high = (float(end) for end in adapted.domain)
    assert (low, high) == pytest.approx((-margin / 2, 0.5 + margin / 2))


def test_b4_projections_need_little_memory():
    """Moving grids solves the same least squares problem for each target, on (in, out, samples, functions) numbers."""
    model, x = ks.MultKAN([20, 30, 1], grid=5), points(2000, 20)
    for move in (lambda: ks.adapt_grid(model, x, tolerance=1.0), lambda: ks.refine(model, 7, tolerance=1.0)):
        assert largest_of(move) < 20 * 30 * 2000


def test_b5_degenerate_and_undefined_problems_end_with_an_answer_or_a_reason():
    """Least squares of few or undefined samples end with 'lstsq failed' and an internal error."""
    model = ks.MultKAN([2, 2, 1], grid=10)
    few = points(4, 2).repeat(5, 1)
    found = ks.fit(model, (few, few[:, :1]), progress=False)
    assert found.loss < 1e-9
    assert all(own.isfinite().all() for own in found.model.state_dict().values())
    assert ks.adapt_grid(model, few, tolerance=1.0)(few).isfinite().all()
    few[7, 0] = math.nan
    for refused in (lambda: ks.fit(model, (few, few[:, :1])), lambda: ks.adapt_grid(model, few)):
        with pytest.raises(DataError, match="NaN or infinity in 1 rows: 7"):
            refused()
    with torch.no_grad():
        splines(model).coef[0, 0, 0] = math.nan
    assert ks.fit(model, samples(), progress=False).status == "diverged"


def test_b6_edges_are_not_written_out_unless_asked():
    """Every forward pass makes three tensors of (samples, targets, sources)."""
    model, x = ks.MultKAN([20, 30, 1], grid=5), points(2000, 20)
    with torch.no_grad():
        assert largest_of(lambda: model(x)) < 30 * 20 * 2000
        assert largest_of(lambda: ks.trace(model, x)) >= 30 * 20 * 2000


@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 1, 3), (0,)])
def test_b7_inputs_may_have_any_leading_dimensions(shape):
    """Inputs must have two dimensions."""
    model = ks.MultKAN([2, [2, 1], 3])
    x = points(max(1, math.prod(shape)), 2)[: math.prod(shape)]
    found = model(x.reshape(*shape, 2))
    assert found.shape == (*shape, 3)
    assert torch.equal(found.reshape(-1, 3), model(x))


def test_b8_only_functions_alive_are_evaluated():
    """The recursion for B-splines goes over all intervals for every sample."""
    x = points(500, 2)
    coarse, fine = (ks.MultKAN([2, 3, 1], grid=grid) for grid in (5, 5000))
    coef = splines(fine).coef
    near = torch.full((1, 2), 1e-4, dtype=torch.float64)
    with torch.no_grad():
        assert largest_of(lambda: fine(x)) < 2 * (largest_of(lambda: coarse(x)) + coef.numel())
        expected = fine(near)
        coef[..., :2500] = coef[..., 2508:] = math.nan
        assert torch.equal(fine(near), expected)


# The compiler of formulas

XYZ = ["x", "y", "z"]


def assert_compiles(text: str, expected: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    x = 0.2 + torch.rand(100, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(ks.kanpile(text, XYZ)(x)[:, 0], expected(*x.T), rtol=1e-13, atol=1e-14)


def test_c1_functions_of_one_variable_in_one_sum_do_not_overwrite_each_other():
    assert_compiles("sin(5*x) + cos(3*x)", lambda x, y, z: (5 * x).sin() + (3 * x).cos())
    assert_compiles("x + x**2", lambda x, y, z: x + x**2)


def test_c2_affine_maps_are_composed_in_order():
    assert_compiles("exp(pi*(x + 3))", lambda x, y, z: (math.pi * (x + 3)).exp())
    assert_compiles("sin(pi*(x + 2) + 3)", lambda x, y, z: (math.pi * (x + 2) + 3).sin())
    assert_compiles("3 + pi*(x + 2)", lambda x, y, z: 3 + math.pi * (x + 2))


@pytest.mark.parametrize("power", ["5/2", "-3/2", "1.5", "-1.5"])
def test_c3_exponents_are_not_rounded_to_integers(power):
    exponent = float(Fraction(power))
    assert_compiles(f"x**({power})", lambda x, y, z: x**exponent)
    assert_compiles(f"y*x**({power})", lambda x, y, z: y * x**exponent)


@pytest.mark.parametrize("power", ["1/3", "0.5", "6", "7", "-6", "0.618"])
def test_c4_any_real_exponent_compiles(power):
    assert_compiles(f"x**({power})", lambda x, y, z: x ** float(Fraction(power)))


def test_c5_functions_are_never_replaced_by_others():
    assert_compiles("exp(x)*sinh(y)", lambda x, y, z: x.exp() * y.sinh())
    assert_compiles("cosh(x) + abs(x - y) + erf(z)", lambda x, y, z: x.cosh() + (x - y).abs() + z.erf())
    with pytest.raises(FormulaError, match=r"cannot compile zeta\(x\)"):
        ks.kanpile(sympy.exp(sympy.Symbol("y")) * sympy.zeta(sympy.Symbol("x")), XYZ)


def test_c6_powers_special_functions_variables_and_constants_compile():
    assert_compiles("2**x", lambda x, y, z: 2**x)
    assert_compiles("x**y", lambda x, y, z: x**y)
    assert_compiles("j0(x)", lambda x, y, z: torch.special.bessel_j0(x))
    assert_compiles("x", lambda x, y, z: x)
    assert_compiles("-x", lambda x, y, z: -x)
    assert_compiles("x + 1", lambda x, y, z: x + 1)
    assert_compiles("7/2", lambda x, y, z: torch.full_like(x, 3.5))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("device", DEVICES)
def test_c7_several_outputs_on_any_device_in_both_precisions(device, dtype):
    model = ks.kanpile(["x*y", "exp(z)"], XYZ).to(device, dtype)
    x = torch.tensor([[2.0, 3.0, 0.0]], device=device, dtype=dtype)
    assert model(x).tolist() == [[6.0, 1.0]]
    assert (model(x).device.type, model(x).dtype) == (device, dtype)


def test_c8_all_equations_of_the_feynman_benchmark_compile():
    """One of 120 did not, and those with half powers were wrong; test_feynman.py has their values."""
    equations = read_equations()
    assert len(equations) == 120
    for equation in equations:
        assert ks.kanpile(equation.formula, equation.names).n_inputs == len(equation.names)


def test_k2_pruned_models_are_saved_as_they_are_and_leave_the_first_one(tmp_path):
    """The checkpoint of a pruned model has the width before, and masks of the model that was pruned change."""
    model, x = ks.MultKAN([3, [4, 1], 1], seed=2), points(60, 3)
    before = copy.deepcopy(model)
    pruned = ks.prune(model, x, node=0.1, edge=0.1, inputs=True)
    assert same(model, before)
    assert pruned.config.columns != model.config.columns
    ks.save(tmp_path / "model.h5", pruned)
    loaded = ks.load(tmp_path / "model.h5")
    assert (loaded.config, loaded.inputs) == (pruned.config, pruned.inputs)
    assert torch.equal(loaded(x[:, loaded.inputs]), pruned(x[:, pruned.inputs]))


def test_k3_pruning_keeps_all_settings():
    """Pruning resets what is trained, grids and base functions to their defaults."""
    model = ks.MultKAN([2, 5, 1], grid=7, k=5, base="x", domain=(0, 3), periodic=[1], seed=3, dtype=torch.float32)
    model.layers[0].subnode_scale.requires_grad_(True)
    splines(model).scale_spline.requires_grad_(True)
    x = 3 * torch.rand(50, 2)
    scores = ks.attribution_scores(model, x).nodes[1]
    pruned = ks.prune(model.eval(), x, node=float(scores.median()), edge=0.0)
    assert pruned.config.columns[1].n_sum < 5
    kept = {"grid", "k", "base", "periodic", "uniform"}
    for new, old in zip(pruned.config.layers, model.config.layers, strict=True):
        assert {name: getattr(new, name) for name in kept} == {name: getattr(old, name) for name in kept}
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert trained == {name: parameter.requires_grad for name, parameter in pruned.named_parameters()}
    assert not pruned.training
    assert torch.equal(splines(pruned).knots, splines(model).knots)


def test_k4_inputs_that_are_left_are_known_whatever_follows(tmp_path):
    """After inputs are pruned a second pass fails, and further pruning takes the wrong columns without a word."""
    x = points(80, 4)
    model = ks.prune(ks.kanpile("sin(b)*d + 0.2*exp(c) + 0.00001*a", list("abcd")), x, inputs=True)
    assert model.inputs == (1, 2, 3)
    for _ in range(2):
        assert ks.trace(model, x[:, model.inputs]).output.shape == (80, 1)
    again = ks.prune(ks.deepen(model, 1), x[:, model.inputs], node=0.5, inputs=True)
    assert again.inputs == (1, 3)
    ks.save(tmp_path / "model.h5", again)
    assert ks.load(tmp_path / "model.h5").inputs == (1, 3)
    expected = x[:, 1].sin() * x[:, 3]
    shift = again(x[:, again.inputs])[:, 0] - expected
    torch.testing.assert_close(shift, shift.mean().expand(80), rtol=0, atol=1e-4)


@pytest.mark.parametrize("do", [ks.prune, lambda model, x: ks.widen(model, 1, 2)])
def test_k12_surgery_writes_and_says_nothing(do, tmp_path, monkeypatch, caplog, capsys):
    """Cutting an edge is filed as a symbolic change, taking out a node as three."""
    monkeypatch.chdir(tmp_path)
    do(ks.MultKAN([2, 5, 1]), points(50, 2))
    assert not list(tmp_path.iterdir())
    assert not caplog.records
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("options", [{"edge": 1e3}, {"node": 1e3}, {"by": "magnitude", "node": 1e3}])
def test_k13_networks_are_never_cut_in_two(options):
    """Pruning can take out a whole layer; it changes a part in place and returns another."""
    model, x = ks.MultKAN([2, [3, 1], 1]), points(50, 2)
    before = copy.deepcopy(model)
    with pytest.raises(ConfigError, match="lower the thresholds"):
        ks.prune(model, x, **options)
    assert same(model, before)


def test_k14_thresholds_are_chosen_by_validation():
    """Thresholds are fixed numbers for scores of the last batch, which are not shown."""
    x, new = points(300, 3), points(300, 3, seed=1)
    model = ks.kanpile("exp(x) + 0.02*sin(3*y) + 0.0005*z", ["x", "y", "z"])
    noise = torch.randn(300, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for size, inputs in ((0.3, (0,)), (5e-3, (0, 1)), (1e-7, (0, 1, 2))):
        assert ks.auto_prune(model, x, (new, model(new) + size * noise), inputs=True).model.inputs == inputs
    scores = ks.attribution_scores(model, x).inputs
    assert list(scores > 1e-2) == [True, True, False]


def both_parts() -> ks.MultKAN:
    """Products of two and of three, symbolic and spline edges, affine maps of nodes and subnodes."""
    model = ks.MultKAN([2, [2, [2, 2, 3]], 2], seed=1)
    generator = torch.Generator().manual_seed(0)
    for layer in model.layers:
        for part in (layer.subnode_scale, layer.subnode_bias, layer.node_scale, layer.node_bias):
            part.data = 1 + 0.1 * torch.randn(part.shape, generator=generator, dtype=torch.float64)
    for edge, name in ((ks.Edge(0, 0, 0), "exp"), (ks.Edge(0, 3, 1), "sin"), (ks.Edge(1, 0, 2), "x**2")):
        model = set_symbol(model, edge, name, (0.5, 0.1, 0.3, 0.2))
    return model


@pytest.mark.parametrize(("i", "j"), [(0, 1), (2, 3)])
def test_a1_a_swap_keeps_affine_maps(i, j):
    """Affine maps are overwritten by a swap: [1, 2, 3] becomes [2, 2, 3]."""
    model, x = both_parts(), points(30, 2)
    swapped = ks.swap(model, 1, i, j)
    assert sorted(swapped.layers[0].node_scale.tolist()) == sorted(model.layers[0].node_scale.tolist())
    torch.testing.assert_close(swapped(x), model(x), rtol=1e-13, atol=1e-13)


def test_a2_a_swap_takes_symbolic_functions_along():
    """Functions of symbolic edges stay where they were: outputs change by up to 2e4."""
    model, x = both_parts(), points(30, 2)
    swapped = ks.swap(model, 1, 0, 1)
    assert swapped.config.layers[0].symbols[1][0] == "exp"
    torch.testing.assert_close(swapped(x), model(x), rtol=1e-13, atol=1e-13)


def test_a3_a_swap_of_products_takes_all_their_subnodes():
    """Nodes and subnodes are not told apart; products of different numbers of factors change places here."""
    model, x = both_parts(), points(30, 2)
    swapped = ks.swap(model, 1, 2, 4)
    assert swapped.config.columns[1].arities == (3, 2, 2)
    torch.testing.assert_close(swapped(x), model(x), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("width", [[4, 3, 2, 1], [4, 2, 3, 1], [2, [1, 2], [2, [2, 3]], 3, 2]])
def test_a4_columns_of_any_size_can_be_arranged(width):
    """The order of all columns is sought with the size of the first one."""
    model = ks.MultKAN(width, seed=5)
    x = points(50, width[0])
    arranged = ks.arrange(model, x)
    assert ks.connection_cost(arranged, x) < ks.connection_cost(model, x)
    torch.testing.assert_close(arranged(x), model(x), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("width", [[2, [0, [2, 3]], 2], [2, [1, [3]], 3], [3, [2, [2, 4]], 1]])
def test_a5_products_of_any_number_of_factors_have_scores(width):
    """Lists of arities crash, or scores are transposed where sizes happen to agree."""
    model = ks.MultKAN(width, seed=1)
    found = ks.attribution_scores(model, points(50, width[0]))
    shares = found.shares_per_output
    for own in shares.nodes:
        torch.testing.assert_close(own.sum(1), torch.ones(width[-1], dtype=torch.float64))
    for layer, edges in zip(model.layers, found.edges, strict=True):
        assert edges.shape == (layer.config.out.n_subnodes, layer.config.n_in)


def test_a6_new_columns_are_part_of_the_model():
    """Deeper networks fail with the default arity, and what is new is neither trained nor saved nor moved."""
    model = ks.MultKAN([2, [2, 1], 1])
    deeper = ks.deepen(model, 2).to(torch.float32)
    names = dict(deeper.named_parameters()).keys()
    assert {f"layers.1.{name}" for name in ("node_scale", "node_bias", "subnode_scale", "symbols.affine")} <= names
    assert all(tensor.dtype == torch.float32 for tensor in deeper.state_dict().values())
    x = points(30, 2).float()
    torch.testing.assert_close(deeper(x), model.float()(x))


@pytest.mark.parametrize("added", [{"sums": 2}, {"arities": [2, 3]}, {"sums": 1, "arities": [2]}])
def test_a7_wider_networks_keep_what_they_learned(added):
    """Layers beside the new nodes are replaced by new ones; trained splines are lost."""
    model, x = both_parts(), points(30, 2)
    wider = ks.widen(model, 1, **added)
    torch.testing.assert_close(wider(x), model(x), rtol=1e-13, atol=1e-13)
    assert torch.isin(splines(model).coef, splines(wider).coef).all()


def test_a8_masks_are_masks_and_edges_of_both_kinds_count():
    """Perturbing writes its amplitude into masks; a symbolic network has no edge."""
    model = ks.kanpile("sin(x)*y", ["x", "y"])
    assert sum(int(present_edges(layer).sum()) for layer in model.layers) == 2
    perturbed = ks.perturb(model, edges="all", scale=0.1)
    assert splines(perturbed).mask.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert present_edges(perturbed.layers[0]).all()


def test_a9_the_list_of_widths_stays_the_callers():
    """The width that was passed changes, and models share it."""
    width = [2, [3, [2, 3]], 1]
    model = ks.MultKAN(width)
    assert width == [2, [3, [2, 3]], 1]
    wider, columns = ks.widen(model, 1, 1), model.config.columns
    width[1] = 7
    assert (model.config.columns, wider.config.columns[1].n_sum) == (columns, 4)


def test_a10_affine_maps_are_parameters_of_the_model():
    """Biases of nodes are made by running text as code."""
    model = ks.MultKAN([2, [3, 1], 1])
    names = [name for name, _ in model.named_parameters()]
    assert {f"layers.{layer}.{name}" for layer in (0, 1) for name in ("node_bias", "subnode_bias")} <= set(names)
    assert not hasattr(ks.MultKAN, "node_bias_0")


def test_h2_activations_of_an_mlp_are_those_asked_for():
    """The activation of an MLP is ignored."""
    x = points(20, 2)
    outputs = [ks.MLP([2, 4, 1], activation=name, seed=1)(x) for name in ("silu", "tanh", "sin")]
    assert not any(torch.allclose(a, b) for a, b in itertools.pairwise(outputs))
    assert len(ks.attribution_scores(ks.MLP([2, 4, 1]), x).inputs) == 2


def test_h3_penalized_losses_have_second_derivatives():
    """Derivatives of a loss with a penalty fail, and parameters are found by running text as code."""
    model, x = ks.MultKAN([1, 2, 1], grid=2), points(20, 1)
    parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}

    def loss(own: dict[str, Tensor]) -> Tensor:
        edges = torch.func.functional_call(Looking(model), {f"model.{name}": p for name, p in own.items()}, (x,))
        return penalize(ks.Penalty(l1=0.1, entropy=0.2, smoothness=0.3), edges)

    hessian = torch.func.hessian(loss)(parameters)
    one, two = "layers.0.splines.coef", "layers.1.splines.coef"
    assert hessian[one][two].any()
    torch.testing.assert_close(hessian[one][two].permute(3, 4, 5, 0, 1, 2), hessian[two][one])


class Looking(nn.Module):
    """The edges of a model as the output of a module."""

    def __init__(self, model: ks.MultKAN) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        return look(self.model, x)


@pytest.mark.parametrize("device", DEVICES)
def test_h4_interactions_and_features_live_on_any_device_and_have_derivatives(device):
    """Interactions of features fail off the CPU; auxiliary variables have no gradient."""
    features = ks.auxiliary_features("x*y", ["x", "y"])
    model = ks.MultKAN([3, 2, 1], features=features).to(device)
    x = points(20, 2).to(device).requires_grad_(True)
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    torch.testing.assert_close(gradient, model.jet(x.detach(), "gradient").gradient[:, 0])
    assert ks.feature_interactions(model, x.detach()) == {(0, 1, 2): 2}


def test_h5_scales_of_targets_are_part_of_the_model():
    """Statistics of normalized data are thrown away; a wrong mode ends in an unbound name."""
    x = points(100, 1)
    y = 1e6 + 1e3 * x.exp()
    solution = ks.fit(ks.MultKAN([1, 1]), (x, y), steps=10, progress=False)
    assert (solution.model(x) - y).abs().max() < 1
    wrong: Any = "rows"
    with pytest.raises(ConfigError):
        ks.fit(ks.MultKAN([1, 1]), (x, y), method=wrong)


def test_h6_rounds_of_training_and_pruning_go_on_from_what_they_return():
    """The loop of training, pruning and refining goes back to versions by fixed numbers."""
    x, y = samples(100)
    model, seen = ks.MultKAN([2, 3, 1], grid=2), []
    for grid in (2, 4):
        model = ks.fit(ks.refine(model, grid), (x, y), steps=5, penalty=ks.Penalty(l1=1e-3), progress=False).model
        model = ks.prune(model, x)
        seen.append((model, model(x).detach()))
    assert [each.config.layers[0].grid for each, _ in seen] == [2, 4]
    assert all(torch.equal(each(x), values) for each, values in seen)


def test_h7_only_names_of_kansci_are_exported():
    """All names of sympy, numpy and torch come along."""
    public = {name for name in dir(ks) if not name.startswith("_")}
    assert not public & {"torch", "np", "numpy", "sympy", "plt", "sin", "nn", "os"}
    assert "attribution_scores" in public


def test_h8_requirements_are_lower_bounds_and_files_of_the_package_are_shipped():
    """Requirements are pinned to versions that cannot work, and none is declared for installation."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert all(">=" in own and "==" not in own for own in project["dependencies"])
    assert all(importlib.util.find_spec(name) for name in ("torch", "numpy", "scipy", "sympy", "h5py"))
    assert (Path(ks.__file__).parent / "py.typed").exists()


def test_h9_pictures_are_drawn_once_as_curves_and_returned(tmp_path, monkeypatch):
    """Each edge becomes a file of pixels that is read again; nothing is returned, and pictures are no vectors."""
    monkeypatch.chdir(tmp_path)
    axes = ks.plot.draw_network(ks.MultKAN([2, 3, 1]), points(30, 2))
    assert not list(tmp_path.iterdir())
    picture = io.StringIO()
    axes.figure.canvas.print_figure(picture, format="svg")
    assert "<image" not in picture.getvalue()


def square(n, d):
    """Points of [-1, 1]^d."""
    return 2 * torch.rand(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1


LIST_ARITIES = [2, [2, [2, 3]], [1, [3, 2]], [0, [2]]]


def test_s1_formulas_of_products_of_any_arity():
    """Subnodes are grouped by a stride of two: [3, 2] gives x3 x4 for x1 x4."""
    model = ks.MultKAN(LIST_ARITIES)
    for number, layer in enumerate(model.layers):
        names = ("x", "sin", "x**2")
        for target in range(layer.config.out.n_subnodes):
            for source in range(layer.config.n_in):
                function = names[(target + source) % 3]
                model = set_symbol(model, ks.Edge(number, target, source), function, (0.7, 0.1, 0.5, 0.2))
    x = points(50, 2)
    read = ks.torch_function(ks.formula(model, ["x", "y"])[0], ["x", "y"])
    assert torch.allclose(read(x).reshape(-1, 1), model(x), rtol=1e-10, atol=1e-12)


def test_s2_what_is_no_formula_is_an_error_that_names_the_edge():
    """A bare except prints and returns None."""
    model = set_symbol(ks.MultKAN([2, 1]), ks.Edge(0, 0, 0), "sin")
    with pytest.raises(FormulaError, match=r"Edge\(layer=0, target=0, source=1\)"):
        ks.formula(model)


def test_s3_formulas_are_simplified_on_request():
    """The option is the name of an imported function and does nothing."""
    model = ks.kanpile("x*y", ["x", "y"], products="squares")
    text = {str(ks.formula(model, ["x", "y"], simplify=True)[0])}
    assert text == {"x*y"}


def test_s4_suggesting_changes_nothing():
    """Masks are rewritten, and the function tried last is left on the edge."""
    model = ks.kanpile("sin(x) + y", ["x", "y"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ks.suggest(model, points(50, 2), ks.Edge(0, 0, 0), functions=["sin", "exp"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_s5_thawing_leaves_what_is_cut():
    """Going back to splines revives edges that have been pruned."""
    model = ks.kanpile("sin(x) + exp(y)", ["x", "y"])
    layer: Any = model.layers[0]
    layer.symbols.mask[0, 1] = 0
    thawed: Any = ks.thaw(model, points(100, 2)).layers[0]
    assert not thawed.splines.mask[0, 1]


def test_s6_functions_are_called_in_one_way():
    """x^1.5 next to its singularity returns a number where two are expected."""
    for name in [*LIBRARY, "x**1.5", "x**-3"]:
        row = ks.functions.library_function(name)
        low, high = row.domain
        x = torch.linspace(max(low, -2.3), min(high, 2.3), 7, dtype=torch.float64)[1:-1]
        assert [own.shape for own in row.jet(x, 3)] == [x.shape] * 4


def test_s7_functions_of_ones_own_work_on_edges():
    """User functions crash where singularities are avoided."""
    ks.register_function("hat", lambda x: 1 / (1 + x**2), lambda sp, x: 1 / (1 + x**2))
    try:
        model = set_symbol(ks.MultKAN([1, 1]), ks.Edge(0, 0, 0), "hat", (2.0, 0.0, 1.0, 0.0))
        assert model(torch.ones(1, 1, dtype=torch.float64)).item() == pytest.approx(0.2)
        assert model.jet(torch.ones(1, 1, dtype=torch.float64), "hessian").gradient.item() == pytest.approx(-0.16 * 2)
        assert str(ks.formula(model, ["x"])[0]) == "1/(4*x**2 + 1)"
    finally:
        del LIBRARY["hat"]


@pytest.mark.parametrize("amplitude", [1e-6, 1.0, 1e6])
def test_s8_scores_do_not_know_units(amplitude):
    """R2 has 1e-4 in its denominator: an edge of amplitude 1e-6 fits nothing."""
    model = set_symbol(ks.MultKAN([1, 1]), ks.Edge(0, 0, 0), "sin", (3.0, 0.0, amplitude, 0.0))
    best = ks.suggest(model, square(200, 1), ks.Edge(0, 0, 0), functions=["x**2", "sin", "tanh"])[0]
    assert best.function == "sin"
    assert best.error < 1e-12


def test_s9_frequencies_beyond_ten_are_found():
    """The search ends at a = 10 and takes what is undefined for zero."""
    model = ks.kanpile("sin(20*x) + log(y + 2)", ["x", "y"])
    x = square(400, 2)
    best = [ks.suggest(model, x, ks.Edge(0, 0, i), functions=["x", "sin", "log", "sqrt"])[0] for i in (0, 1)]
    assert [own.function for own in best] == ["sin", "log"]
    assert abs(best[0].constants[0]) == pytest.approx(20)


def test_s10_many_points_cost_no_memory():
    """Each zoom of the search holds 10201 times the points."""
    model = ks.kanpile("sin(3*x)", ["x"])
    found = edge_curve(model, torch.rand(200_000, 1, dtype=torch.float64), ks.Edge(0, 0, 0))
    assert len(found.x) < 1000


def test_s11_equal_numbers_are_not_the_same_constant():
    """Rounding goes by value, so that equal constants become one."""
    x = square(200, 2)
    y = 2 * x[:, :1] + 2.1 * x[:, 1:].sin()
    model = ks.kanpile("2.07*x + 2.07*sin(y)", ["x", "y"])
    assert str(ks.formula(ks.round_constants(model, (x, y)), ["x", "y"])[0]) == "2*x + 21*sin(y)/10"


def test_s12_results_do_not_depend_on_what_was_looked_at_before():
    """The last forward pass decides what is suggested."""
    model, x = ks.kanpile("sin(3*x)", ["x"]), square(100, 1)
    first = ks.suggest(model, x, ks.Edge(0, 0, 0), functions=["sin", "x"])
    model(1e-3 * x)
    again = ks.suggest(model, x, ks.Edge(0, 0, 0), functions=["sin", "x"])
    assert [own.function for own in again] == [own.function for own in first]
    assert again[0].constants == pytest.approx(first[0].constants, abs=1e-12)


def test_s13_simple_functions_do_not_beat_good_fits():
    """With the weight of simplicity that is the default, x and 0 are preferred to what fits."""
    x = square(200, 1)
    data = (x, x + 0.05 * (3 * x).sin())
    model = ks.fit(ks.MultKAN([1, 1], grid=20), data, progress=False).model
    found = ks.snap(model, data, functions=["x", "x**2", "sinh", "atan"])
    step = found.steps[0]
    assert step.function != "x"
    assert step.loss == min(own.loss for own in step.trials) or step.loss < step.trials[-1].loss
    assert step.spline_loss < step.loss  # said side by side


def test_every_defect_has_its_test():
    numbers = {
        "t": range(1, 15),
        "k": range(1, 15),
        "a": range(1, 11),
        "b": range(1, 9),
        "c": range(1, 9),
        "h": range(1, 12),
        "s": range(1, 14),
    }
    expected = {f"{letter}{number}" for letter, each in numbers.items() for number in each}
    assert {name.split("_")[1] for name in globals() if name.startswith("test_")} == {*expected, "every"}


@pytest.mark.parametrize("kind", ["additive", "generalized"])
def test_h1_separability_of_a_pure_sum(kind):
    """pykan divides by the largest entry of a Hessian that is zero, and fails for want of groups."""
    found = ks.detect_separability(lambda x: 2 * x[:, 0] - x[:, 1] + 3, points(100, 2), kind)
    assert (found.verdict, found.groups) == ("yes", ((0,), (1,)))


def test_h10_reports_are_returned_and_nothing_is_printed(capsys):
    x = points(100, 3)
    found = [
        ks.detect_separability(lambda x: x[:, 0] * x[:, 1] + x[:, 2], x),
        ks.detect_symmetry(lambda x: x[:, 0] * x[:, 1] + x[:, 2], x, [0, 1]),
        ks.structure_tree(lambda x: x[:, 0] * x[:, 1] + x[:, 2], x),
    ]
    assert all(len(repr(report).splitlines()) > 2 for report in found)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_h11_thresholds_of_structure_tests_are_errors_not_numbers(scale):
    """pykan calls 0.001 x y a sum, and 1000 times x + y + 0.001 x y none."""
    x = points(300, 2)
    product = ks.detect_separability(lambda x: scale * x[:, 0] * x[:, 1], x, error=1e-3)
    weak = [
        ks.detect_separability(lambda x: scale * (x.sum(1) + 1e-3 * x.prod(1)), x, error=error).verdict
        for error in (1e-2, 1e-5)
    ]
    assert (product.verdict, weak) == ("no", ["yes", "no"])
