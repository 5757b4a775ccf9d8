"""Laws of materials as source code for finite elements: energy, stress and tangent."""

from collections.abc import Sequence
from typing import cast

import sympy

from kansci.symbolic.parse import parse_formula, symbols_of
from kansci.symbolic.source import source_code

LANGUAGES = ("c", "fortran")


def energy_of_gradient(energy: str | sympy.Expr, *, plane: bool = False) -> tuple[sympy.Expr, list[str]]:
    """An energy of I1, I2 and J as a formula of the deformation gradient.

    Args:
        energy: of I1 and I2, invariants without the change of volume, and J, see `kansci.physics.energy_terms`.
        plane: whether F has the entries F11, F12, F21, F22 of plane strain only.

    Returns:
        The formula, and the names of the entries of F row by row.

    Example:
        >>> energy, names = energy_of_gradient("3*(J - 1)**2/2", plane=True)
        >>> energy, names
        (3*(F11*F22 - F12*F21 - 1)**2/2, ['F11', 'F12', 'F21', 'F22'])
    """
    known = symbols_of(("I1", "I2", "J"))
    formula = parse_formula(energy, list(known)) if isinstance(energy, str) else energy
    size = 2 if plane else 3
    names = [f"F{row}{column}" for row in range(1, size + 1) for column in range(1, size + 1)]
    entries = sympy.Matrix(size, size, list(symbols_of(names).values()))
    gradient = sympy.diag(entries, 1) if plane else entries
    volume = gradient.det() if not plane else entries.det()
    squares = gradient.T * gradient
    first = squares.trace()
    second = (first**2 - (squares * squares).trace()) / 2
    own = {
        known["I1"]: first * volume ** sympy.Rational(-2, 3),
        known["I2"]: second * volume ** sympy.Rational(-4, 3),
        known["J"]: volume,
    }
    return cast(sympy.Expr, formula.xreplace(own)), names


def law_source(energy: str | sympy.Expr, names: Sequence[str], *, language: str = "c", function: str = "law") -> str:
    """Source code of an energy, of its gradient and of its Hessian.

    With the entries of F as variables these are energy, first Piola stress and tangent; with principal stretches,
    the principal values of the stress and their derivatives. There are three functions, ``law_energy``, ``law_stress``
    with as many values as variables, and ``law_tangent`` with the Hessian row by row.

    Args:
        energy: the formula.
        names: of its variables.
        language: "c" or "fortran", or another of `source_code`.
        function: what the names of the functions begin with.

    Raises:
        FormulaError: an energy with other variables.
        ConfigError: no such language.

    Example:
        >>> print(law_source("k*x**2/2".replace("k", "3"), ["x"]))
        #include <math.h>
        <BLANKLINE>
        double law_energy(double x)
        {
            return (3.0/2.0)*pow(x, 2);
        }
        <BLANKLINE>
        double law_stress(double x)
        {
            return 3*x;
        }
        <BLANKLINE>
        double law_tangent(double x)
        {
            return 3;
        }
        <BLANKLINE>
    """
    formula = parse_formula(energy, names) if isinstance(energy, str) else energy
    symbols = list(symbols_of(names).values())
    slopes = [sympy.diff(formula, symbol) for symbol in symbols]
    hessian = [sympy.diff(slope, symbol) for slope in slopes for symbol in symbols]
    parts = {"energy": [formula], "stress": slopes, "tangent": hessian}
    sources = [source_code(own, names, language=language, function=f"{function}_{part}") for part, own in parts.items()]
    head, mark, _ = sources[0].partition("\n\n")
    if mark and all(own.startswith(head + mark) for own in sources):
        sources = [sources[0], *(own[len(head + mark) :] for own in sources[1:])]
    return "\n".join(sources)
