"""Who takes part: how each library trains a network for a task, as its documentation has it.

All are in float64, from one seed, and begin when everything is built and compiled.

kansci    `fit` or `solve` from coarse to fine; "lm" with the default of steps, which ends by itself, other methods with
          as many as fill the time
MLP       kansci's: two hidden tanh layers, as many parameters as kansci's KAN, the same methods
pykan     `fit` on each grid in turn, for equal times, LBFGS as by default and Adam at the rate of its tutorials; for
          equations the loop of its tutorial, without the symbolic branch as there
inKAN     its default grid, as wide as the parameters allow; torch's L-BFGS with pykan's settings, and Adam at ten times
          the rate of its documentation, which is better for it here, as is the coarse grid
DeepXDE   three hidden tanh layers, as many parameters; Adam for half of the time, then L-BFGS
"""

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import kansci as ks
from tests.benchmarks.contenders import count_parameters, equal_width, inkan
from tests.benchmarks.race.tasks import Equation, Regression, Task
from tests.benchmarks.race.track import Track

METHODS = ("lm", "ssbroyden", "bfgs", "lbfgs", "adam")
FOREVER = 10**7
TRIAL = 0.2  # seconds
GRID_UPDATES, GRID_UPDATE_EVERY = 50, 5  # pykan's
LBFGS = {"lr": 1, "history_size": 10, "line_search_fn": "strong_wolfe", "tolerance_grad": 1e-32}
LBFGS |= {"tolerance_change": 1e-32}


@dataclass(frozen=True)
class Entrant:
    """A library with a method.

    Attributes:
        library: its name.
        method: the method's name.
        train: runs it on a task under the clock of a track, and says how the run ended.
        tasks: the kind of tasks that it can do.
    """

    library: str
    method: str
    train: Callable[[Any, Track], str]
    tasks: type[Task] = Task

    @property
    def name(self) -> str:
        """Library and method."""
        return f"{self.library} {self.method}"


class Scaled(nn.Module):
    """A network behind the map from the task's box to [-1, 1]^d."""

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.network, self.task = network, task

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.task.scale(x))


def train_kan(task: Task, track: Track, *, method: str) -> str:
    """kansci's KAN from coarse to fine."""
    width, k, grids = task.network.width, task.network.k, task.network.grids
    model = ks.MultKAN(list(width), grid=grids[0], k=k, domain=task.box)
    return _solve(task, track, method, model, ks.refine(model, grids[-1]), grids)


def train_mlp(task: Task, track: Track, *, method: str) -> str:
    """kansci's MLP of as many parameters."""
    width = task.network.width
    hidden = equal_width(width[0], width[-1], task.network.parameters, layers=2)
    model = ks.MLP([width[0], hidden, hidden, width[-1]], domain=task.box)
    return _solve(task, track, method, model, model, None)


def _solve(
    task: Task, track: Track, method: str, model: nn.Module, finest: nn.Module, grids: tuple[int, ...] | None
) -> str:
    each = sum(_time_step(task, method, own) for own in (model, finest)) / 2
    steps = round(track.limit / len(grids or (1,)) / each)
    options = {} if method == "lm" else {"steps": max(steps, 1)}
    track.start(count_parameters(finest))
    solution = task.solve(
        model, method=method, grids=grids, callback=lambda step: track.look(lambda: step.model), **options
    )
    if solution.status == "interrupted" and track.elapsed() < track.limit:
        raise KeyboardInterrupt
    track.finish(lambda: solution.model)
    return "time" if solution.status == "interrupted" else solution.status


def _time_step(task: Task, method: str, model: nn.Module) -> float:
    """Seconds of a step, without what comes before the first."""
    begin = time.perf_counter()
    trial = task.solve(
        model, method=method, steps=FOREVER, callback=lambda step: time.perf_counter() - begin > TRIAL and step.step > 1
    )
    return float(np.diff(trial.history.seconds).mean())


def train_pykan_fit(task: Regression, track: Track, *, method: str, **options: Any) -> str:
    """pykan's fit, grid after grid."""
    x, y = task.train
    x = task.scale(x)
    data = {"train_input": x, "train_label": y, "test_input": x[:1], "test_label": y[:1]}

    def fit(model: Any, look: Callable[[], Tensor]) -> None:
        model.fit(data, opt=method, steps=FOREVER, metrics=[look], **options)

    return _pykan(task, track, x, fit)


def train_pykan_loop(task: Equation, track: Track, *, method: str, **options: Any) -> str:
    """The loop of pykan's tutorial on equations, grid after grid."""
    inside = task.scale(task.train[0])

    def train(model: Any, look: Callable[[], Tensor]) -> None:
        model.speed()
        scaled = Scaled(model, task)
        if method == "LBFGS":
            optimizer = import_module("kan.LBFGS").LBFGS(model.parameters(), **LBFGS, tolerance_ys=1e-32)
        else:
            optimizer = torch.optim.Adam(model.parameters(), **options)
        for number in range(FOREVER):
            if number < GRID_UPDATES and number % GRID_UPDATE_EVERY == 0:
                model.update_grid_from_samples(inside)
            _step(optimizer, partial(task.loss, scaled))
            look()

    return _pykan(task, track, inside, train)


class _StageOver(Exception):  # noqa: N818
    """Ends pykan's fit, which has no other way out."""


def _pykan(task: Task, track: Track, x: Tensor, train: Callable[[Any, Callable[[], Tensor]], None]) -> str:
    """Give every grid the same time, and carry the model over as pykan's tutorials do."""
    KAN = import_module("kan").KAN
    network = task.cubic
    with tempfile.TemporaryDirectory() as folder:
        options = {"k": network.k, "seed": 0, "ckpt_path": folder}
        model = KAN(width=list(network.width), grid=network.grids[0], auto_save=False, **options)
        task.loss(Scaled(model, task)).backward()
        model.zero_grad()
        track.start(0)
        for number, grid in enumerate(network.grids):
            end = track.limit * (number + 1) / len(network.grids)
            if number:
                model.save_act = True
                model.get_act(x)
                model = model.refine(grid)
                model.auto_save = False
            track.parameters = count_parameters(model.act_fun)
            scaled = Scaled(model, task)

            def look(end: float = end, scaled: nn.Module = scaled) -> Tensor:
                if track.look(lambda: scaled) or track.elapsed() > end:
                    raise _StageOver
                return torch.zeros(())

            with suppress(_StageOver):
                train(model, look)
            if track.elapsed() >= track.limit:
                break
    return "time"


def train_inkan(task: Task, track: Track, *, method: str) -> str:
    """A plain loop; without compilation where there are derivatives, as inKAN's documentation says."""
    network = task.cubic.widened(grid=5)
    compiled = isinstance(task, Regression)
    model = Scaled(inkan(network.width, network.grids[0], compile_basis=compiled), task)
    loss = partial(task.loss, model)
    if method == "LBFGS":
        optimizer = torch.optim.LBFGS(model.parameters(), **LBFGS)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loss().backward()
    with torch.no_grad():
        task.error(model)
    track.start(count_parameters(model))
    while True:
        _step(optimizer, loss)
        if track.look(lambda: model):
            return "time"


def _step(optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> None:
    def closure() -> Any:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)


def train_deepxde(task: Equation, track: Track) -> str:
    """Adam, then L-BFGS, as in DeepXDE's demos of Poisson's equation."""
    os.environ["DDE_BACKEND"] = "pytorch"
    dde: Any = import_module("deepxde")
    dde.config.set_default_float("float64")
    # A call of L-BFGS takes a thousand iterations: too many to look in between.
    dde.optimizers.config.LBFGS_options.update(iter_per_step=20, fun_per_step=25)
    inside, boundary = task.train

    def equation(x: Tensor, u: Tensor) -> Tensor:
        laplacian = sum(dde.grad.hessian(u, x, i=axis, j=axis) for axis in range(len(task.box)))
        return laplacian + task.fields.source(x)[:, None]

    values = task.fields.boundary(boundary)[:, None]
    low, high = zip(*task.box, strict=True)
    data = dde.data.PDE(
        dde.geometry.Hypercube(list(low), list(high)),
        equation,
        [dde.icbc.PointSetBC(boundary.numpy(), values.numpy())],
        anchors=inside.numpy(),
    )
    hidden = equal_width(len(task.box), 1, task.network.parameters, layers=3)
    net = dde.nn.FNN([len(task.box)] + [hidden] * 3 + [1], "tanh", "Glorot uniform")
    model = dde.Model(data, net)

    class Look(dde.callbacks.Callback):
        """Ends a phase at a time."""

        def __init__(self, end: float) -> None:
            super().__init__()
            self.end = end

        def on_epoch_end(self) -> None:
            self.model.stop_training = track.look(lambda: net) or track.elapsed() > self.end

    model.compile("adam", lr=1e-3, loss_weights=list(task.weights), verbose=0)
    track.start(count_parameters(net))
    model.train(iterations=FOREVER, display_every=FOREVER, callbacks=[Look(track.limit / 2)], verbose=0)
    model.compile("L-BFGS", loss_weights=list(task.weights), verbose=0)
    model.train(display_every=FOREVER, callbacks=[Look(track.limit)], verbose=0)
    track.finish(lambda: net)
    return "time" if track.elapsed() >= track.limit else "stalled"


ENTRANTS = (
    *(Entrant("kansci", method, partial(train_kan, method=method)) for method in METHODS),
    *(Entrant("MLP", method, partial(train_mlp, method=method)) for method in METHODS),
    Entrant("pykan", "LBFGS", partial(train_pykan_fit, method="LBFGS"), Regression),
    Entrant("pykan", "Adam", partial(train_pykan_fit, method="Adam", lr=1e-2), Regression),
    Entrant("pykan", "LBFGS", partial(train_pykan_loop, method="LBFGS"), Equation),
    Entrant("pykan", "Adam", partial(train_pykan_loop, method="Adam", lr=1e-2), Equation),
    Entrant("inKAN", "LBFGS", partial(train_inkan, method="LBFGS")),
    Entrant("inKAN", "Adam", partial(train_inkan, method="Adam")),
    Entrant("DeepXDE", "Adam + L-BFGS", train_deepxde, Equation),
)
