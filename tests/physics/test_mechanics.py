"""Networks of the form of a Lagrangian: how they start, and what they can be."""

import pytest
import torch

from kansci import Edge
from kansci.errors import ConfigError, FormulaError
from kansci.physics.lagrangian import accelerations, motion
from kansci.physics.mechanics import PARTS, mechanics, without_idle_products
from kansci.surgery.symbolize import drop_splines
from tests.helpers import assert_same

ONE, TWO = ["q", "v"], ["a", "b", "va", "vb"]
BOX = [(-1.0, 1.0), (-2.0, 1.0), (-3.0, 3.0), (-1.0, 2.0)]


def points(n: int = 30) -> torch.Tensor:
    low, high = torch.tensor(BOX, dtype=torch.float64).T
    return low + (high - low) * torch.rand(n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("parts", [(), PARTS])
def test_starts_are_the_kinetic_energy_of_unit_masses(parts):
    x = points()
    model = mechanics(TWO, BOX, parts=parts).model
    here = motion(model.jet(x, "hessian"), x)
    assert_same(here.mass, torch.eye(2, dtype=torch.float64).expand(30, 2, 2), 1e-6)
    assert here.is_regular.all()
    assert accelerations(model, x).abs().max() < 1e-5
    assert model.n_outputs == 1 + ("friction" in parts)
    assert_same(model(x)[:, 0], x[:, 2:].square().sum(1) / 2, 1e-6)


def test_random_starts_are_random():
    x = points()
    first, again, other = (mechanics(TWO, BOX, kinetic=False, seed=seed).model(x) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 1e-3


def test_groups_are_all_spline_edges():
    for parts in ((), ("inertia",), PARTS):
        found = mechanics(TWO, BOX, parts=parts, kinetic=False)
        own = found.model.layers[0].splines
        assert own is not None
        splines = {Edge(0, *place) for place in own.mask.nonzero().tolist()}
        assert {edge for group in found.groups for edge in group} == splines


def test_angles_have_their_period():
    x = points()
    model = mechanics(TWO, [(-3.0, 3.0), *BOX[1:]], periodic=[0], kinetic=False).model
    turned = x + 6 * torch.eye(4, dtype=torch.float64)[0]
    one = mechanics(ONE, [(-3.0, 3.0), (-1.0, 1.0)], periodic=[0], kinetic=False).model
    assert_same(one(x[:, :2] + torch.tensor([6.0, 0.0])), one(x[:, :2]), 1e-12)
    assert (model(turned) - model(x)).isfinite().all()


def test_features_are_further_inputs():
    model = mechanics(TWO, BOX, parts=(), features=["a*b"]).model
    assert model.n_inputs == 4
    assert model.config.columns[0].n_sum == 4 + 3


def test_idle_products_go():
    x = points()
    found = mechanics(TWO, BOX)
    assert len(found.groups[0]) > 1
    less = drop_splines(found.model, found.groups[0])
    smaller = without_idle_products(less)
    assert smaller.config.columns[1].n_nodes == found.model.config.columns[1].n_nodes - 1
    assert_same(smaller(x), less(x), 1e-14)
    assert without_idle_products(found.model).config.columns == found.model.config.columns


@pytest.mark.parametrize(
    ("names", "domain", "options", "message"),
    [
        (["q"], [(-1, 1)], {}, "as many velocities"),
        ([], [], {}, "as many velocities"),
        (ONE, [(-1, 1)], {}, "as many velocities"),
        (ONE, [(-1, 1)] * 2, {"parts": ["friktion"]}, "expected parts among inertia, friction.*got friktion"),
    ],
)
def test_what_makes_no_sense_is_refused(names, domain, options, message):
    with pytest.raises(ConfigError, match=message):
        mechanics(names, domain, **options)


def test_features_that_cannot_be_read_are_refused():
    with pytest.raises(FormulaError):
        mechanics(ONE, [(-1, 1)] * 2, features=["q +"])
