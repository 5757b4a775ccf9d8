"""Functions whose structure is known, by derivatives in 30 digits, and the sizes of what is not separable in them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations

import mpmath
import sympy
import torch
from torch import Tensor

import kansci as ks
from tests.benchmarks.feynman import read_equations

POINTS, DIGITS, ZERO = 3, 30, 1e-18
SIDE = 48
SCALARS, DEGREE = 24, 16

# Formula, variables, range of all of them.
OWN = (
    ("sin(2*x)+y**2", "x y", (-1, 1)),
    ("x*y+z", "x y z", (-1, 1)),
    ("x*y+3", "x y", (-1, 1)),
    ("x*y*z-2", "x y z", (-1, 1)),
    ("(x+y)*(z+w)", "x y z w", (-1, 1)),
    ("x*y+z*w", "x y z w", (-1, 1)),
    ("x*y+z*w+u*v", "x y z w u v", (-1, 1)),
    ("(x**2+y**2)**2+(z**2+w**2)**2", "x y z w", (-1, 1)),
    ("exp(sin(3*x)+y**2)", "x y", (-1, 1)),
    ("sin(x+y*z)", "x y z", (-1, 1)),
    ("sin(3*(x*y+z*w))", "x y z w", (-1, 1)),
    ("tanh(x+y+z)", "x y z", (-1, 1)),
    ("x**2*y-y**3", "x y", (-1, 1)),
    ("sin(2*x*y)+exp(x*z)", "x y z", (-1, 1)),
    ("(x-y)**2*cos(z)", "x y z", (-1, 1)),
    ("sqrt((x-y)**2+(z-w)**2+1/10)", "x y z w", (-1, 1)),
    ("x*sqrt(1+(y/z)**2)", "x y z", (1, 3)),
    ("(x+y+z)*w", "x y z w", (-1, 1)),
    ("x*y+y*z+x*z", "x y z", (-1, 1)),
    ("(x*y+y*z+x*z)*w+w**2", "x y z w", (1, 2)),
    ("(x+y)/(1+x*y)", "x y", (0.1, 0.9)),
    ("cos(x)+cos(y)+cos(x+y)", "x y", (-1, 1)),
    ("x+y+z+x*y*z/4", "x y z", (-1, 1)),
    ("exp(-x**2-y**2)", "x y", (-2, 2)),
    ("x*exp(y)+z**2", "x y z", (-1, 1)),
    ("x/(y+z)", "x y z", (1, 3)),
    ("x**3+y**3+z**3+w**3", "x y z w", (-1, 1)),
    ("log(1+x**2+y**2)+z", "x y z", (-1, 1)),
    ("(1+x)*(2+sin(2*y))-1", "x y", (-1, 1)),
    ("sin(3*x)*cos(2*y)", "x y", (-1, 1)),
)


# Written after the thresholds of the tests had been chosen, which they must not be fitted to.
FRESH = (
    ("sin(3*x)+exp(y)", "x y", (-1, 1)),
    ("x**2+cos(2*y)+z**3", "x y z", (-1, 1)),
    ("log(x)+sqrt(y)+1/z", "x y z", (1, 3)),
    ("x*y+sin(z*w)", "x y z w", (-2, 2)),
    ("exp(x*y)+z*w", "x y z w", (-1, 1)),
    ("x+2*y-3*z+w**2", "x y z w", (-1, 1)),
    ("cos(3*x)+x*y", "x y", (-1, 1)),
    ("x*exp(-y**2)", "x y", (-1, 1)),
    ("cos(x)*cos(y)*cos(z)", "x y z", (-1, 1)),
    ("x**2*y/z", "x y z", (1, 3)),
    ("sqrt(x)*log(y)*z", "x y z", (1.5, 3)),
    ("(x+y**2)*exp(z)", "x y z", (-1, 1)),
    ("(1+x*y)*(2+z*w)", "x y z w", (-1, 1)),
    ("x*y*z*w", "x y z w", (-1, 1)),
    ("sin(x+y)*cos(z-w)", "x y z w", (-1, 1)),
    ("log(3+x*y+z)", "x y z", (-1, 1)),
    ("sqrt(1+x**2+y**2+z**2)", "x y z", (-1, 1)),
    ("exp(-(x*y+z)**2)", "x y z", (-1, 1)),
    ("1/(1+exp(-(2*x+y*z)))", "x y z", (-2, 2)),
    ("sin(x**2+3*y)", "x y", (-1, 1)),
    ("(x**3+y+z)**3", "x y z", (-1, 1)),
    ("1/(x**2+y**2+z**2)", "x y z", (1, 2)),
    ("x*y/(x+y)", "x y", (1, 3)),
    ("sqrt(x*y+z*w)", "x y z w", (1, 3)),
    ("tanh(2*x*y)+z", "x y z", (-1, 1)),
    ("exp(-20*(x**2+y**2))+z", "x y z", (-1, 1)),
    ("tanh(8*x)*tanh(8*y)+z", "x y z", (-1, 1)),
    ("exp(-10*(x-y)**2)+z**2", "x y z", (-1, 1)),
    ("x+y+exp(-10*(x**2+y**2))", "x y", (-1, 1)),
    ("(x+2)*(y+3)+5", "x y", (-1, 1)),
    ("x*y*z+1", "x y z", (-1, 1)),
    ("exp(x)*sin(2*y)-4", "x y", (-1, 1)),
    ("1+x*(y+z)", "x y z", (-1, 1)),
    ("x*y", "x y", (-1, 1)),
    ("sin(3*x)*sin(3*y)*z", "x y z", (-1, 1)),
    ("(x**2-y**2)*z", "x y z", (-1, 1)),
    ("x*y*(z-w)", "x y z w", (-1, 1)),
    ("cos(3*x)*y+z", "x y z", (-1, 1)),
    ("sin(3*x*y)+x", "x y", (-1, 1)),
    ("x**2*y+y**2*z+z**2*x", "x y z", (-1, 1)),
    ("exp(x*y*z)+x*y", "x y z", (-1, 1)),
    ("log(x+y*z)+x*z", "x y z", (1, 3)),
    ("cos(2*x*y)+cos(2*y*z)+cos(2*x*z)", "x y z", (-1, 1)),
    ("x/(1+y**2+z*x)", "x y z", (0.5, 2)),
    ("sqrt(x**2+y**4+x*y+1)", "x y", (-1, 1)),
    ("1000000*(x*y+z)", "x y z", (-1, 1)),
    ("exp(x*y)*z/1000000", "x y z", (-1, 1)),
    ("x*y+sin(z)", "x y z", (0.001, 0.003)),
)

# Functions of sums and products that turn around, written after the tests of generalized sums had been changed for
# such; and in the end some that are no generalized sums.
TURNING = (
    ("cos(2*x**2-3*y)", "x y", (-1, 1)),
    ("exp(-4*(x*y-1/4)**2)", "x y", (-1, 1)),
    ("(x**2+y**2-1)**2", "x y", (-1, 1)),
    ("1/(1+(3*x+y**2)**2)", "x y", (-1, 1)),
    ("sin(3*x*y+z)", "x y z", (-1, 1)),
    ("exp(-(x+y+z)**2)", "x y z", (-1, 1)),
    ("(x*y+z**2)**2", "x y z", (-1, 1)),
    ("sin(4*x*y*z)", "x y z", (-1, 1)),
    ("sin(2*log(x)+3*y)", "x y", (1, 3)),
    ("cos(4*x/y)", "x y", (1, 3)),
    ("(x-y)**2*exp(y-x)", "x y", (-2, 2)),
    ("tanh(x+y)-(x+y)/2", "x y", (-2, 2)),
    ("sqrt((x*y-z*w)**2+1/10)", "x y z w", (-1, 1)),
    ("cos(3*(x+y)*(z-w))", "x y z w", (-1, 1)),
    ("sin(x+y+z*w)", "x y z w", (-2, 2)),
    ("(x+y)**4-2*(x+y)**2", "x y", (-1, 1)),
    ("log(1+4*(x**2*y-1/2)**2)", "x y", (-1, 1)),
    ("cos(5*sqrt(x**2+2*y**2+z**2))", "x y z", (0.2, 1.2)),
    ("exp(-(x**3+2*y-z)**2)", "x y z", (-1, 1)),
    ("1/(1+4*(x*exp(y)-1/2)**2)", "x y", (-1, 1)),
    ("sin(2*x*y**3)+cos(2*x*y**3)", "x y", (-1, 1)),
    ("cos(3*x+y)+sin(x*y)", "x y", (-1, 1)),
    ("sin(2*x*y)+x*z", "x y z", (-1, 1)),
    ("exp(-(x+y)**2)*z+x", "x y z", (-1, 1)),
    ("cos(x+2*y+z)+x*z/2", "x y z", (-1, 1)),
    ("(x*y-z)**2+y*z", "x y z", (-1, 1)),
)


@dataclass(frozen=True)
class Case:
    """A function of several inputs on a box."""

    id: str
    expression: sympy.Expr
    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def d(self) -> int:
        return len(self.names)

    @cached_property
    def function(self) -> Callable[[Tensor], Tensor]:
        return ks.torch_function(self.expression, self.names)

    def points(self, n: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        low, high = torch.tensor([self.low, self.high], dtype=torch.float64)
        return low + (high - low) * torch.rand(n, self.d, generator=generator, dtype=torch.float64)

    @cached_property
    def spread(self) -> float:
        return float(self.function(self.points(4000, 77)).std())

    @cached_property
    def derivatives(self) -> dict[tuple[int, ...], list]:
        """All first and second derivatives, and the third ones f_iij, at some points."""
        symbols = [sympy.Symbol(name, real=True) for name in self.names]
        asked = [(), *((i,) for i in range(self.d)), *((i, j) for i in range(self.d) for j in range(i, self.d))]
        asked += [(min(i, j), *sorted((i, j))[:1], max(i, j)) for i, j in combinations(range(self.d), 2)]
        asked += [(i, j, j) for i, j in combinations(range(self.d), 2)]
        expressions = [self.expression.diff(*(symbols[i] for i in own)) if own else self.expression for own in asked]
        evaluate = sympy.lambdify(symbols, expressions, "mpmath", cse=True)
        with mpmath.workdps(DIGITS):
            values = [evaluate(*map(mpmath.mpf, point)) for point in self.points(POINTS, 5).tolist()]
            return {own: [mpmath.mpf(row[number]) for row in values] for number, own in enumerate(asked)}

    def at(self, *indices: int) -> list:
        return self.derivatives[tuple(sorted(indices))]

    def vanishes(self, first: list, second: list) -> bool:
        """Whether two products are the same at all points."""
        with mpmath.workdps(DIGITS):
            return all(abs(p - q) <= ZERO * (abs(p) + abs(q) + ZERO) for p, q in zip(first, second, strict=True))

    def products(self, *factors: list) -> list:
        with mpmath.workdps(DIGITS):
            return [mpmath.fprod(row) for row in zip(*factors, strict=True)]

    @cached_property
    def truth(self) -> dict[str, tuple[tuple[int, ...], ...]]:
        """The finest groups of each kind."""
        additive = [(i, j) for i, j in self.pairs if not self.vanishes(self.at(i, j), [mpmath.mpf(0)] * POINTS)]
        product = [
            (i, j)
            for i, j in self.pairs
            if not self.vanishes(self.products(self.at(), self.at(i, j)), self.products(self.at(i), self.at(j)))
        ]
        return {
            "additive": components(self.d, additive),
            "multiplicative": components(self.d, product),
            "generalized": self._generalized(),
        }

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return list(combinations(range(self.d), 2))

    @cached_property
    def parallel(self) -> set[tuple[int, int, int]]:
        """(i, j, k) for which f_i / f_j does not depend on x_k."""
        return {
            (i, j, k)
            for i, j in self.pairs
            for k in range(self.d)
            if k not in (i, j)
            and self.vanishes(self.products(self.at(i, k), self.at(j)), self.products(self.at(i), self.at(j, k)))
        }

    def symmetric(self, group: Sequence[int]) -> bool:
        """Whether a group acts through one scalar."""
        rest = [k for k in range(self.d) if k not in group]
        return all((i, j, k) in self.parallel for i, j in combinations(sorted(group), 2) for k in rest)

    def _generalized(self) -> tuple[tuple[int, ...], ...]:
        cuts = [(a, b) for a, b in bipartitions(self.d) if self.symmetric(a) and self.symmetric(b) and self._web(a, b)]
        names = {k: tuple(k in a for a, _ in cuts) for k in range(self.d)}
        return tuple(sorted(tuple(k for k in names if names[k] == own) for own in set(names.values())))

    def _web(self, a: Sequence[int], b: Sequence[int]) -> bool:
        """Whether d_i d_j log(f_i / f_j) is zero."""
        i, j = a[0], b[0]
        fi, fj, fij = self.at(i), self.at(j), self.at(i, j)
        with mpmath.workdps(DIGITS):
            one = [
                (p * x - y * z) * q * q
                for p, q, x, y, z in zip(fi, fj, self.at(i, i, j), self.at(i, i), fij, strict=True)
            ]
            other = [
                (q * x - y * z) * p * p
                for p, q, x, y, z in zip(fi, fj, self.at(i, j, j), self.at(j, j), fij, strict=True)
            ]
            scales = [abs(p * q) ** 3 / (abs(p) + abs(q)) for p, q in zip(fi, fj, strict=True)]
            parts = zip(one, other, scales, strict=True)
            return all(abs(p - q) <= ZERO * (abs(p) + abs(q) + scale) for p, q, scale in parts)

    @cached_property
    def sizes(self) -> dict[str, float]:
        """For each kind the least root mean square of what is not separable, over all ways to cut the inputs in two."""
        found = {"additive": float("inf"), "multiplicative": float("inf")}
        for a, _ in bipartitions(self.d):
            for kind, size in self.cut_sizes(a).items():
                found[kind] = min(found[kind], size)
        return found

    def cut_sizes(self, a: Sequence[int]) -> dict[str, float]:
        """What is not separable between some inputs and all others."""
        rows = self.points(SIDE, 91)[:, None].repeat(1, SIDE, 1)
        rows[..., list(a)] = self.points(SIDE, 92)[None][..., list(a)]
        table = self.function(rows) / self.spread
        centred = table - table.mean(0) - table.mean(1, keepdim=True) + table.mean()
        tail = torch.linalg.svdvals(table)[1:]
        return {
            "additive": float(centred.norm()) / (SIDE - 1),
            "multiplicative": float(tail.norm()) / (SIDE - 1),
        }

    def scalar_size(self, group: Sequence[int]) -> float:
        """How far the exact function is, at most, from one of a scalar of some inputs and of the others.

        For the scalar f(s, z) at one z after another is taken, and a polynomial of it for each z: the least root mean
        square of what is left.
        """
        own, rest = self.points(SIDE * SCALARS, 93), self.points(SCALARS, 94)
        rows = rest[None].repeat(len(own), 1, 1)
        rows[..., list(group)] = own[:, None, list(group)]
        table = self.function(rows) / self.spread
        return min(float((table - smoothed(table, scalar)).square().mean().sqrt()) for scalar in table.T)


def smoothed(table: Tensor, scalar: Tensor) -> Tensor:
    """Columns as polynomials of a scalar, in least squares."""
    low, high = scalar.min(), scalar.max()
    angle = torch.acos((2 * (scalar - low) / (high - low).clamp(min=1e-300) - 1).clamp(-1, 1))
    basis, _ = torch.linalg.qr(torch.cos(angle[:, None] * torch.arange(DEGREE + 1)))
    return basis @ (basis.T @ table)


def bipartitions(d: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All ways to cut the inputs in two."""
    for bits in range(1, 2 ** (d - 1)):
        a = tuple(k for k in range(d) if k and bits >> (k - 1) & 1)
        yield tuple(k for k in range(d) if k not in a), a


def components(d: int, links: Sequence[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    place = list(range(d))
    for i, j in links:
        old, new = place[j], place[i]
        place = [new if own == old else own for own in place]
    return tuple(sorted(tuple(k for k in range(d) if place[k] == own) for own in set(place)))


@cache
def cases() -> tuple[Case, ...]:
    """The equations of the Feynman benchmark with several inputs, and others."""
    found = [
        Case(equation.id, equation.expression, equation.names, equation.low, equation.high)
        for equation in read_equations()
        if len(equation.names) > 1
    ]
    return (*found, *(written(*row) for row in OWN))


@cache
def fresh_cases() -> tuple[Case, ...]:
    """Functions that no threshold was chosen by."""
    return tuple(written(*row) for row in FRESH + TURNING)


def written(text: str, names: str, ends: tuple[float, float]) -> Case:
    """A function on a cube."""
    own = tuple(names.split())
    return Case(text, ks.parse_formula(text, own), own, (ends[0],) * len(own), (ends[1],) * len(own))


def perturbed(case: Case, error: float, seed: int) -> Callable[[Tensor], Tensor]:
    """The function plus a smooth random field of that size relative to its spread."""
    if not error:
        return case.function
    generator = torch.Generator().manual_seed(seed)
    unit = case.points(1000, 3).std(0)
    frequency = 1.5 * torch.randn(64, case.d, generator=generator, dtype=torch.float64) / unit
    phase = 6.283185307179586 * torch.rand(64, generator=generator, dtype=torch.float64)
    amplitude = error * case.spread / 32**0.5
    return lambda x: case.function(x) + amplitude * torch.cos(x @ frequency.T + phase).sum(-1)
