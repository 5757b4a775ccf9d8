"""Laws of which a part is missing.

pendulum: angular acceleration [rad/s^2] of a damped pendulum at angle q [rad] and angular velocity w [rad/s], which
also hangs on a cubic spring, -1.5 q^3, that nobody has told of.

hooke: stress [GPa] of a plate at plane strains e1 and e2 [1], Hooke's law with E = 210 GPa and nu = 0.3; the material
softens, -4000 e1^2 [GPa].

poisson: -laplacian(u) = f on [-1, 1]^2, u = 0 on the boundary; u = sin(pi x) sin(pi y) solves it for the source that
is known, but the source that is measured has a further term, that of 0.3 (1 - x^2) sin(pi y).
"""

from collections.abc import Callable
from dataclasses import dataclass

import sympy
import torch
from torch import Tensor

import kansci as ks

Field = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """A law, what it misses, and how it is measured.

    Attributes:
        names: of the inputs.
        domain: low and high of each.
        prior: the formula that is known.
        missing: the shape of what it misses.
        coefficient: how much of it there is.
        function: name of the function that is missing.
        is_source: whether -laplacian of the law is measured, the law being zero on the boundary, or the law itself.
    """

    names: tuple[str, ...]
    domain: tuple[tuple[float, float], ...]
    prior: str
    missing: str
    coefficient: float
    function: str
    is_source: bool = False

    def law(self, formula: str) -> Field:
        """A formula as a function of points."""
        return ks.torch_function(ks.parse_formula(formula, self.names), self.names)

    def measured(self, formula: str) -> Field:
        """What is measured of a law."""
        expression = ks.parse_formula(formula, self.names)
        if self.is_source:
            symbols = sorted(expression.free_symbols, key=str)
            expression = -sympy.Add(*(sympy.diff(expression, symbol, 2) for symbol in symbols))
        return ks.torch_function(expression, self.names)

    def truth(self, points: Tensor, coefficient: float | None = None) -> Tensor:
        """The whole law at points."""
        share = self.coefficient if coefficient is None else coefficient
        return self.law(self.prior)(points) + share * self.law(self.missing)(points)

    def points(self, n: int, seed: int) -> Tensor:
        """Random points of the domain."""
        generator = torch.Generator().manual_seed(seed)
        low, high = torch.tensor(self.domain, dtype=torch.float64).T
        return low + (high - low) * torch.rand(n, len(low), generator=generator, dtype=torch.float64)

    def terms(self, points: Tensor, values: Tensor, noise: float | None = None) -> list[ks.Residual]:
        """The law as residuals, for measured values (n, 1); with a free scalar k, plus k times what it misses."""
        shape = self.measured(self.missing)

        def residual(jet: ks.Jet, x: Tensor, y: Tensor, parameters: dict[str, Tensor] | None = None) -> Tensor:
            model = -jet.laplacian if self.is_source else jet.value
            return model - y + (parameters["k"] * shape(x)[:, None] if parameters else 0)

        needs = "laplacian" if self.is_source else "value"
        measured = ks.Residual(residual, points, targets=values, needs=needs, noise=noise, name="measured")
        return [measured, self._boundary()] if self.is_source else [measured]

    def _boundary(self) -> ks.Residual:
        along = torch.linspace(-1, 1, 101, dtype=torch.float64)
        ones = torch.ones_like(along)
        sides = [torch.stack(pair, 1) for pair in ((along, ones), (along, -ones), (ones, along), (-ones, along))]
        return ks.Residual(lambda jet, x, *_: jet.value, torch.cat(sides), weight=100.0, name="boundary")


CASES = {
    "pendulum": Case(("q", "w"), ((-2, 2), (-3, 3)), "-9.81*sin(q) - 0.2*w", "q**3", -1.5, "x**3"),
    "hooke": Case(
        ("e1", "e2"), ((-0.01, 0.01), (-0.01, 0.01)), "210*(e1 + 0.3*e2)/(1 - 0.3**2)", "e1**2", -4000.0, "x**2"
    ),
    "poisson": Case(
        ("x", "y"),
        ((-1, 1), (-1, 1)),
        "sin(pi*x)*sin(pi*y)",
        "(1 - x**2)*sin(pi*y)",
        0.3,
        "x**2",
        is_source=True,
    ),
}
