"""Formulas in other languages: the code compiles, runs and has the values of the formula."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sympy
import torch

import kansci as ks
from kansci.errors import ConfigError, FormulaError
from kansci.functions import LIBRARY
from tests.benchmarks.feynman import read_equations
from tests.symbolic.expressions import exact_values

x, y = sympy.symbols("x y", real=True)
COMPILER = shutil.which("cc")
C_LACKS = {"i0", "i1", "k0", "k1"}
ROWS = [row for row in LIBRARY.values() if row.name != "zero"]
POINTS = {(-1.0, 1.0): [-0.71, 0.13, 0.62], (1.0, float("inf")): [1.31, 2.7, 5.9]}
POSITIVE = [0.37, 1.42, 3.3]


def run_c(source: str, calls: list[str], folder: Path) -> list[float]:
    """What C expressions that call the code are."""
    prints = "".join(f'printf("%.17g\\n", {call});' for call in calls)
    (folder / "f.c").write_text(f"#include <stdio.h>\n{source}\nint main(void) {{ {prints} return 0; }}\n")
    strict = [
        str(COMPILER),
        "-std=c99",
        "-D_XOPEN_SOURCE=600",
        "-Wall",
        "-Wno-unused-parameter",
        "-Werror",
        "-O1",
        "-ffp-contract=off",
    ]
    subprocess.run([*strict, "f.c", "-o", "f", "-lm"], cwd=folder, check=True)
    out = subprocess.run([folder / "f"], check=True, capture_output=True, text=True).stdout
    return [float(line) for line in out.split()]


def run_numpy(source: str, calls: list[str]) -> list:
    """What Python expressions that call the code are."""
    code = f"{source}\nimport json\nprint(json.dumps([numpy.asarray(v).tolist() for v in ({', '.join(calls)},)]))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def library_calls(lacking: set[str]) -> tuple[list[sympy.Expr], list[float]]:
    """Every function of the library at points of its domain, as outputs of one function of no variable but x."""
    rows = [row for row in ROWS if row.name not in lacking]
    return [row.sympy(x) for row in rows], [POINTS.get(row.domain, POSITIVE)[1] for row in rows]


def assert_close(values: list[float], expressions: list[sympy.Expr], points: list[float], tolerance: float) -> None:
    for value, expression, point in zip(values, expressions, points, strict=True):
        (exact,) = exact_values(expression, ["x"], torch.tensor([[point]], dtype=torch.float64))
        assert value == pytest.approx(float(exact), rel=tolerance, abs=0), expression


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_c_has_the_functions_of_the_library(tmp_path):
    expressions, points = library_calls(C_LACKS)
    sources = [ks.source_code(e, ["x"], language="c", function=f"f{k}") for k, e in enumerate(expressions)]
    calls = [f"f{k}({point!r})" for k, point in enumerate(points)]
    assert_close(run_c("\n".join(sources), calls, tmp_path), expressions, points, 1e-14)


def test_numpy_has_the_functions_of_the_library():
    expressions, points = library_calls(set())
    sources = [ks.source_code(e, ["x"], language="numpy", function=f"f{k}") for k, e in enumerate(expressions)]
    calls = [f"f{k}(numpy.float64({point!r}))" for k, point in enumerate(points)]
    assert_close(run_numpy("\n".join(sources), calls), expressions, points, 1e-14)


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_equations_of_physics_in_c(tmp_path):
    equations, sources, calls, expected = read_equations()[::3], [], [], []
    for k, equation in enumerate(equations):
        point = equation.points(1)
        (exact,) = exact_values(equation.expression, equation.names, point)
        sources.append(ks.source_code(equation.expression, equation.names, language="c", function=f"f{k}"))
        calls.append(f"f{k}({', '.join(map(repr, point[0].tolist()))})")
        expected.append(float(exact))
    assert run_c("\n".join(sources), calls, tmp_path) == pytest.approx(expected, rel=1e-13, abs=0)


SEVERAL = [sympy.sin(x * y) + sympy.exp(x * y) / 3, sympy.sqrt(2) * sympy.sin(x * y), sympy.Integer(4)]


def several_values() -> list[float]:
    return [float(e.subs({x: 0.3, y: 1.7})) for e in SEVERAL]


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_several_outputs_in_c(tmp_path):
    source = ks.source_code(SEVERAL, ["x", "y"], language="c")
    assert source.count("sin(") == 1
    call = "static double at(int k) { double out[3]; f(0.3, 1.7, out); return out[k]; }"
    values = run_c(f"{source}\n{call}", [f"at({k})" for k in range(3)], tmp_path)
    assert values == pytest.approx(several_values(), rel=1e-15)


def test_several_outputs_of_arrays_in_numpy():
    source = ks.source_code(SEVERAL[:2], ["x", "y"], language="numpy")
    values = run_numpy(source, ["f(numpy.array([0.3, 0.3]), numpy.array([1.7, 1.7]))"])
    assert values == [[pytest.approx([value, value], rel=1e-15) for value in several_values()[:2]]]


def test_jumps_and_pieces_of_arrays_in_numpy():
    pieces = sympy.Piecewise((x**2, x > 1), (sympy.Max(x, sympy.Rational(1, 2)), True)) + sympy.sign(x)
    values = run_numpy(ks.source_code(pieces, ["x"], language="numpy"), ["f(numpy.array([-1.0, 0.75, 3.0]))"])
    assert values == [[-0.5, 1.75, 10.0]]


def test_fortran():
    assert ks.source_code(SEVERAL, ["x", "y"], language="fortran", function="rates").splitlines() == [
        "pure subroutine rates(x, y, values)",
        "    implicit none",
        "    double precision, intent(in) :: x",
        "    double precision, intent(in) :: y",
        "    double precision, intent(out) :: values(3)",
        "    double precision :: t1",
        "    double precision :: t2",
        "    t1 = x*y",
        "    t2 = sin(t1)",
        "    values(1) = t2 + (1.0d0/3.0d0)*exp(t1)",
        "    values(2) = 1.4142135623730951d0*t2",
        "    values(3) = 4",
        "end subroutine rates",
    ]
    one = ks.source_code(sympy.Max(0, x) + sympy.besselj(0, y), ["x", "y"], language="fortran")
    assert one.startswith("pure function f(x, y) result(values)\n")
    assert "values = bessel_j0(y) + max(0.0d0, x)\n" in one


@pytest.mark.parametrize("row", [row for row in ROWS if row.name not in C_LACKS], ids=lambda row: row.name)
def test_operands_of_fortran_are_of_one_type(row):
    """merge and max take no real number beside an integer, and no jump is complex."""
    source = ks.source_code(row.sympy(x), ["x"], language="fortran")
    assert "cmplx" not in source
    assert not [word for word in ("merge(0,", "merge(1,", ", 1,", ", 0,", "max(0,") if word in source]


def test_julia():
    source = ks.source_code(SEVERAL, ["x", "y"], language="julia")
    assert source.splitlines()[0] == "function f(x, y)"
    assert source.splitlines()[-2:] == ["    return t2 + exp(t1) / 3, 1.4142135623730951 * t2, 4", "end"]
    assert ks.source_code(sympy.erf(x), ["x"], language="julia").startswith("using SpecialFunctions\n")


def test_latex():
    expression = ks.parse_formula("sqrt(x_1)/(2*pi)", ["x_1"])
    assert ks.source_code(expression, ["x_1"], language="latex") == "f(x_{1}) = \\frac{\\sqrt{x_{1}}}{2 \\pi}\n"
    assert ks.source_code([x, y], ["x", "y"], language="latex", function="u") == "u_{1}(x, y) = x\nu_{2}(x, y) = y\n"


@pytest.mark.parametrize("language", ["c", "fortran"])
def test_functions_that_a_language_lacks_are_named(language):
    with pytest.raises(FormulaError, match=r"(C|Fortran) has no function besseli"):
        ks.source_code(x + sympy.besseli(0, x), ["x"], language=language)
    with pytest.raises(FormulaError, match="has no function zeta"):
        ks.source_code(sympy.zeta(x), ["x"], language=language)


def test_what_cannot_be_code_is_refused():
    with pytest.raises(FormulaError, match=r"expressions of x, got \['y'\]"):
        ks.source_code(x + y, ["x"], language="c")
    with pytest.raises(FormulaError, match="got none"):
        ks.source_code([], ["x"], language="c")
    with pytest.raises(FormulaError, match=r"\['sin'\]; rename"):
        ks.source_code(sympy.sin(sympy.Symbol("sin", real=True)), ["sin"], language="c")
    with pytest.raises(FormulaError, match="differ"):
        ks.source_code(x, ["x"], language="c", function="x")
    with pytest.raises(ConfigError, match="latex, c, fortran, julia, numpy, got 'cobol'"):
        ks.source_code(x, ["x"], language="cobol")


def test_names_of_intermediate_results_are_new():
    t1, values = sympy.symbols("t1 values", real=True)
    source = ks.source_code([sympy.sin(t1) * values, sympy.sin(t1)], ["t1", "values"], language="c")
    assert "void f(double t1, double values, double values1[2])" in source
    assert "const double t2 = sin(t1);" in source
