"""Classical energies of rubber, fitted to tests of known laws."""

import numpy as np
import pytest

import kansci as ks
from kansci.physics.hyperelastic import principal_stretches
from kansci.physics.rubber_models import CLASSICAL, EnergyModel, fit_energy

STRETCH = np.linspace(1.1, 3, 12)


@pytest.fixture(autouse=True)
def fast(unchecked):
    """Types are checked in the tests of the parts."""


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Mooney-Rivlin", {"c1": 0.2, "c2": 0.05}),
        ("Yeoh", {"c1": 0.3, "c2": -0.01, "c3": 0.002}),
        ("Gent", {"mu": 0.3, "Jm": 40.0}),
    ],
)
def test_laws_are_recovered(name, values):
    truth = fit_energy(CLASSICAL[name], {"uniaxial": (STRETCH, STRETCH)})
    truth.values.update(values)
    modes = "uniaxial", "equibiaxial"
    tests = {mode: (STRETCH, truth.nominal(principal_stretches(mode, STRETCH))) for mode in modes}
    found = fit_energy(CLASSICAL[name], tests)
    assert found.values == pytest.approx(values, rel=1e-5)
    assert found.loss < 1e-12


def test_an_energy_that_is_nowhere_defined_is_refused():
    model = EnergyModel("c*sqrt(-l1)", {"c": (0.0, 1.0)}, {"c": (0.1, 0.2)})
    with pytest.raises(ks.errors.DataError, match="the energy is defined"):
        fit_energy(model, {"uniaxial": (STRETCH, STRETCH)})
