r"""Energies of rubber with a few parameters, fitted to tests of incompressible bodies.

Energies are formulas of the principal stretches l1, l2, l3 [1] and of parameters; those of `CLASSICAL` are

.. math:: \text{neo-Hooke: } \tfrac{\mu}{2} (I_1 - 3), \qquad
          \text{Mooney-Rivlin: } c_1 (I_1 - 3) + c_2 (I_2 - 3), \qquad
          \text{Yeoh: } \sum_{k=1}^3 c_k (I_1 - 3)^k,

.. math:: \text{Gent: } -\tfrac{\mu J_m}{2} \ln\left(1 - \frac{I_1 - 3}{J_m}\right), \qquad
          \text{Ogden: } \sum_{k=1}^3 \frac{\mu_k}{\alpha_k} (l_1^{\alpha_k} + l_2^{\alpha_k} + l_3^{\alpha_k} - 3).

`POWERS` has powers of stretches and of products of two of them, with factors that are not negative and exponents of at
least one: it is polyconvex, whatever the data say.

References:
    Mooney, J. Appl. Phys. 11 (1940) 582. Rivlin, Phil. Trans. A 241 (1948) 379. Ogden, Proc. R. Soc. A 326 (1972) 565.
    Yeoh, Rubber Chem. Technol. 63 (1990) 792. Gent, Rubber Chem. Technol. 69 (1996) 59.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import sympy
import torch
from jaxtyping import Float
from scipy.optimize import least_squares
from torch import Tensor

from kansci.errors import DataError
from kansci.physics.hyperelastic import principal_stretches
from kansci.symbolic.evaluate import torch_function
from kansci.symbolic.parse import parse_formula, symbols_of

STRETCHES = ("l1", "l2", "l3")
TRIALS = 24
FREE = (-np.inf, np.inf)
POSITIVE = (0.0, np.inf)

_I1 = "(l1**2 + l2**2 + l3**2 - 3)"
_I2 = "(l1**2*l2**2 + l2**2*l3**2 + l3**2*l1**2 - 3)"


def _powers(exponent: str, letters: tuple[str, str, str] = STRETCHES) -> str:
    return "(" + " + ".join(f"({own})**{exponent}" for own in letters) + " - 3)"


@dataclass(frozen=True)
class EnergyModel:
    """An energy as a formula of stretches and parameters.

    Attributes:
        formula: of l1, l2, l3 and the parameters.
        parameters: lowest and highest value of each.
        starts: between what, in units of the largest stress for factors, fits begin.
        factors: which of the parameters are stresses.
    """

    formula: str
    parameters: dict[str, tuple[float, float]]
    starts: dict[str, tuple[float, float]]

    @property
    def expression(self) -> sympy.Expr:
        """The energy."""
        return parse_formula(self.formula, [*STRETCHES, *self.parameters])

    @property
    def nominal(self) -> sympy.Expr:
        """P_1 = W_1 - (l3 / l1) W_3."""
        symbols, energy = symbols_of(STRETCHES), self.expression
        slopes = [sympy.diff(energy, symbols[name]) for name in ("l1", "l3")]
        return slopes[0] - symbols["l3"] / symbols["l1"] * slopes[1]


@dataclass(frozen=True)
class EnergyFit:
    """What `fit_energy` returns.

    Attributes:
        model: what was fitted.
        values: of the parameters.
        loss: sum over modes of squares relative to the mode's variance.
    """

    model: EnergyModel
    values: dict[str, float]
    loss: float

    @property
    def formula(self) -> sympy.Expr:
        """The energy in l1, l2, l3."""
        symbols = symbols_of(list(self.values))
        numbers = {symbols[name]: sympy.Float(own) for name, own in self.values.items()}
        return cast(sympy.Expr, self.model.expression.xreplace(numbers))

    def nominal(self, stretches: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        """The nominal stress along the first axis."""
        return _with_values(self.model.nominal, self.model)(stretches, list(self.values.values()))


CLASSICAL = {
    "neo-Hooke": EnergyModel(f"mu/2*{_I1}", {"mu": POSITIVE}, {"mu": (0.1, 1.0)}),
    "Mooney-Rivlin": EnergyModel(
        f"c1*{_I1} + c2*{_I2}", {"c1": POSITIVE, "c2": POSITIVE}, {"c1": (0.1, 1.0), "c2": (0.01, 0.1)}
    ),
    "Yeoh": EnergyModel(
        f"c1*{_I1} + c2*{_I1}**2 + c3*{_I1}**3",
        {"c1": FREE, "c2": FREE, "c3": FREE},
        {"c1": (0.1, 1.0), "c2": (0.0, 0.0), "c3": (0.0, 0.0)},
    ),
    "Gent": EnergyModel(
        f"-mu*Jm/2*log(1 - {_I1}/Jm)", {"mu": POSITIVE, "Jm": POSITIVE}, {"mu": (0.1, 1.0), "Jm": (3.0, 300.0)}
    ),
    "Ogden": EnergyModel(
        " + ".join(f"m{k}/a{k}*{_powers(f'a{k}')}" for k in (1, 2, 3)),
        {**{f"m{k}": FREE for k in (1, 2, 3)}, "a1": (0.1, 20.0), "a2": (0.1, 20.0), "a3": (-20.0, -0.1)},
        {
            "m1": (0.1, 1.0),
            "m2": (1e-4, 0.1),
            "m3": (-0.1, -1e-3),
            "a1": (0.5, 2.5),
            "a2": (3.0, 8.0),
            "a3": (-4.0, -1.0),
        },
    ),
}

_PRODUCTS = "l2*l3", "l3*l1", "l1*l2"
POWERS = EnergyModel(
    f"c1*{_powers('p1')} + c2*{_powers('p2')} + d1*{_powers('q1', _PRODUCTS)} + d2*{_powers('q2', _PRODUCTS)}",
    {**dict.fromkeys(("c1", "c2", "d1", "d2"), POSITIVE), **dict.fromkeys(("p1", "p2", "q1", "q2"), (1.0, 20.0))},
    {
        "c1": (0.1, 1.0),
        "c2": (1e-5, 1e-2),
        "d1": (0.01, 0.1),
        "d2": (1e-5, 1e-2),
        "p1": (1.0, 2.5),
        "p2": (4.0, 9.0),
        "q1": (1.0, 1.5),
        "q2": (1.5, 5.0),
    },
)


def fit_energy(model: EnergyModel, tests: Mapping[str, tuple[Any, Any]], *, seed: int = 0) -> EnergyFit:
    """The parameters that suit tests best, each mode counting alike.

    Args:
        model: one of `CLASSICAL`, `POWERS`, or another.
        tests: stretches [1] and nominal stresses [unit of the parameters], by mode, see `principal_stretches`.
        seed: of the starts.

    Raises:
        DataError: no start from which the energy is defined for all stretches.

    Example:
        >>> stretch = np.linspace(1.1, 3, 15)
        >>> tests = {"uniaxial": (stretch, 0.4 * (stretch - stretch**-2))}
        >>> round(fit_energy(CLASSICAL["neo-Hooke"], tests).values["mu"], 6)
        0.4
    """
    stretches = torch.cat([principal_stretches(mode, own[0]) for mode, own in tests.items()])
    stresses = [torch.as_tensor(own[1], dtype=torch.float64).flatten() for own in tests.values()]
    target = torch.cat(stresses)
    units = torch.cat([(own - own.mean()).norm().expand(len(own)) for own in stresses])
    slopes = [sympy.diff(model.nominal, symbol) for symbol in symbols_of(list(model.parameters)).values()]
    value, *derivatives = (_with_values(own, model) for own in (model.nominal, *slopes))

    def residual(values: np.ndarray) -> np.ndarray:
        return ((value(stretches, list(values)) - target) / units).numpy()

    def jacobian(values: np.ndarray) -> np.ndarray:
        return torch.stack([own(stretches, list(values)) / units for own in derivatives], 1).numpy()

    bounds = np.array(list(model.parameters.values())).T
    best = None
    random = np.random.default_rng(seed)
    for _ in range(TRIALS if len(model.parameters) > 1 else 1):
        start = np.array([_drawn(*model.starts[name], random) for name in model.parameters])
        if not np.isfinite(residual(start)).all():
            continue
        found = least_squares(residual, start, cast(Any, jacobian), bounds, x_scale="jac", max_nfev=500)
        if best is None or found.cost < best.cost:
            best = found
    if best is None:
        raise DataError("expected stretches at which the energy is defined, found no start at which it is")
    return EnergyFit(model, dict(zip(model.parameters, best.x.tolist(), strict=True)), 2 * float(best.cost))


def _drawn(low: float, high: float, random: np.random.Generator) -> float:
    """A number between two of the same sign, evenly in its logarithm."""
    if low == high:
        return low
    return float(np.sign(low) * np.exp(random.uniform(*sorted(np.log(np.abs([low, high]))))))


def _with_values(expression: sympy.Expr, model: EnergyModel) -> Callable[[Tensor, list[float]], Tensor]:
    """A function of stretches and parameters."""
    function = torch_function(expression, [*STRETCHES, *model.parameters])

    def evaluate(stretches: Tensor, values: list[float]) -> Tensor:
        columns = stretches.new_tensor(values).expand(len(stretches), -1)
        return function(torch.cat([stretches, columns], 1))

    return evaluate
