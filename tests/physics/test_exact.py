"""Dirichlet values that hold by construction."""

import copy
from typing import Any

import pytest
import torch

from kansci.errors import ConfigError, FormulaError
from kansci.jets import _functional_jet
from kansci.nn.multkan import MultKAN
from kansci.physics.domains import Ball, Box, Domain
from kansci.physics.exact import exact_dirichlet
from kansci.solvers.hidden import follow, jet_and_reach
from kansci.solvers.residual import Residual
from kansci.solvers.solve import solve
from kansci.solvers.unknowns import Unknowns
from kansci.surgery.grid import adapt_grid, refine
from kansci.symbolic.evaluate import torch_function
from kansci.symbolic.kanpiler import auxiliary_features
from kansci.symbolic.parse import parse_formula

NAMES = ["x", "y"]
BOX = Box([(-1.0, 1.0), (0.0, 1.0)])
DISK = Ball((0.5, -0.25), 1.5)
WIDTHS = [[2, 1], [2, 5, 1], [2, 5, 5, 1], [2, [3, [2, 3]], 1]]
G = "exp(-x)*cos(3*y) + x*y**2"


def function_of(text, names=NAMES):
    return torch_function(parse_formula(text, names), names)


def condition(width=(2, 5, 1), region: Domain = BOX, boundary: Any = G, **options) -> MultKAN:
    return exact_dirichlet(
        list(width), boundary, region.distance_formula(NAMES), NAMES, domain=region.bounds, **options
    )


def shake(model, scale):
    """Random values in place of all unknowns of a model."""
    unknowns = Unknowns(model)
    generator = torch.Generator().manual_seed(5)
    unknowns.write(scale * torch.randn(len(unknowns), dtype=torch.float64, generator=generator))
    assert isinstance(unknowns.model, MultKAN)
    return unknowns.model


@pytest.mark.parametrize("width", WIDTHS, ids=str)
@pytest.mark.parametrize("region", [BOX, DISK, BOX - Ball((0.0, 0.5), 0.25)], ids=["box", "disk", "hole"])
def test_boundary_values_hold_whatever_the_coefficients(width, region):
    boundary = region.boundary(200).points
    model = condition(width, region)
    for u in (model, shake(model, 3.0)):
        network = (u(region.interior(200))[:, 0]).abs().amax()
        error = (u(boundary)[:, 0] - function_of(G)(boundary)).abs().max()
        assert error <= 1e-14 * (1 + network)


@pytest.mark.parametrize("width", WIDTHS, ids=str)
def test_the_network_inside_is_the_one_without_conditions(width):
    options = {"grid": 4, "k": 5, "base": "silu", "seed": 3}
    network = MultKAN(width, domain=DISK.bounds, **options)
    u = condition(width, DISK, **options)
    x = DISK.interior(300)
    D = function_of(DISK.distance_formula(NAMES))
    expected = function_of(G)(x) + D(x) * network(x)[:, 0]
    torch.testing.assert_close(u(x)[:, 0], expected, rtol=1e-14, atol=1e-14)
    for wide, narrow in zip(u.layers, network.layers, strict=False):
        own, kept = (layer.get_buffer("splines.knots")[:2] for layer in (narrow, wide))
        torch.testing.assert_close(kept, own, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("width", WIDTHS, ids=str)
@pytest.mark.parametrize("base", ["silu", "zero"])
def test_the_unknowns_are_those_of_the_network(width, base):
    u = condition(width, base=base)
    assert len(Unknowns(u)) == len(Unknowns(MultKAN(width, base=base)))
    assert not any(layer.get_parameter("symbols.affine").requires_grad for layer in u.layers)
    assert u.layers[-1].splines is None


@pytest.mark.parametrize("needs", ["laplacian", "hessian"])
@pytest.mark.parametrize("width", WIDTHS[1:], ids=str)
def test_jets(width, needs):
    u = shake(condition(width), 0.5)
    x = BOX.interior(30)
    expected = _functional_jet(u, x, needs).channels
    torch.testing.assert_close(u.jet(x, needs).channels, expected, rtol=1e-10, atol=1e-10)


def test_several_outputs_have_conditions_of_their_own():
    formulas = ["0", "x", "0"]
    u = shake(condition([2, 4, 3], boundary=formulas), 2.0)
    x = BOX.boundary(50).points
    expected = torch.stack([function_of(text)(x) for text in formulas], 1)
    torch.testing.assert_close(u(x), expected, rtol=1e-14, atol=1e-14)
    inside = u(BOX.interior(50))
    assert (inside - inside[:, :1]).abs().amax(0)[1:].min() > 1e-3


@pytest.mark.parametrize("boundary", ["0", "1000", "x"])
def test_no_grid_is_degenerate(boundary):
    u = condition([2, 5, 5, 1], boundary=boundary)
    for _ in range(2):
        for layer in u.layers[:-1]:
            knots = layer.get_buffer("splines.knots")
            assert (knots[:, -1] - knots[:, 0] > 0.1).all()
        u.set_domain(torch.tensor(BOX.bounds, dtype=torch.float64))


def test_grids_change_and_the_conditions_stay():
    u = condition([2, 5, 1], boundary="0")
    inside, boundary = BOX.interior(400), BOX.boundary(50).points
    for changed in (refine(u, 10), adapt_grid(u, inside, tolerance=1.0), copy.deepcopy(u)):
        assert changed(boundary).abs().max() < 1e-15
        assert len(Unknowns(changed)) == 15 * (changed.layers[0].config.grid + 4)
    assert (refine(u, 10)(inside) - u(inside)).abs().max() < 1e-13


def test_solutions_of_poissons_equation_keep_the_conditions():
    def residual(jet, x):
        return jet.laplacian[:, 0]

    u = condition([2, 4, 1], boundary="exp(x)*sin(y)", grid=2, k=5)
    term = Residual(residual, BOX.interior(256), needs="laplacian")
    coarse = solve(u, term, steps=8, grids=[2, 4], progress=False).model
    fine = solve(coarse, term, steps=4, grids=[8], progress=False).model
    x, boundary = BOX.interior(100), BOX.boundary(50).points
    exact = function_of("exp(x)*sin(y)")
    assert (fine(boundary)[:, 0] - exact(boundary)).abs().max() < 1e-14
    assert (fine(x)[:, 0] - exact(x)).abs().max() < 1e-3 * (u(x)[:, 0] - exact(x)).abs().max()


def test_grids_of_values_that_only_pass_do_not_follow_them():
    u = condition([2, 3, 1], boundary="0")
    before = u.layers[1].get_buffer("splines.knots")
    reach = jet_and_reach(u, BOX.interior(100), "value")[1]
    follow(u, reach, tight=True)
    assert torch.equal(u.layers[1].get_buffer("splines.knots")[-2:], before[-2:])


def test_float32():
    u = condition(dtype=torch.float32)
    x = BOX.boundary(100).points.float()
    assert (u(x)[:, 0] - function_of(G)(x)).abs().max() < 1e-5
    assert u.jet(x).laplacian.dtype == torch.float32


def test_periodic_inputs_and_options_reach_the_network():
    u = condition([2, 3, 1], boundary="0", periodic=[0], grid=6, k=3, seed=2)
    assert u.layers[0].config.periodic == (0,)
    assert len(Unknowns(u)) == len(Unknowns(MultKAN([2, 3, 1], periodic=[0], grid=6, k=3)))


@pytest.mark.parametrize(
    ("width", "boundary", "distance", "options", "error", "message"),
    [
        ([3, 5, 1], "0", "1 - x**2", {}, ConfigError, r"width\[0\] = 2"),
        ([2, 5, 2], "0", "1 - x**2", {}, ConfigError, "expected 1 sums as last column"),
        ([2, 5, [0, 1]], "0", "1 - x**2", {}, ConfigError, "expected 1 sums as last column"),
        ([2, 5, 1], "q", "1 - x**2", {}, FormulaError, "unknown name 'q'"),
        ([2, 5, 1], "0", "1 - x**", {}, FormulaError, "expected numbers"),
        ([2, 5, 1], "0", "1 - x**2", {"k": 12}, ConfigError, "degree k"),
        ([2, 5, 1], "0", "1 - x**2", {"domain": (1, 0)}, ConfigError, "low < high"),
    ],
)
def test_bad_arguments_are_refused(width, boundary, distance, options, error, message):
    with pytest.raises(error, match=message):
        exact_dirichlet(width, boundary, distance, NAMES, **options)


def test_features_of_the_network_are_refused():
    features = auxiliary_features("x*y", NAMES)
    with pytest.raises(ConfigError, match="options without features"):
        exact_dirichlet([3, 5, 1], "0", "1 - x**2", NAMES, features=features)
