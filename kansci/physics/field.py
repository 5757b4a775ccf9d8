"""Vector fields: rates of change of coordinates, as formulas on a box."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy
import torch
from jaxtyping import Float
from scipy.integrate import solve_ivp
from torch import Tensor

from kansci.errors import ConfigError, DomainError
from kansci.nn.arguments import read_domain
from kansci.symbolic.evaluate import torch_function
from kansci.symbolic.parse import parse_formula, symbols_of

MOST_DRAWS = 50
FAR = 3.0  # times the box, where a trajectory ends
TOLERANCE = 1e-12


@dataclass(frozen=True)
class Paths:
    """Trajectories.

    Attributes:
        times: of the states; a trajectory that ends early has the first ones only.
        states: of each trajectory (t, d).
    """

    times: Float[Tensor, "t"]
    states: tuple[Float[Tensor, "_t d"], ...]


@dataclass(frozen=True)
class VectorField:
    """An autonomous differential equation x' = f(x) on a box.

    Attributes:
        names: of the coordinates.
        formulas: of their rates of change.
        domain: lowest and highest value of each coordinate.
    """

    names: tuple[str, ...]
    formulas: tuple[sympy.Expr, ...]
    domain: tuple[tuple[float, float], ...]

    @classmethod
    def read(
        cls, formulas: Sequence[str | sympy.Expr] | str, names: Sequence[str], domain: Any = (-1.0, 1.0)
    ) -> "VectorField":
        """Read a field from text.

        Args:
            formulas: rates of change, a list or one text with commas between them.
            names: of the coordinates.
            domain: (low, high), or one pair for each coordinate.

        Raises:
            ConfigError: not one formula for each name.
            FormulaError: what cannot be read.

        Example:
            >>> VectorField.read("p, -x", ["x", "p"]).formulas
            (p, -x)
        """
        symbols_of(names)
        parts = split_formulas(formulas) if isinstance(formulas, str) else list(formulas)
        if len(parts) != len(names):
            raise ConfigError(f"expected one formula for each of {', '.join(names)}, got {len(parts)}")
        read = tuple(parse_formula(own, names) if isinstance(own, str) else own for own in parts)
        bounds = tuple((low, high) for low, high in read_domain(domain, len(names)).tolist())
        return cls(tuple(names), read, bounds)

    @cached_property
    def _functions(self) -> list[Any]:
        return [torch_function(own, self.names) for own in self.formulas]

    @property
    def bounds(self) -> Float[Tensor, "2 d"]:
        """Lowest and highest values."""
        return torch.tensor(self.domain, dtype=torch.float64).T

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Rates of change."""
        return torch.stack([own(x) for own in self._functions], 1)

    def points(self, n: int, seed: int = 0) -> Float[Tensor, "n d"]:
        """Random points of the box at which the field is finite and not zero.

        Raises:
            DomainError: there are hardly any.
        """
        generator = torch.Generator().manual_seed(seed)
        low, high = self.bounds
        found: list[Tensor] = []
        for _ in range(MOST_DRAWS):
            x = low + (high - low) * torch.rand(n, len(low), generator=generator, dtype=torch.float64)
            speed = self(x).norm(dim=1)
            found.append(x[speed.isfinite() & (speed > 0)])
            if sum(map(len, found)) >= n:
                return torch.cat(found)[:n]
        raise DomainError(f"expected a field that is finite on {self.domain}, got hardly any such points; choose a box")

    def trajectories(
        self, starts: Float[Tensor, "m d"], samples: int = 100, lengths: float = 10.0, reach: float = FAR
    ) -> "Paths":
        """States along trajectories, integrated to 12 digits.

        A trajectory ends early where it goes too far.

        Args:
            starts: where they begin.
            samples: states of each.
            lengths: how many times the diagonal of the box, divided by the median speed, they last.
            reach: distance from the middle of the box, in multiples of its sides, where a trajectory ends.
        """
        low, high = self.bounds
        middle, most = (low + high) / 2, reach * (high - low)
        duration = lengths * float((high - low).norm() / self(starts).norm(dim=1).median())

        def is_near(x: Tensor) -> Tensor:
            return ((x - middle).abs() <= most).all(-1)

        def rate(_: float, x: np.ndarray) -> np.ndarray:
            states = torch.from_numpy(x).view(starts.shape)
            return torch.where(is_near(states)[:, None], self(states), 0.0).numpy().ravel()

        times = np.linspace(0, duration, samples)
        options = {"method": "DOP853", "rtol": TOLERANCE, "atol": TOLERANCE, "t_eval": times}
        paths = solve_ivp(rate, (0.0, duration), starts.numpy().ravel(), **options).y
        found = torch.from_numpy(paths).view(*starts.shape, -1).permute(0, 2, 1)
        found = [own[is_near(own).cumprod(0).bool()] for own in found]
        return Paths(torch.from_numpy(times), tuple(own for own in found if len(own) > 1))


def split_formulas(text: str) -> list[str]:
    """Formulas between commas that stand in no bracket.

    Example:
        >>> split_formulas("p, -hypot(x, y)")
        ['p', '-hypot(x, y)']
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [own.strip() for own in parts]
