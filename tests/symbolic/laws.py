"""Laws that networks are to find: from samples to the formula by the five lines of the README, each with its rates.

python -m tests.symbolic.laws [--law exp_sin ...] [--fresh] [--seeds 0 1 2 3 4] [--noise 0.01] [--sparse]
"""

import argparse
import time
import zlib
from dataclasses import dataclass, field
from typing import Any

import sympy
import torch
from torch import Tensor

import kansci as ks

SAMPLES = 1000


@dataclass(frozen=True)
class Law:
    """A formula, the network it is to be found by and the box its samples come from."""

    formula: str
    width: list[Any]
    box: dict[str, tuple[float, float]]
    features: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return list(self.box)

    @property
    def expression(self) -> sympy.Expr:
        return ks.parse_formula(self.formula, self.names)

    def model(self, seed: int, *, sparse: bool = False) -> ks.MultKAN:
        features = ks.auxiliary_features(self.features, self.names) if self.features else None
        return ks.MultKAN(self.width, domain=list(self.box.values()), features=features, sparse=sparse, seed=seed)

    def sample(self, seed: int, noise: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Points, their true values and noisy ones, with noise in units of the values' standard deviation.

        Each law has its own noise: with the same one, constants of different laws would err together.
        """
        generator = torch.Generator().manual_seed(seed)
        low, high = torch.tensor(list(self.box.values()), dtype=torch.float64).T
        x = low + (high - low) * torch.rand(SAMPLES, len(low), dtype=torch.float64, generator=generator)
        true = ks.torch_function(self.expression, self.names)(x).reshape(-1, 1)
        own = torch.Generator().manual_seed(zlib.crc32(f"{self.formula} {self.width} {seed}".encode()))
        return x, true, true + noise * true.std() * torch.randn(true.shape, dtype=torch.float64, generator=own)


SQUARE = {"x": (-1.0, 1.0), "y": (-1.0, 1.0)}
POSITIVE = {"x": (0.5, 2.0), "y": (0.5, 2.0)}
CUBE = {"x": (-1.0, 1.0), "y": (-1.0, 1.0), "z": (-1.0, 1.0)}
PARTICLE = {"m": (0.2, 1.0), "v": (0.1, 0.9), "c": (1.1, 2.0)}
LAWS = {
    "exp_sin": Law("exp(sin(pi*x) + y**2)", [2, 5, 1], SQUARE),
    "product": Law("x*y", [2, [2, 1], 1], SQUARE),
    "product_of_sums": Law("x*y", [2, 2, 1], SQUARE),
    "ratio": Law("x/y", [2, 5, 1], POSITIVE),
    "ratio_of_any_sign": Law("x/y", [2, [2, 1], 1], {"x": (-1.0, 1.0), "y": (0.5, 2.0)}),
    "step": Law("tanh(5*(x**4 + y**4 + z**4 - 1))", [3, 5, 1], CUBE),
    "velocities": Law("(u + v)/(1 + u*v)", [2, 5, 1], {"u": (-0.9, 0.9), "v": (-0.9, 0.9)}),
    "distance": Law(
        "sqrt((x1 - x2)**2 + (y1 - y2)**2)", [4, 5, 2, 1], dict.fromkeys(["x1", "x2", "y1", "y2"], (-1.0, 1.0))
    ),
    "bessel": Law("exp(besselj(0, 20*x) + y**2)", [2, 5, 1], SQUARE),
    "mass": Law("m/sqrt(1 - v**2/c**2)", [3, [1, 1], [0, 1]], PARTICLE),
    "mass_by_features": Law(
        "m/sqrt(1 - v**2/c**2)",
        [5, [0, 1]],
        PARTICLE,
        {"beta": "v/c", "gamma": "1/sqrt(1 - v**2/c**2)"},
    ),
    "norm": Law("sqrt(x**2 + y**2 + z**2)", [3, 5, 1], CUBE),
    "sum": Law("sin(3*x) + exp(y)", [2, 5, 1], SQUARE),
    "lorentzian": Law("1/(1 + x**2 + y**2)", [2, 5, 1], SQUARE),
    "logarithm": Law("3*log(2 + x) + y**3", [2, 5, 1], SQUARE),
    "wave": Law("cos(2*x + y)", [2, 5, 1], SQUARE),
    "powers": Law("x*y**2/sqrt(z)", [3, 5, 1], dict.fromkeys("xyz", (0.5, 2.0))),
    "damped": Law("sin(2*x)*exp(-y)", [2, [2, 1], 1], SQUARE),
}
FRESH = {  # not looked at while the search was made
    "cosine_of_product": Law("cos(x*y)", [2, [2, 1], 1], {"x": (-2.0, 2.0), "y": (-2.0, 2.0)}),
    "logarithm_of_squares": Law("log(1 + x**2 + y**2)", [2, 5, 1], SQUARE),
    "decay": Law("x*exp(-y)", [2, [2, 1], 1], SQUARE),
    "saturation": Law("a/(b + x)", [3, [2, 1], 1], dict.fromkeys("abx", (0.5, 2.0))),
    "hyperboloid": Law("sqrt(x**2 + y**2 + 1)", [2, 5, 1], SQUARE),
    "sine_over_squares": Law("sin(x)/(1 + y**2)", [2, [2, 1], 1], {"x": (-2.0, 2.0), "y": (-2.0, 2.0)}),
    "bell": Law("exp(-(x - y)**2)", [2, 5, 1], SQUARE),
    "three_factors": Law("x*y*sin(2*z)", [3, [0, [3]], 1], CUBE),
}


@dataclass(frozen=True)
class Finding:
    """What the five lines find: the formula, its error against true values at fresh points, and more."""

    formula: sympy.Expr
    is_right: bool
    error: float
    seconds: float
    deviations: tuple[float, ...]


def find(law: Law, seed: int, noise: float = 0.0, *, sparse: bool = False) -> Finding:
    x, true, y = law.sample(seed, noise)
    start = time.perf_counter()
    small = ks.sparsify(law.model(seed, sparse=sparse), (x, y), fill=sparse).model
    pruned = ks.prune(small, x)
    trained = ks.fit(pruned, (x, y), progress=False).model
    snapped = ks.snap(trained, (x, y)).model
    rounded = ks.round_constants(snapped, (x, y))
    seconds = time.perf_counter() - start
    found = _formula(rounded, law)
    fresh, values, _ = law.sample(seed + 1000)
    with torch.no_grad():
        error = float((rounded(fresh) - values).square().mean().sqrt())
    is_right = has_right_form(snapped, x, true)
    return Finding(found, is_right, error, seconds, deviations(snapped, x, true, y) if is_right and noise else ())


def _formula(model: ks.MultKAN, law: Law) -> sympy.Expr:
    """What a network says; nothing where numbers cannot hold it, as may happen to one that is wrong."""
    try:
        return ks.formula(model, law.names, simplify=True)[0]
    except ks.errors.FormulaError:
        return sympy.nan


def has_right_form(model: ks.MultKAN, x: Tensor, true: Tensor) -> bool:
    """Whether constants exist with which the network computes the true values."""
    fitted = ks.solve(model, _terms(x, true), steps=200, progress=False).model
    with torch.no_grad():
        return bool((fitted(x) - true).square().mean().sqrt() < 1e-9 * true.std())


def deviations(model: ks.MultKAN, x: Tensor, true: Tensor, y: Tensor) -> tuple[float, ...]:
    """(estimate - true value) / standard error of all constants that data determine."""
    fixed = ks.fix_gauge(model, (x, y))
    exact = ks.solve(fixed, _terms(x, true), steps=200, progress=False).model
    pairs = zip(ks.constant_estimates(fixed, (x, y)), ks.constant_estimates(exact, (x, true)), strict=True)
    return tuple((a.estimate.value - b.estimate.value) / a.estimate.standard_error for a, b in pairs)


def _terms(x: Tensor, y: Tensor) -> list[ks.Residual]:
    return [ks.Residual(lambda jet, x, y: jet.value - y, x, targets=y)]


def is_formula(found: sympy.Expr, law: Law) -> bool:
    """Whether two expressions are equal, their constants to 1e-9."""
    difference = sympy.simplify(sympy.expand(found) - law.expression)
    if difference == 0 or sympy.simplify(found / law.expression) == 1:
        return True
    x = law.sample(7)[0][:50]
    return False if difference.has(sympy.zoo, sympy.nan) else _agree(found, law, x)


def _agree(found: sympy.Expr, law: Law, x: Tensor) -> bool:
    """Numerically, to the last digits, where algebra does not decide: tanh(a) is 1 - 2/(1 + exp(2 a))."""
    ours, theirs = (ks.torch_function(own, law.names)(x) for own in (found, law.expression))
    return bool((ours - theirs).abs().max() <= 1e-12 * theirs.abs().max())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--law", nargs="*")
    parser.add_argument("--fresh", action="store_true", help="laws of the same kind that are not in the list")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(range(5)))
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--sparse", action="store_true", help="start from networks most of whose edges are masked")
    options = parser.parse_args()
    right, exactly, total, everything = 0, 0, 0, []
    laws = FRESH if options.fresh else LAWS
    for name in options.law or laws:
        for seed in options.seeds:
            found = find(laws[name], seed, options.noise, sparse=options.sparse)
            everything += found.deviations
            same = is_formula(found.formula, laws[name])
            right, exactly, total = right + found.is_right, exactly + same, total + 1
            exact = "yes" if same else "no"
            form = "right" if found.is_right else "WRONG"
            print(
                f"{name:18s} {seed}  form {form}  exact {exact:3s}"
                f"  RMSE {found.error:.1e}  {found.seconds:5.1f} s  {found.formula}",
                flush=True,
            )
    print(f"right form in {right} of {total}, exact in {exactly}")
    if everything:
        z = torch.tensor(everything)
        within = float((z.abs() <= 2).double().mean())
        print(
            f"{len(z)} constants: within 2 standard errors {within:.1%}, RMS of z {float(z.square().mean().sqrt()):.2f}"
        )


if __name__ == "__main__":
    main()
