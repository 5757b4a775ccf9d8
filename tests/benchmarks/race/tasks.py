"""The problems: the same training points, test points and weights for everybody.

exp-sin   exp(sin(pi x) + y^2), the first example of the KAN paper
product   x y, likewise
bessel    J0(20 x), likewise
deep      exp((sin(pi (x1^2 + x2^2)) + sin(pi (x3^2 + x4^2))) / 2), likewise
feynman   the normal distribution, equation I.6.20b of AI Feynman
paper     Poisson's equation with u = sin(pi x) sin(pi y^2) on [-1, 1]^2, section 3.4 of the KAN paper
unit      Poisson's equation with u = sin(pi x) sin(pi y) on [0, 1]^2

References:
    Liu et al., KAN: Kolmogorov-Arnold Networks, arXiv:2404.19756, sections 2.4, 3.1 and 3.4.
    Udrescu, Tegmark, AI Feynman: a physics-inspired method for symbolic regression, Science Advances 6 (2020)
    eaay2631; the database's file FeynmanEquations.csv has formulas and ranges.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.quasirandom import SobolEngine

import kansci as ks
from problems.poisson.collocation import make_terms
from problems.poisson.config import Config
from problems.poisson.networks import choose_network
from problems.poisson.physics import CASES, compile_fields
from tests.benchmarks.contenders import nested_laplacian
from tests.benchmarks.race.track import Function

TRAIN_POINTS, TEST_POINTS = 3000, 2048


@dataclass(frozen=True)
class Network:
    """A KAN: nodes of its columns, degree of its splines, and intervals from coarse to fine."""

    width: tuple[int, ...]
    k: int
    grids: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """On the finest grid: G + k coefficients and the scale of the base function on every edge.

        Example:
            >>> Network((2, 5, 1), 3, (5, 10)).parameters
            210
        """
        return (self.grids[-1] + self.k + 1) * sum(a * b for a, b in pairwise(self.width))

    def widened(self, grid: int) -> "Network":
        """As many parameters, or just fewer, on a coarser grid: hidden columns grow alike.

        Example:
            >>> Network((2, 5, 1), 3, (5, 40)).widened(5)
            Network(width=(2, 24, 1), k=3, grids=(5,))
        """
        first, *hidden, last = self.width
        found = replace(self, grids=(grid,))
        for size in count(1):
            columns = (max(1, size * nodes // hidden[0]) for nodes in hidden)
            wider = replace(found, width=(first, *columns, last))
            if wider.parameters > self.parameters:
                break
            found = wider
        return found


class Task(ABC):
    """A function to be found.

    Attributes:
        name: what the command line calls it.
        title: the function, as mathematical text.
        box: lowest and highest value of each coordinate.
        network: the KAN that kansci solves it with.
        cubic: the KAN of those whose splines are cubic, of about as many parameters.
    """

    name: str
    title: str
    box: tuple[tuple[float, float], ...]
    network: Network
    cubic: Network

    @abstractmethod
    def solve(self, model: nn.Module, **options: Any) -> ks.Solution:
        """What a user of kansci calls."""

    @abstractmethod
    def loss(self, model: nn.Module) -> Tensor:
        """The loss, for any network; derivatives by nested automatic differentiation."""

    @abstractmethod
    def exact(self, x: Tensor) -> Tensor:
        """The function at points (n, d), shape (n,)."""

    def error(self, f: Function) -> float:
        """Relative L2 error at the test points."""
        x, y = self.test
        with torch.no_grad():
            return float((self.restore(f(x)[:, 0]) - y).norm() / y.norm())

    def restore(self, values: Tensor) -> Tensor:
        """What outputs of a network stand for."""
        return values

    def scale(self, x: Tensor) -> Tensor:
        """Map the box to [-1, 1]^d."""
        low, high = torch.tensor(self.box, dtype=x.dtype).unbind(1)
        return (2 * x - low - high) / (high - low)

    @cached_property
    def test(self) -> tuple[Tensor, Tensor]:
        """Random points, and the function there."""
        x = self.points(TEST_POINTS, seed=1)
        return x, self.exact(x)

    def points(self, n: int, seed: int) -> Tensor:
        """Points of the box (n, d): scrambled Sobol."""
        low, high = torch.tensor(self.box, dtype=torch.float64).unbind(1)
        return low + (high - low) * SobolEngine(len(self.box), scramble=True, seed=seed).draw(n, dtype=torch.float64)


class Regression(Task):
    """A function given at points; its values are standardized for everybody."""

    def __init__(
        self,
        name: str,
        title: str,
        function: Callable[..., Tensor],
        box: tuple[tuple[float, float], ...],
        width: tuple[int, ...],
        grids: tuple[int, ...],
    ) -> None:
        """Take a function of one vector for each coordinate."""
        self.name, self.title, self.box = name, title, box
        self.network = self.cubic = Network(width, 3, grids)
        self._function = function

    @cached_property
    def train(self) -> tuple[Tensor, Tensor]:
        """Points (n, d) and standardized values (n, 1)."""
        x = self.points(TRAIN_POINTS, seed=0)
        shift, spread = self._moments
        return x, ((self.exact(x) - shift) / spread)[:, None]

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        y = self.exact(self.points(TRAIN_POINTS, seed=0))
        return y.mean(), y.std(correction=0)

    def exact(self, x: Tensor) -> Tensor:
        """The function at points (n, d), shape (n,)."""
        return self._function(*x.unbind(1))

    def restore(self, values: Tensor) -> Tensor:
        """Undo the standardization."""
        shift, spread = self._moments
        return shift + spread * values

    def solve(self, model: nn.Module, **options: Any) -> ks.Solution:
        """What a user of kansci calls."""
        return ks.fit(model, self.train, progress=False, **options)

    def loss(self, model: nn.Module) -> Tensor:
        """Mean square."""
        x, y = self.train
        return (model(x) - y).square().mean()


class Equation(Task):
    """A case of problems.poisson, with its points, weights and network."""

    def __init__(self, name: str, title: str, case: str, grids: tuple[int, ...]) -> None:
        """Take the name of a case, and the intervals of cubic splines."""
        self.name, self.title, self.case = name, title, CASES[case]
        self.box = self.case.box
        config = Config(k=9)
        width, own = choose_network(self.case, config.k)
        self.network, self.cubic = Network(width, config.k, own), Network(width, 3, grids)
        self.weights = config.interior_weight, config.boundary_weight

    @cached_property
    def fields(self) -> Any:
        """The source, the boundary values and the solution as functions of points."""
        return compile_fields(self.case)

    @cached_property
    def terms(self) -> list[ks.Residual]:
        """The equation inside and the boundary values."""
        return make_terms(Config(), self.case, self.fields, seed=0)

    @cached_property
    def train(self) -> tuple[Tensor, Tensor]:
        """Points inside and on the boundary."""
        inside, boundary = (torch.as_tensor(term.points) for term in self.terms)
        return inside, boundary

    def exact(self, x: Tensor) -> Tensor:
        """The function at points (n, d), shape (n,)."""
        return self.fields.exact(x)

    def solve(self, model: nn.Module, **options: Any) -> ks.Solution:
        """What a user of kansci calls."""
        return ks.solve(model, self.terms, progress=False, **options)

    def loss(self, model: nn.Module) -> Tensor:
        """Weighted mean squares of both residuals."""
        inside, boundary = self.train
        equation = nested_laplacian(model, inside) + self.fields.source(inside)
        values = model(boundary)[:, 0] - self.fields.boundary(boundary)
        return self.weights[0] * equation.square().mean() + self.weights[1] * values.square().mean()


def _deep(x1: Tensor, x2: Tensor, x3: Tensor, x4: Tensor) -> Tensor:
    return (((math.pi * (x1**2 + x2**2)).sin() + (math.pi * (x3**2 + x4**2)).sin()) / 2).exp()


def _normal(theta: Tensor, theta1: Tensor, sigma: Tensor) -> Tensor:
    return (-(((theta - theta1) / sigma) ** 2) / 2).exp() / (math.sqrt(2 * math.pi) * sigma)


TASKS: tuple[Task, ...] = (
    Regression(
        "exp-sin",
        r"$e^{\sin \pi x + y^2}$",
        lambda x, y: ((math.pi * x).sin() + y**2).exp(),
        ((-1.0, 1.0),) * 2,
        (2, 5, 1),
        (5, 10, 20, 40),
    ),
    Regression("product", r"$x\,y$", lambda x, y: x * y, ((-1.0, 1.0),) * 2, (2, 5, 1), (5, 10, 20, 40)),
    Regression(
        "bessel",
        r"$J_0(20\,x)$",
        lambda x: torch.special.bessel_j0(20 * x),
        ((-1.0, 1.0),),
        (1, 5, 1),
        (5, 10, 20, 40),
    ),
    Regression(
        "deep",
        r"$e^{(\sin \pi (x_1^2 + x_2^2) + \sin \pi (x_3^2 + x_4^2)) / 2}$",
        _deep,
        ((-1.0, 1.0),) * 4,
        (4, 4, 2, 1),
        (5, 10, 20),
    ),
    Regression(
        "feynman",
        r"$e^{-(\theta - \theta_1)^2 / 2 \sigma^2} / \sqrt{2 \pi \sigma^2}$",
        _normal,
        ((1.0, 3.0),) * 3,
        (3, 5, 5, 1),
        (5, 10, 20),
    ),
    Equation("paper", r"$-\Delta u = f,\;\; u = \sin \pi x\, \sin \pi y^2$", "paper", (5, 10, 20)),
    Equation("unit", r"$-\Delta u = f,\;\; u = \sin \pi x\, \sin \pi y$", "unit_square", (5, 10)),
)
