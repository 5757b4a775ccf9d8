"""One solve: stages of grids, the loop over the steps of a method, and what is kept on the way."""

import copy
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from kansci.errors import ConfigError
from kansci.nn.networks import SplineNetwork
from kansci.sealed import Group
from kansci.solvers import ranks, resume
from kansci.solvers.error import estimate_error
from kansci.solvers.hidden import Reach, follow
from kansci.solvers.interrupt import Interrupt
from kansci.solvers.method import Method
from kansci.solvers.normal import Linearization
from kansci.solvers.penalty import Penalty
from kansci.solvers.prior import Information
from kansci.solvers.problem import Problem, check_rows, shared
from kansci.solvers.residual import Residual
from kansci.solvers.resume import Checkpoint
from kansci.solvers.settle import settle
from kansci.solvers.solution import Clock, Estimate, History, Now, Solution, Step
from kansci.solvers.system import Evaluation, System
from kansci.solvers.uncertainty import standard_errors
from kansci.solvers.unknowns import Unknowns
from kansci.surgery.grid import refine

logger = logging.getLogger(__name__)

Callback = Callable[[Step], Any]
Resample = Callable[[Any], Sequence[Residual]]

TOLERANCE, STAGE_TOLERANCE = 1e-4, 1e-3
LOSS_JUMP = 1.0
SHOW = 1.0  # seconds
FINAL = ("interrupted", "max_seconds", "diverged")
GOES_ON = ("interrupted", "max_seconds", "max_steps")


@dataclass
class Stand:
    """Where a solve stands between two steps.

    Attributes:
        system: terms, models and scalars as they are.
        at: the last point.
        best: the point with the lowest score.
        score: loss of the best, or its loss on validation points.
        stage: number of the stage.
        done: steps of this stage.
        idle: steps since the best.
        losses: of the last round of steps; begun anew where a loss rises, as on grids that have grown.
        status: how the stage ended, None while it lasts.
        history: all steps.
    """

    system: System
    at: Evaluation
    best: Evaluation
    score: float
    stage: int = 0
    done: int = 0
    idle: int = 0
    losses: list[float] = field(default_factory=list)
    status: str | None = None
    history: list[Step] = field(default_factory=list)


@dataclass
class Run:
    """What a solve is told.

    Attributes:
        problem: models, terms and free scalars.
        method: what takes the steps.
        stages: the grid of each stage, None for the models' own.
        steps: largest number of steps of each stage.
        tolerance: smallest fraction by which a round of steps lowers the loss; None for the defaults.
        clock: when the solve began, and when it shall end.
        penalty: what is added to the loss to keep networks small and smooth.
        prior: what earlier data say.
        memory: bytes that a Jacobian may take.
        seed: of the rows on which the terms are checked.
        callback: called after each step.
        resample: gives other points before each stage after the first.
        fresh: the terms on other points, for the error estimate.
        validation: the terms on other points, by which the best step is chosen.
        patience: steps of a stage that may pass without a better one.
        checkpoint: where the solve is kept, and from where it goes on.
        fingerprint: of the problem, for the checkpoint.
        progress: whether to show a bar.
    """

    problem: Problem
    method: Method
    stages: Sequence[int | None]
    steps: int
    tolerance: float | None
    clock: Clock
    memory: float
    seed: int
    penalty: Penalty | None = None
    prior: Information | None = None
    callback: Callback | None = None
    resample: Resample | None = None
    fresh: tuple[Residual, ...] = ()
    validation: tuple[Residual, ...] = ()
    patience: int | None = None
    checkpoint: Checkpoint | None = None
    fingerprint: str = ""
    progress: bool = True

    def __post_init__(self) -> None:
        """Nothing is kept yet."""
        self._kept = -math.inf

    def solve(self) -> Solution:
        """Go through the stages."""
        stand = self._start()
        with Interrupt() as interrupt:
            while True:
                self._descend(stand, interrupt)
                if stand.status in FINAL or stand.stage == len(self.stages) - 1:
                    break
                self._advance(stand)
        at = settle(stand.system, stand.best)
        return self._solution(stand, at)

    def _start(self) -> Stand:
        """Where the checkpoint stands, or else the beginning."""
        kept = self.checkpoint
        state = None if kept is None else resume.read(kept.path, self.fingerprint)
        if kept is None or state is None:
            return self._begin()
        with resume.refusing(kept.path):
            return self._unpack(state)

    def _begin(self) -> Stand:
        system = self._system({name: Unknowns(model) for name, model in self.problem.models.items()})
        at = system.evaluate(system.read(self.problem.starts))
        check_rows(system, at, self.seed)
        stand = Stand(system, at, at, math.inf)
        self._enter(stand, self._on_grid(stand))
        return stand

    def _enter(self, stand: Stand, at: Evaluation) -> None:
        """Begin to count at a point."""
        stand.at = stand.best = at
        stand.score, stand.losses, stand.idle = self._score(stand), [at.loss], 0

    def _advance(self, stand: Stand) -> None:
        """From the best point of a stage to the next one, on other points and finer grids."""
        stand.at = settle(stand.system, stand.best)
        stand.stage, stand.done, stand.status = stand.stage + 1, 0, None
        if self.resample is not None:
            terms = Problem.read(self._models(stand), self.resample(self._model(stand)), self.problem.scalars).terms
            stand.at = self._replace_terms(stand.system, stand.at, terms, "resample")
        at = self._on_grid(stand)
        self.method.begin(stand.system)
        self._enter(stand, at)

    def _on_grid(self, stand: Stand) -> Evaluation:
        """The last point on the grid of its stage."""
        grid = self.stages[stand.stage]
        if grid is not None:
            stand.system, stand.at = self._refined(stand.system, stand.at, grid)
        return stand.at

    def _replace_terms(self, system: System, at: Evaluation, terms: Sequence[Residual], who: str) -> Evaluation:
        """Go on with the same terms on other points."""
        if [term.name for term in terms] != [term.name for term in self.problem.terms]:
            raise ConfigError(f"expected {who} to return the terms {self.problem.names}, got {terms}")
        system.terms = terms
        return system.evaluate(at.vector)

    def _system(self, models: dict[str, Unknowns], terms: Sequence[Residual] | None = None) -> System:
        chosen = self.problem.terms if terms is None else terms
        return System(chosen, models, tuple(self.problem.scalars), self.problem.single, self.penalty, self.prior)

    def _refined(self, system: System, at: Evaluation, grid: int) -> tuple[System, Evaluation]:
        """The same functions on finer grids, tightened around the activations where that costs nothing."""
        system.place(at)
        scalars = system.free(at.vector)
        models = {name: _refine(unknowns, grid) for name, unknowns in system.models.items()}
        finer = self._system(models, system.terms)
        exact = finer.evaluate(finer.read(scalars))
        models = {name: _tighten(unknowns, exact.reach[name]) for name, unknowns in finer.models.items()}
        tight = self._system(models, system.terms)
        tightened = tight.evaluate(tight.read(scalars))
        jump = tightened.loss - exact.loss
        return (tight, tightened) if jump < LOSS_JUMP * abs(exact.loss) else (finer, exact)

    def _descend(self, stand: Stand, interrupt: Interrupt) -> None:
        """The steps of a stage."""
        if not math.isfinite(stand.at.loss):
            stand.status = "diverged"
        label = f"stage {stand.stage + 1} of {len(self.stages)}"
        hidden = None if self.progress and ranks.rank() == 0 else True
        with tqdm(total=self.steps, initial=stand.done, disable=hidden, desc=label, leave=False) as bar:
            stand.system.tick = self._ticker(bar, interrupt)
            while stand.status is None:
                stand.system.place(stand.at)
                found = self.method.step(stand.system, stand.at) if stand.done < self.steps else "max_steps"
                stand.status = ranks.agree(found if isinstance(found, str) else self._accept(stand, found, interrupt))
                self._keep(stand)
                bar.set_postfix_str(f"loss {stand.at.loss:.2e}", refresh=False)
                bar.update(stand.done - bar.n)

    def _ticker(self, bar: Any, interrupt: Interrupt) -> Callable[[int], bool]:
        """Shows how many points have been propagated within a step that takes long."""
        start, total = time.perf_counter(), 0

        def tick(points: int) -> bool:
            nonlocal start, total
            total += points
            if time.perf_counter() - start > SHOW:
                bar.set_postfix_str(f"{total} points")
                start = time.perf_counter()
            return interrupt.pressed or self.clock.is_over()

        return tick

    def _accept(self, stand: Stand, found: Evaluation, interrupt: Interrupt) -> str | None:
        """Take a step; the status if it was the last one."""
        stand.at, stand.done = found, stand.done + 1
        rises = not found.loss < stand.losses[-1]
        stand.losses = [found.loss] if rises else [*stand.losses[-self.method.round :], found.loss]
        score = self._score(stand)
        stand.idle += 1
        if score < stand.score:
            stand.best, stand.score, stand.idle = found, score, 0
        stand.history.append(self._record(stand, score))
        if self._is_told_to_stop(stand) or interrupt.pressed:
            return "interrupted"
        if (stand.at.loss == 0 and stand.system.is_least_squares) or self._is_flat(stand):
            return "converged"
        if self.patience is not None and stand.idle >= self.patience:
            return "stopped_early"
        return "max_seconds" if self.clock.is_over() else None

    def _is_flat(self, stand: Stand) -> bool:
        is_last = stand.stage == len(self.stages) - 1
        default = TOLERANCE if is_last else STAGE_TOLERANCE
        tolerance = default if self.tolerance is None else self.tolerance
        losses, length = stand.losses, self.method.round
        return len(losses) > length and losses[-1 - length] - losses[-1] < tolerance * abs(losses[-1 - length])

    def _score(self, stand: Stand) -> float:
        """What the best point is chosen by."""
        if not self.validation:
            return stand.at.loss
        system = replace(self._system(stand.system.models, self.validation), penalty=None, prior=None)
        return system.evaluate(stand.at.vector).loss

    def _record(self, stand: Stand, score: float) -> Step:
        terms = dict(zip(self._names, stand.at.losses, strict=True))
        return Step(
            step=len(stand.history) + 1,
            stage=stand.stage,
            seconds=ranks.agree(self.clock.seconds()),
            loss=stand.at.loss,
            terms=terms,
            damping=self.method.damping,
            validation=score if self.validation else math.nan,
        )

    @property
    def _names(self) -> list[str]:
        """Of all that adds to the loss."""
        return [*self.problem.names, *(name for name in ("penalty", "prior") if getattr(self, name) is not None)]

    def _is_told_to_stop(self, stand: Stand) -> bool:
        """Ask the callback, which may also have other points for the terms."""
        answer = None
        if self.callback is not None:
            step = replace(stand.history[-1], source=lambda: self._now(stand))
            answer = self.callback(step)
        told = ranks.agree("terms" if isinstance(answer, list | tuple) else bool(answer))
        if told != "terms":
            return told
        terms = Problem.read(self._models(stand), answer, self.problem.scalars).terms
        self._enter(stand, self._replace_terms(stand.system, stand.at, terms, "the callback"))
        return False

    def _now(self, stand: Stand) -> Now:
        """What callbacks may ask for."""
        parameters = {name: float(value) for name, value in stand.system.parameters(stand.at.vector).items()}
        return Now(self._model(stand), list(stand.system.terms), parameters)

    def _keep(self, stand: Stand) -> None:
        """Write the checkpoint where it is due, and at the end of every stage."""
        if self.checkpoint is None:
            return
        seconds = self.clock.seconds()
        if ranks.agree(stand.status is not None or self.checkpoint.is_due(stand.done, seconds - self._kept)):
            state = self._pack(stand)
            stand.system.place(stand.best)
            if ranks.rank() == 0:
                resume.write(self.checkpoint.path, self.fingerprint, self._lone(self._models(stand)), state)
            self._kept = seconds

    def _pack(self, stand: Stand) -> Group:
        about = {name: getattr(stand, name) for name in resume.NUMBERS}
        groups = {
            "method": self.method.pack(),
            "history": resume.pack_history(stand.history),
            "at": resume.pack_evaluation(stand.system, stand.at),
        }
        if stand.best is not stand.at:
            groups["best"] = resume.pack_evaluation(stand.system, stand.best)
        if stand.system.terms is not self.problem.terms:
            groups |= resume.pack_terms(stand.system.terms)
        return Group({**about, "seconds": self.clock.seconds()}, groups=groups)

    def _unpack(self, state: Group) -> Stand:
        """The inverse of `_pack`."""
        groups, about = state.groups, state.about
        self.clock.set_back(float(about["seconds"]))
        terms = self.problem.terms
        if "terms0" in groups:
            terms = shared(resume.unpack_terms(groups, terms))
        models = {}
        for number, (name, model) in enumerate(self.problem.models.items()):
            first, kept = Unknowns(model), groups["at"].groups[str(number)]
            models[name] = Unknowns(resume.unpack_model(kept, first.model), list(first.slices))
        system = self._system(models, terms)
        self.method.unpack(groups["method"], system.size)
        best = resume.unpack_evaluation(system, groups.get("best", groups["at"]))
        at = resume.unpack_evaluation(system, groups["at"]) if "best" in groups else best
        numbers = resume.unpack_numbers(about, len(self.stages))
        if numbers["status"] in GOES_ON:
            numbers["status"] = None
        return Stand(system, at, best, history=resume.unpack_history(groups["history"], self._names), **numbers)

    def _lone(self, models: dict[str, nn.Module]) -> Any:
        """What the user handed in: one model, or a dict of them."""
        return models[""] if self.problem.single else models

    def _models(self, stand: Stand) -> dict[str, nn.Module]:
        return {name: _returned(unknowns, self.problem.models[name]) for name, unknowns in stand.system.models.items()}

    def _model(self, stand: Stand) -> Any:
        """A copy of the model, or of the dict of models, at the last point."""
        stand.system.place(stand.at)
        return self._lone(self._models(stand))

    def _solution(self, stand: Stand, at: Evaluation) -> Solution:
        system, status = stand.system, stand.status or "max_steps"
        system.place(at)
        values = {name: float(value) for name, value in system.parameters(at.vector).items()}
        errors = standard_errors(system, at)
        estimates = {name: Estimate(value, error) for (name, value), error in zip(values.items(), errors, strict=True)}
        model = self._lone(self._models(stand))
        level = logging.INFO if self.progress else logging.DEBUG
        logger.log(level, "solve ended: %s after %d steps, loss %.3e", status, len(stand.history), at.loss)
        error = estimate_error(system, at, self.fresh, self.memory) if self.fresh else None
        history = History.of(stand.history)
        return Solution(model, history, status, estimates, error, at.loss, Evidence(system, at.vector))


@dataclass(frozen=True)
class Evidence:
    """The data of a solve at its end, from which their information is computed when it is asked for."""

    system: System
    vector: Float[Tensor, "p"]

    def information(self, memory: float) -> Information:
        """What they and the prior say, in units of sums over samples.

        Raises:
            ConfigError: the matrix needs more memory.
        """
        system = replace(self.system, penalty=None)
        local = Linearization(system, system.evaluate(self.vector), memory)
        count = ranks.count(sum(term.size for term in system.terms))
        return Information(self.vector, local.gradient, local.matrix).scaled(count)


def _refine(unknowns: Unknowns, grid: int) -> Unknowns:
    model = unknowns.model
    return Unknowns(refine(model, grid) if isinstance(model, SplineNetwork) else model, list(unknowns.slices))


def _tighten(unknowns: Unknowns, reach: Reach) -> Unknowns:
    tightened = Unknowns(unknowns.model, list(unknowns.slices))
    follow(tightened.model, reach, tight=True)
    return tightened


def _returned(unknowns: Unknowns, original: nn.Module) -> nn.Module:
    """The solved model with the dtype and the trained parameters of the original."""
    model = copy.deepcopy(unknowns.model).to(next(original.parameters()).dtype)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(original.get_parameter(name).requires_grad)
    return model
