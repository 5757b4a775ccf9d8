"""Laws as source code, compiled and compared."""

import ctypes
import shutil
import subprocess

import pytest
import torch

import kansci as ks
from kansci.physics.material_code import energy_of_gradient, law_source

ENERGY = "(I1 - 3)/2 + log(I2/3) + 1.5*(J - 1)**2"


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_compiled_laws_agree_with_derivatives(tmp_path):
    energy, names = energy_of_gradient(ENERGY, plane=True)
    (tmp_path / "law.c").write_text(law_source(energy, names))
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "law.so", "law.c", "-lm"], cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "law.so"))
    library.law_energy.restype = ctypes.c_double
    x = torch.tensor([1.2, 0.3, -0.1, 0.9], dtype=torch.float64)
    arguments = [ctypes.c_double(own) for own in x.tolist()]
    function = ks.torch_function(energy, names)
    assert library.law_energy(*arguments) == pytest.approx(float(function(x)), rel=1e-13)
    for name, size, wanted in (
        ("law_stress", 4, torch.func.grad(function)(x)),
        ("law_tangent", 16, torch.func.hessian(function)(x).flatten()),
    ):
        values = (ctypes.c_double * size)()
        getattr(library, name)(*arguments, values)
        assert list(values) == pytest.approx(wanted.tolist(), rel=1e-11, abs=1e-12)


def test_fortran_has_three_routines():
    energy = "mu/2*(l1**2 + l2**2 + l3**2 - 3)".replace("mu", "0.4")
    text = law_source(energy, ["l1", "l2", "l3"], language="fortran", function="rubber")
    assert [word in text for word in ("function rubber_energy(", "subroutine rubber_stress(", "rubber_tangent(")]
    assert text.count("end ") == 3


def test_unknown_variables_are_refused():
    with pytest.raises(ks.errors.FormulaError, match="I4"):
        energy_of_gradient("I4 - 1")
