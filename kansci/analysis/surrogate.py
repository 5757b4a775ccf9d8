"""A function known by its values, with a known error: what all structure tests ask.

Everything is relative: inputs to their standard deviations, values to the standard deviation of f over the rows. So
no verdict depends on units.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kansci.analysis.verdict import EDGE, YES
from kansci.errors import ConfigError, DataError, DerivativeError, ShapeError
from kansci.jets import HasJet, jet
from kansci.nn.arguments import check_finite

Function = Callable[[Tensor], Tensor]
TRIM, TRIMMED = 0.05, 0.871  # share of the largest parts left aside, and what this does to a normal distribution
SPIKES = 3.0  # size relative to the error from which on they are no longer left aside silently
RARE = 5  # rows: spikes at no larger share of the points are where hardly any row was, and f is not known there
CHUNK = 2**15  # points that are evaluated at a time
ROUNDING = 0.6  # power of the machine precision that counts as exact
PLACES, TRIED = 8, 64  # of the other inputs, and of those of a part, that tell how these act
STEP = 1e-3  # of central differences, relative to standard deviations


@dataclass(frozen=True)
class Surrogate:
    """A function, the points that it was observed at, and how far it can be trusted.

    Attributes:
        function: (n, d) -> (n,).
        rows: observed points.
        unit: standard deviation of each input, 1 for constant ones.
        center: mean of each input.
        spread: standard deviation of the values.
        noise: error of the values relative to their spread; where none was given, what rounding may do.
        given: whether the error was given.
    """

    function: Function
    rows: Float[Tensor, "n d"]
    unit: Float[Tensor, "d"]
    center: Float[Tensor, "d"]
    spread: float
    noise: float
    given: bool

    @property
    def d(self) -> int:
        """Number of inputs."""
        return self.rows.shape[1]

    @property
    def rare(self) -> float:
        """Share of the points compared where hardly any row was."""
        return min(TRIM, RARE / len(self.rows))

    @torch.no_grad()
    def values(self, points: Float[Tensor, "*shape d"]) -> Float[Tensor, "*shape"]:
        """Relative to the spread; not finite where f is not, which may be between the rows."""
        flat = points.reshape(-1, self.d)
        parts = [self.function(part) for part in flat.split(CHUNK)]
        return torch.cat(parts).reshape(points.shape[:-1]) / self.spread

    def gradients(self, points: Float[Tensor, "*shape d"]) -> Float[Tensor, "*shape d"]:
        """Relative to the spread, by standardized inputs."""
        flat = points.reshape(-1, self.d)
        parts = [_gradients(self.function, part, self.unit) for part in flat.split(CHUNK)]
        return torch.cat(parts).reshape(points.shape) * self.unit / self.spread

    def hessians(self, points: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor, Tensor]:
        """Values (n,), gradients (n, d) and Hessians (n, d, d) relative to the spread, by standardized inputs."""
        value, gradient, hessian = _second_order(self.function, points, self.unit)
        scaled = hessian * self.unit * self.unit[:, None]
        return value / self.spread, gradient * self.unit / self.spread, scaled / self.spread

    def size(self, parts: Tensor) -> float:
        """Root mean square of what f should not have, made robust where f has an error.

        Fits are far off at a few places, which may lie beyond what their error was measured at. So the largest of the
        parts are left aside; if all that there is lies in these, the size is one that decides nothing, unless it lies
        in so few that hardly any row is like them: there no error was measured. NaN if no part is finite.
        """
        squares = parts[parts.isfinite()].square().to(torch.float64).sort().values
        whole = float(squares.mean().sqrt())
        if not self.given or whole <= YES * self.noise:
            return whole
        core = float(squares[: max(1, int((1 - TRIM) * len(squares)))].mean().sqrt()) / TRIMMED
        rare = int(self.rare * len(squares))
        seen = float((squares[: len(squares) - rare].sum() / len(squares)).sqrt())
        return min(whole, max(core, EDGE * self.noise if seen > SPIKES * self.noise else 0.0))

    def draw(self, *shape: int, seed: int) -> Tensor:
        """Numbers of random rows."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(len(self.rows), shape, generator=generator).to(self.rows.device)

    def part(self, columns: Sequence[int]) -> "Surrogate":
        """How some inputs act: the weighted mean of f over places of the others that varies most.

        Where f depends on these inputs through one scalar, so does the mean; its error is not larger than that of f.
        """
        chosen = list(columns)
        others = self.rows[self.draw(PLACES, seed=40)]
        tried = self.rows[self.draw(TRIED, seed=41)]
        points = others.expand(TRIED, -1, -1).clone()
        points[..., chosen] = tried[:, None, chosen]
        table = torch.nan_to_num(self.values(points))
        weights = torch.linalg.svd(table - table.mean(0), full_matrices=False)[2][0]

        def function(x: Tensor) -> Tensor:
            points = others.expand(len(x), -1, -1).clone()
            points[..., chosen] = x[:, None]
            return self.function(points.reshape(-1, self.d)).reshape(len(x), -1) @ weights

        error = self.noise * self.spread * float(weights.abs().sum()) if self.given else None
        return surrogate_of(function, self.rows[:, chosen], error, own=False)


def read_surrogate(f: Any, x: Any, error: float | None) -> Surrogate:
    """Check what the user passes.

    Raises:
        ShapeError: x is no matrix, or f does not return one number for each row.
        DataError: fewer than 8 rows, or numbers that are not finite.
        ConfigError: an error that is negative or not finite.
    """
    like = next(f.parameters(), None) if isinstance(f, nn.Module) else None
    rows = x if isinstance(x, Tensor) else torch.as_tensor(x, dtype=torch.float64)
    if like is not None:
        rows = rows.to(like)
    if rows.ndim != 2:
        raise ShapeError(f"expected x of shape (n, d), got {tuple(rows.shape)}; pass one point a row")
    check_finite(rows, "x")
    if len(rows) < 8:
        raise DataError(f"expected at least 8 rows to compare, got {len(rows)}")
    if error is not None and not 0 <= error < float("inf"):
        raise ConfigError(f"expected error to be None or at least 0, relative to the spread of f, got {error}")
    return surrogate_of(_Flat.of(f), rows.detach(), error)


def surrogate_of(f: Function, rows: Float[Tensor, "n d"], error: float | None, *, own: bool = True) -> Surrogate:
    """A surrogate with an error relative to its own spread, or else absolute."""
    unit = rows.std(0)
    unit = torch.where(unit > 0, unit, torch.ones_like(unit))
    bare = Surrogate(f, rows, unit, rows.mean(0), 1.0, 0.0, error is not None)
    values = bare.values(rows)
    check_finite(values, "values of f at x")
    spread, largest = float(values.std()), float(values.abs().max())
    rounding = torch.finfo(rows.dtype).eps ** ROUNDING * largest
    if spread <= rounding:
        return replace(bare, spread=max(largest, torch.finfo(rows.dtype).tiny), noise=1.0)
    noise = rounding / spread if error is None else error if own else error / spread
    return replace(bare, spread=spread, noise=max(noise, rounding / spread))


@dataclass(frozen=True)
class _Flat:
    """A function with its values in one axis."""

    f: Any

    @classmethod
    def of(cls, f: Any) -> Function:
        return _Model(f) if isinstance(f, HasJet) else cls(f)

    def __call__(self, x: Tensor) -> Tensor:
        y = self.f(x)
        if not isinstance(y, Tensor) or y.shape not in ((len(x),), (len(x), 1)):
            got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise ShapeError(
                f"expected f to return a tensor of shape (n,) or (n, 1) for {len(x)} points, got {got}; "
                "of several outputs choose one, e.g. lambda x: model(x)[:, 0]"
            )
        return y.reshape(-1)


@dataclass(frozen=True)
class _Model(_Flat):
    """The same for what knows its own derivatives."""

    def jet(self, x: Tensor, needs: str = "laplacian") -> Any:
        return self.f.jet(x, needs)


def _gradients(f: Function, x: Float[Tensor, "n d"], unit: Float[Tensor, "d"]) -> Float[Tensor, "n d"]:
    with torch.no_grad():
        if isinstance(f, _Model):
            return f.jet(x, "gradient").gradient[:, 0]
    with torch.enable_grad():
        points = x.detach().clone().requires_grad_(True)
        values = f(points)
        if values.requires_grad:
            (found,) = torch.autograd.grad(values.sum(), points, allow_unused=True)
            return torch.zeros_like(x) if found is None else found
    steps = torch.diag(STEP * unit)
    sides = [torch.stack([f(x + sign * step) for step in steps], 1) for sign in (1, -1)]
    return (sides[0] - sides[1]) / (2 * STEP * unit)


def _second_order(f: Function, x: Float[Tensor, "n d"], unit: Float[Tensor, "d"]) -> tuple[Tensor, Tensor, Tensor]:
    """By jets, or by differences of gradients where there are none."""
    own: Function = f if isinstance(f, _Model) else lambda point: f(point[None])
    try:
        with torch.no_grad():
            found = jet(own, x, "hessian")
        return found.value[:, 0].detach(), found.gradient[:, 0].detach(), found.hessian[:, 0].detach()
    except (DerivativeError, RuntimeError):
        steps = torch.diag(STEP * unit)
        sides = [torch.stack([_gradients(f, x + sign * step, unit) for step in steps], 1) for sign in (1, -1)]
        hessian = (sides[0] - sides[1]) / (2 * STEP * unit[:, None])
        with torch.no_grad():
            return f(x), _gradients(f, x, unit), (hessian + hessian.mT) / 2
