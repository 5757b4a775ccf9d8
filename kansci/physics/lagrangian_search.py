"""From states and accelerations to a Lagrangian, as a network and as a formula.

Networks of the form `mechanics` with more and more parts are fitted until one explains the accelerations. The edges
that it does not need are dropped, those left become functions of LIBRARY or sums of them, and constants become simple
numbers where the data allow it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sympy
import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import KansciError, ShapeError
from kansci.nn.multkan import MultKAN
from kansci.physics.lagrangian import accelerations as accelerate
from kansci.physics.lagrangian import euler_lagrange, inertia, motion
from kansci.physics.mechanics import Mechanics, mechanics, without_idle_products
from kansci.physics.trajectories import Motions, fit_motions, settle_motions
from kansci.solvers.residual import Residual
from kansci.solvers.solve import solve
from kansci.solvers.statement import all_points, problem_loss
from kansci.solvers.unknowns import Unknowns
from kansci.surgery.grid import refine
from kansci.symbolic.eliminate import eliminate
from kansci.symbolic.formula import formula
from kansci.symbolic.rounding import fix_gauge, round_constants
from kansci.symbolic.snap import complexity, snap, spline_edges, strain
from kansci.symbolic.sums import unfold_sums

RESOLVED = 1e-3  # relative error of accelerations at which no further parts are tried
BETTER = 0.8  # factor by which an error has to fall for more parts, or finer splines, to be kept
GRID, MOST_UNKNOWNS = 6, 600
MOST_SAMPLES, JUDGES = 3000, 500  # samples that networks are fitted to; of these, that exact formulas are judged by
ENOUGH = 1e-6  # error at which splines are fine enough
MARGIN = 0.02  # of the domain around the samples
HELD_OUT = 0.2
CORNERS = 0.05  # share of held-out samples whose errors do not count
WATCHED = 500  # samples whose mass matrix is looked at in each step
CONSTANT = 1e-6  # relative variation of an inertia that is constant
STEPS = 60
FLOOR = 1e-20  # of the loss relative to the mean square of the accelerations, below which all is rounding


@dataclass(frozen=True)
class Attempt:
    """A network that was tried.

    Attributes:
        parts: those of `mechanics`.
        grid: intervals of its edges.
        error: root mean square error of held-out accelerations, relative to these.
        mechanics: the network.
    """

    parts: tuple[str, ...]
    grid: int
    error: float
    mechanics: Mechanics = field(repr=False)


@dataclass(frozen=True)
class FoundLagrangian:
    """What `find_lagrangian` returns.

    Attributes:
        model: L of states (q, q'), and R as a second output where there is friction: the formula as a network if one
            was found, else the network of splines.
        network: the network of splines.
        formulas: L, and R if there is friction, or None.
        attempts: the networks that were tried.
        singular_share: share of all steps and samples of training where the mass matrix was not positive definite.
    """

    model: MultKAN
    network: MultKAN
    formulas: tuple[sympy.Expr, ...] | None
    attempts: tuple[Attempt, ...]
    singular_share: float


def find_lagrangian(
    x: Float[Tensor, "n s"],
    accelerations: Float[Tensor, "n d"],
    names: Sequence[str] | None = None,
    *,
    force: Tensor | None = None,
    angles: Sequence[int] = (),
    features: Sequence[str] = (),
    parts: Sequence[Sequence[str]] | None = None,
    kinetic: bool = True,
    read: bool = True,
    held_out: Tensor | None = None,
    weight: Tensor | None = None,
    independent: Tensor | None = None,
    motions: Motions | None = None,
    seed: int = 0,
) -> FoundLagrangian:
    """Find a Lagrangian, and a Rayleigh function if it takes one, that explains accelerations.

    Of more than 3000 samples that are no motions, 3000 at random are used.

    Args:
        x: states (q, q').
        accelerations: q'' (n, d).
        names: of the d coordinates and then of the d velocities; by default q1, ..., v1, ...
        force: generalized forces Q (n, d), or None.
        angles: coordinates of period 2 pi.
        features: further functions of the coordinates, as formulas in their names.
        parts: networks to try, see `mechanics`; by default more and more parts, until one explains the data.
        kinetic: whether to start from the kinetic energy of unit masses, and to keep the mass matrix positive definite
            from there; else the start is random and the matrix may become anything.
        read: whether to look for a formula.
        held_out: which samples (n,) tell how good a network is; by default a fifth at random.
        weight: of the samples (n,).
        independent: samples (n,) whose errors are independent, if not all are, as of smoothed motions; formulas are
            judged by these.
        motions: the measurements that the states were smoothed from, by which constants are judged in the end.
        seed: of the held-out samples and of random starts.

    Returns:
        L, as a network and, where the functions of LIBRARY suffice, as a formula.

    Raises:
        ShapeError: states, accelerations and names that do not fit together.
        ConfigError: parts that do not exist.

    Example:
        >>> x = 4 * torch.rand(60, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 2
        >>> found = find_lagrangian(x, -x[:, :1], ["q", "v"], parts=[()], read=False)
        >>> bool((accelerate(found.model, x) + x[:, :1]).abs().max() < 1e-9)
        True

    References:
        Cranmer et al., Lagrangian neural networks, arXiv:2003.04630.
        Liu et al., KAN 2.0, arXiv:2408.10205, section 6.2.
    """
    d = x.shape[1] // 2
    names = list(names or [*(f"q{i + 1}" for i in range(d)), *(f"v{i + 1}" for i in range(d))])
    if accelerations.shape != (len(x), d) or len(names) != 2 * d:
        raise ShapeError(
            f"expected states (n, 2 d), accelerations (n, d) and 2 d names, got {tuple(x.shape)}, "
            f"{tuple(accelerations.shape)} and {names}"
        )
    if len(x) > MOST_SAMPLES and motions is None:
        rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:MOST_SAMPLES]
        x, accelerations = x[rows], accelerations[rows]
        force, held_out, weight, independent = (
            None if own is None else own[rows] for own in (force, held_out, weight, independent)
        )
    judges = torch.ones(len(x), dtype=torch.bool) if independent is None else independent.bool()
    weights = torch.ones(len(x), dtype=torch.float64) if weight is None else weight
    samples = _held_out(len(x), held_out, seed)
    data = _Data(_wrapped(x, angles), accelerations, force, kinetic, samples, weights, judges)
    search = _Search(data, names, tuple(angles), tuple(features), kinetic, seed)
    attempts = search.attempts(_ladder(d) if parts is None else [tuple(own) for own in parts])
    best = min(attempts, key=lambda own: own.error)
    good = next(own for own in attempts if own.error <= max(RESOLVED, best.error / BETTER))
    if good.error <= RESOLVED:
        search.data = replace(data, judges=_thinned(judges, JUDGES))
    network, terms, allowed = search.smallest(good, attempts)
    readings = _readings(network, terms, allowed, good.error) if read else []
    model = _settled(readings, terms, x, motions) if readings else None
    formulas = None if model is None else tuple(formula(model, names, simplify=True))
    return FoundLagrangian(model or network, network, formulas, tuple(attempts), search.singular_share)


def _ladder(d: int) -> list[tuple[str, ...]]:
    """Parts, the simplest first."""
    ladder: list[tuple[str, ...]] = [(), ("inertia",), ("friction",), ("inertia", "friction")]
    if d > 1:
        ladder += [
            ("inertia", "gyroscopic"),
            ("inertia", "coupling"),
            ("inertia", "friction", "gyroscopic", "coupling"),
        ]
    return ladder


def _thinned(chosen: Tensor, most: int) -> Tensor:
    """As many of the chosen samples, evenly spread, as there may be at most."""
    rows = chosen.nonzero()[:, 0]
    kept = torch.zeros_like(chosen)
    kept[rows[torch.linspace(0, len(rows) - 1, min(most, len(rows))).long()]] = True
    return kept


def _wrapped(x: Tensor, angles: Sequence[int]) -> Tensor:
    """Angles between -pi and pi."""
    wrapped = x.clone()
    for angle in angles:
        wrapped[:, angle] = torch.remainder(x[:, angle] + math.pi, 2 * math.pi) - math.pi
    return wrapped


def _held_out(n: int, chosen: Tensor | None, seed: int) -> Tensor:
    if chosen is not None:
        return chosen.bool()
    return torch.rand(n, generator=torch.Generator().manual_seed(seed)) < HELD_OUT


@dataclass(frozen=True)
class _Data:
    """Samples of a motion.

    Attributes:
        x: states.
        accelerations: q''.
        force: Q, or None.
        regular: whether mass matrices have to be positive definite.
        held_out: which samples tell how good a network is.
        weight: of the samples.
        judges: samples with independent errors, which tell how good a formula is.
    """

    x: Tensor
    accelerations: Tensor
    force: Tensor | None
    regular: bool
    held_out: Tensor
    weight: Tensor
    judges: Tensor

    @property
    def scale(self) -> float:
        """Mean square of the accelerations."""
        return float(self.accelerations.square().sum(1).mean())

    @property
    def domain(self) -> list[tuple[float, float]]:
        """Range of each coordinate and velocity."""
        low, high = self.x.aminmax(dim=0)
        margin = MARGIN * torch.where(high > low, high - low, 1 / MARGIN)
        return list(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))

    def terms(self, pinned: Residual | None, rows: Tensor | None = None) -> list[Residual]:
        """Accelerations of some samples, by default all, and what fixes the factor of L where no force does."""
        rows = torch.ones(len(self.x), dtype=torch.bool) if rows is None else rows
        force = None if self.force is None else self.force[rows]
        given = self.x[rows], self.accelerations[rows]
        term = euler_lagrange(*given, force=force, regular=self.regular, weight=self.weight[rows])
        return [term] if pinned is None else [term, pinned]

    def error(self, model: MultKAN) -> float:
        """Of held-out accelerations, relative to their root mean square, without the few in corners nobody has seen."""
        force = None if self.force is None else self.force[self.held_out]
        found = accelerate(model, self.x[self.held_out], force)
        wanted = self.accelerations[self.held_out]
        squares = (found - wanted).square().sum(1).nan_to_num(torch.inf).sort().values
        kept = squares[: max(1, round((1 - CORNERS) * len(squares)))]
        return float((kept.mean() / wanted.square().sum(1).mean()).sqrt())


@dataclass
class _Search:
    """Networks fitted to samples of a motion."""

    data: _Data
    names: list[str]
    angles: tuple[int, ...]
    features: tuple[str, ...]
    kinetic: bool
    seed: int
    counted: list[float] = field(default_factory=list)

    @property
    def singular_share(self) -> float:
        """Share of steps and samples where the mass matrix was not positive definite."""
        return sum(self.counted) / max(len(self.counted), 1)

    def attempts(self, ladder: Sequence[tuple[str, ...]]) -> list[Attempt]:
        """Networks with more and more parts, each on finer and finer grids, until the accelerations are explained."""
        found: list[Attempt] = []
        for parts in ladder:
            found += self.refined(parts)
            if min(own.error for own in found) <= RESOLVED:
                break
        return found

    def refined(self, parts: tuple[str, ...]) -> list[Attempt]:
        """One network on finer and finer grids, as long as its error falls."""
        network = self.network(parts)
        grid, found, model = GRID, list[Attempt](), network.model
        while True:
            model = self.solved(model if grid == GRID else refine(model, grid), ~self.data.held_out)[0]
            own = Attempt(parts, grid, self.data.error(model), replace(network, model=model))
            if found and own.error > BETTER * found[-1].error:
                break
            found.append(own)
            grid *= 2
            if own.error <= ENOUGH or 2 * len(Unknowns(model)) > MOST_UNKNOWNS:
                break
        return found

    def network(self, parts: tuple[str, ...]) -> Mechanics:
        """The network with these parts, as it starts."""
        domain = self.data.domain
        for angle in self.angles:
            domain[angle] = (-math.pi, math.pi)
        return mechanics(
            self.names,
            domain,
            parts=parts,
            features=self.features,
            periodic=self.angles,
            grid=GRID,
            kinetic=self.kinetic,
            seed=self.seed,
        )

    def solved(self, model: MultKAN, rows: Tensor | None, pinned: Residual | None = None) -> tuple[MultKAN, float]:
        """Fitted to some samples."""
        terms = self.data.terms(pinned or self.pin(), rows)

        def count(step: Any) -> None:
            self.counted.append(1 - self.regular_share(step.model))

        found = solve(model, terms, steps=STEPS, progress=False, callback=count)
        return found.model, found.loss

    def regular_share(self, model: MultKAN) -> float:
        """Share of the samples at which the mass matrix is positive definite."""
        x = self.data.x[:WATCHED]
        with torch.no_grad():
            return float(motion(model.jet(x, "hessian"), x).is_regular.double().mean())

    def pin(self, coordinate: int = 0) -> Residual | None:
        """The inertia of a coordinate at rest is 1, unless a force says what it is."""
        return None if self.data.force is not None else inertia(self.rest(1), coordinate)

    def rest(self, count: int) -> Tensor:
        """States at rest, or as slow as any, the first of them in the middle of the coordinates."""
        low, high = torch.tensor(self.data.domain, dtype=torch.float64).T
        d = len(low) // 2
        states = ((low + high) / 2).expand(count, -1).clone()
        states[:, d:] = torch.zeros(d, dtype=low.dtype).clamp(low[d:], high[d:])
        states[1:, :d] = self.data.x[1:count, :d]
        return states

    def smallest(self, attempt: Attempt, attempts: Sequence[Attempt]) -> tuple[MultKAN, list[Residual], float | None]:
        """The network without the edges it does not need, the problem it solves, and the loss that is allowed.

        Allowed is what the network lost on the coarser splines that were not fine enough for it.
        """
        scale = self.data.scale
        coarse = [own.error**2 * scale for own in attempts if own.parts == attempt.parts and own.grid < attempt.grid]
        model, loss = self.solved(attempt.mechanics.model, None)
        allowed = max([FLOOR * scale, *coarse[-1:]]) if coarse or loss < FLOOR * scale else None
        terms = self.data.terms(self.pin(), self.data.judges)
        smaller = eliminate(model, terms, groups=attempt.mechanics.groups, allowed=allowed).model
        model = without_idle_products(smaller)
        pinned = self.pin(self.lightest(model))
        return self.solved(model, None, pinned)[0], self.data.terms(pinned, self.data.judges), allowed

    def lightest(self, model: MultKAN) -> int:
        """The coordinate with the smallest inertia among those whose inertia is constant, if there are such."""
        states = self.rest(min(200, len(self.data.x)))
        with torch.no_grad():
            masses = motion(model.jet(states, "hessian"), states).mass.diagonal(dim1=1, dim2=2)
        variation = masses.std(0) / masses.mean(0).abs()
        constant = variation <= max(10 * float(variation.min()), CONSTANT)
        return int(torch.where(constant, masses.mean(0), torch.inf).argmin())


def _readings(network: MultKAN, terms: list[Residual], allowed: float | None, resolution: float) -> list[MultKAN]:
    """The network as formulas that explain the accelerations as well as splines do, the best first.

    Where no single functions do on all edges, sums of functions may.
    """
    before, samples = problem_loss(network, terms), sum(term.size for term in terms)
    for start in (lambda: network, lambda: unfold_sums(network, all_points(terms), resolution=resolution)):
        try:
            found = [own.model for own in snap(start(), terms).finalists]
        except KansciError:
            continue
        good = []
        for model in found:
            spared = len(Unknowns(network)) - len(Unknowns(model))
            chance = before * math.exp(min(spared * math.log(samples) / samples, 1.0))
            if not spline_edges(model) and problem_loss(model, terms) <= max(allowed or 0.0, chance):
                good.append(model)
        if good:
            return good
    return []


def _settled(readings: list[MultKAN], terms: list[Residual], x: Tensor, motions: Motions | None) -> MultKAN:
    """The best formula, with simple constants; measured motions, where there are such, say which one it is."""
    if motions is None:
        return round_constants(readings[0], terms)
    fixed = [fix_gauge(own, terms) for own in readings]
    fits = [fit_motions(own, motions, x, equations=terms[1:]) for own in fixed]
    price = math.log(motions.size)
    scores = [
        fit.chi2 + price * (len(fit.constants) + complexity(own) + strain(own, x))
        for fit, own in zip(fits, readings, strict=True)
    ]
    best = scores.index(min(scores))
    return settle_motions(fits[best], motions, equations=terms[1:]).model
