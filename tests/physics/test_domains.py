import math

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st

from kansci.errors import ConfigError, DomainError, KansciError, ShapeError
from kansci.physics.domains import Ball, Box, Difference, Union

SQUARE = Box([(-1.0, 1.0), (-1.0, 1.0)])
DISK = Ball((0.2, -0.1), 0.5)
DOMAINS = {
    "interval": Box([(0.5, 2.0)]),
    "square": SQUARE,
    "shifted box": Box([(1e6, 1e6 + 1.0), (-3.0, 5.0)]),
    "five-dim box": Box([(0.0, 1.0)] * 5),
    "disk": DISK,
    "ball": Ball((1.0, 2.0, 3.0), 0.7),
    "six-dim ball": Ball((0.0,) * 6, 2.0),
    "two intervals": Box([(0.0, 1.0)]) - Box([(0.2, 0.5)]),
    "perforated": SQUARE - DISK,
    "bitten": SQUARE - Ball((1.0, 1.0), 0.8),
    "corner": SQUARE - Box([(0.0, 1.0), (0.0, 1.0)]),
    "cross": Box([(-2.0, 2.0), (-0.5, 0.5)]) | Box([(-0.5, 0.5), (-2.0, 2.0)]),
    "touching": SQUARE | Box([(1.0, 2.0), (-1.0, 1.0)]),
    "overlapping with common sides": Box([(0.0, 2.0), (0.0, 1.0)]) | Box([(1.0, 3.0), (0.0, 1.0)]),
    "lens": Ball((-0.5, 0.0), 1.0) & Ball((0.5, 0.0), 1.0),
    "four holes": SQUARE - (Ball((0.5, 0.5), 0.2) | Ball((-0.5, 0.5), 0.2) | Ball((0.5, -0.5), 0.2)),
    "dimple": Ball((0.0, 0.0, 0.0), 1.0) - Ball((1.0, 0.0, 0.0), 0.6),
}
every_domain = pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS.keys())


def members(domain, x):
    """Membership by the definition, point by point."""
    if isinstance(domain, Box):
        return np.array([all(low <= c <= high for c, (low, high) in zip(p, domain.bounds, strict=True)) for p in x])
    if isinstance(domain, Ball):
        return np.array([math.dist(p, domain.center) <= domain.radius for p in x])
    first, second = members(domain.first, x), members(domain.second, x)
    if isinstance(domain, Union):
        return first | second
    return first & ~second if isinstance(domain, Difference) else first & second


def distances(x, y):
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def around(domain, n):
    """Points in a box half as large again as the bounding box."""
    low, high = torch.tensor(domain.bounds, dtype=torch.float64).T
    u = torch.rand(n, domain.dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return low + (high - low) * (1.5 * u - 0.25)


@every_domain
def test_contains_agrees_with_the_definition(domain):
    x = around(domain, 2000)
    expected = members(domain, x.tolist())
    assert 0 < expected.sum() < len(x)
    assert np.array_equal(domain.contains(x).numpy(), expected)


@every_domain
def test_signed_distance_is_negative_inside_and_never_too_large(domain):
    x, edge = around(domain, 500), domain.boundary(4000).points
    signed = domain.signed_distance(x)
    assert torch.equal(signed <= 0, domain.contains(x))
    assert (signed.abs() <= distances(x, edge).amin(1) * (1 + 1e-12) + 1e-9).all()


@pytest.mark.parametrize("domain", [SQUARE, DISK, DOMAINS["ball"]])
def test_signed_distance_of_boxes_and_balls_is_the_distance(domain):
    x, edge = around(domain, 300), domain.boundary(40_000).points
    nearest = distances(x, edge).amin(1)
    torch.testing.assert_close(domain.signed_distance(x).abs(), nearest, atol=0.02, rtol=0)


@every_domain
@pytest.mark.parametrize("method", ["sobol", "random"])
@pytest.mark.parametrize("n", [1, 300])
def test_interior_has_exactly_n_distinct_points_strictly_inside(domain, method, n):
    points = domain.interior(n, method, seed=2)
    assert points.shape == (n, domain.dimension)
    assert points.dtype == torch.float64
    assert len(points.unique(dim=0)) == n
    assert (domain.signed_distance(points) < 0).all()


@every_domain
@pytest.mark.parametrize("method", ["sobol", "random"])
def test_interior_is_uniform(domain, method):
    """The share of points in the lower half of each axis is that of independent points by rejection."""
    low, high = torch.tensor(domain.bounds, dtype=torch.float64).T
    u = torch.rand(200_000, domain.dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    brute = low + (high - low) * u
    brute = brute[domain.contains(brute)]
    points = domain.interior(4096, method)
    middle = low + 0.4 * (high - low)
    shares = [(x < middle).double().mean(0) for x in (points, brute)]
    assert (shares[0] - shares[1]).abs().max() < 0.04


@every_domain
@pytest.mark.parametrize("n", [4, 121])
def test_boundary_has_exactly_n_points_with_outward_unit_normals(domain, n):
    boundary = domain.boundary(n, seed=1)
    assert len(boundary) == n
    assert boundary.points.shape == boundary.normals.shape == (n, domain.dimension)
    assert boundary.face.shape == (n,)
    torch.testing.assert_close(boundary.normals.norm(dim=1), torch.ones(n, dtype=torch.float64))
    step = 1e-5 * boundary.normals
    assert domain.contains(boundary.points - step).all()
    assert not domain.contains(boundary.points + step).any()
    assert domain.signed_distance(boundary.points).abs().max() < 1e-9


@pytest.mark.parametrize("method", ["uniform", "chebyshev", "sobol", "random"])
@pytest.mark.parametrize("name", [name for name, domain in DOMAINS.items() if domain.dimension == 2])
def test_every_method_serves_the_boundary_of_every_plane_region(name, method):
    domain, n = DOMAINS[name], 97
    boundary = domain.boundary(n, method)
    step = 1e-5 * boundary.normals
    assert len(boundary.points.unique(dim=0)) == n
    assert domain.contains(boundary.points - step).all()
    assert not domain.contains(boundary.points + step).any()


VOLUMES = {
    "interval": (1.5, 2.0),
    "square": (4.0, 8.0),
    "five-dim box": (1.0, 10.0),
    "disk": (0.25 * math.pi, math.pi),
    "ball": (4 / 3 * math.pi * 0.343, 4 * math.pi * 0.49),
    "six-dim ball": (math.pi**3 / 6 * 64, math.pi**3 * 32),
    "two intervals": (0.7, 4.0),
    "perforated": (4 - 0.25 * math.pi, 8 + math.pi),
    "bitten": (4 - 0.16 * math.pi, 8 - 1.6 + 0.4 * math.pi),
    "corner": (3.0, 8.0),
    "cross": (7.0, 16.0),
    "touching": (6.0, 10.0),
    "overlapping with common sides": (3.0, 8.0),
    "lens": (2 * math.pi / 3 - math.sqrt(3) / 2, 4 * math.pi / 3),
    "four holes": (4 - 0.12 * math.pi, 8 + 1.2 * math.pi),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_volume_and_surface_are_known(name):
    domain, (volume, surface) = DOMAINS[name], VOLUMES[name]
    assert domain.volume == pytest.approx(volume, rel=2e-3)
    assert domain.surface == pytest.approx(surface, rel=2e-3)


@pytest.mark.parametrize("name", ["square", "disk", "ball", "perforated", "touching", "four holes"])
def test_volume_is_exact_where_regions_are_disjoint_or_nested(name):
    assert DOMAINS[name].volume == pytest.approx(VOLUMES[name][0], rel=1e-14)


@every_domain
@pytest.mark.parametrize("method", ["sobol", "random"])
def test_divergence_theorem(domain, method):
    """The mean of (x - c).n over the boundary, times its measure, is d times the volume."""
    n = 5000
    boundary = domain.boundary(n, method)
    center = torch.tensor(domain.bounds, dtype=torch.float64).mean(1)
    flux = ((boundary.points - center) * boundary.normals).sum(1).mean().item() * domain.surface
    tolerance = 4 / math.sqrt(n) if method == "random" else 3e-3
    assert flux / domain.dimension == pytest.approx(domain.volume, rel=tolerance)


@pytest.mark.parametrize("domain", [SQUARE, DISK, SQUARE - Ball((0.0, 0.0), 0.5), DOMAINS["corner"]])
def test_divergence_theorem_on_equidistant_points(domain):
    """The flux of (x^3, y^3) through the boundary is the integral of 3 |x|^2."""
    boundary = domain.boundary(1000, "uniform")
    measures = torch.tensor([face.measure for face in domain._faces()], dtype=torch.float64)
    counts = torch.bincount(boundary.face, minlength=len(measures))
    weights = (measures / counts)[boundary.face]
    flux = (weights * (boundary.points**3 * boundary.normals).sum(1)).sum()
    inside = domain.interior(2**16)
    assert flux.item() == pytest.approx(3 * domain.volume * inside.square().sum(1).mean().item(), rel=1e-3)


@pytest.mark.parametrize("domain", [DOMAINS["interval"], SQUARE, DOMAINS["ball"], SQUARE - DISK])
def test_a_seed_fixes_all_points(domain):
    for method in ("sobol", "random"):
        first, again, other = (domain.interior(50, method, seed) for seed in (4, 4, 5))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        first, again, other = (domain.boundary(50, method, seed) for seed in (4, 4, 5))
        assert torch.equal(first.points, again.points)
        assert domain.dimension == 1 or not torch.equal(first.points, other.points)


def test_sampling_leaves_global_random_state_alone():
    before = torch.get_rng_state()
    SQUARE.interior(10)
    SQUARE.interior(10, "random")
    DISK.boundary(10)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("method", ["uniform", "chebyshev"])
def test_unit_square_has_900_interior_and_120_boundary_points(method):
    square = Box([(0.0, 1.0), (0.0, 1.0)])
    points, boundary = square.interior(900, method), square.boundary(120, method)
    assert points.shape == (900, 2)
    assert len(points[:, 0].unique()) == len(points[:, 1].unique()) == 30
    assert torch.bincount(boundary.face).tolist() == [30, 30, 30, 30]
    assert ((points > 0) & (points < 1)).all()


def test_uniform_grid_is_equidistant_and_chebyshev_is_clustered():
    uniform = SQUARE.interior((8, 4), "uniform")
    torch.testing.assert_close(uniform[::4, 0].diff(), torch.full((7,), 0.25, dtype=torch.float64))
    torch.testing.assert_close(uniform[:4, 1].diff(), torch.full((3,), 0.5, dtype=torch.float64))
    clustered = SQUARE.interior((8, 4), "chebyshev")[::4, 0]
    torch.testing.assert_close(clustered, -torch.cos((torch.arange(8.0).double() + 0.5) * math.pi / 8))


def test_a_grid_is_cut_to_a_region_that_is_no_box():
    plate = SQUARE - DISK
    grid = plate.interior((31, 31), "uniform")
    whole = SQUARE.interior((31, 31), "uniform")
    assert torch.equal(grid, whole[~DISK.contains(whole)])
    assert 0 < len(grid) < 961


def test_counts_along_the_axes_serve_the_faces_of_a_box():
    boundary = Box([(0.0, 1.0), (0.0, 2.0), (0.0, 3.0)]).boundary((4, 5, 6), "uniform")
    assert torch.bincount(boundary.face).tolist() == [30, 30, 24, 24, 20, 20]


def test_faces_of_a_box():
    box = Box([(-1.0, 2.0), (0.0, 1.0), (3.0, 4.0)])
    for axis in range(3):
        for number, side in enumerate(("low", "high")):
            face = box.face(axis, side, 16, "chebyshev")
            assert (face.points[:, axis] == box.bounds[axis][number]).all()
            assert (face.normals[:, axis] == 2 * number - 1).all()
            assert (face.face == 2 * axis + number).all()
            assert len(face.points.unique(dim=0)) == 16


@pytest.mark.parametrize("method", ["uniform", "chebyshev", "sobol", "random"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_periodic_pairs_differ_along_their_axis_alone(method, axis):
    box = Box([(-1.0, 2.0), (0.0, 1.0), (3.0, 5.0)])
    low, high = box.periodic_pairs(axis, 32, method)
    shift = torch.zeros(3, dtype=torch.float64)
    shift[axis] = box.bounds[axis][1] - box.bounds[axis][0]
    torch.testing.assert_close(high - low, shift.expand(32, 3), atol=1e-15, rtol=0)


def test_select_points_by_face_and_by_place():
    boundary = (SQUARE - DISK).boundary(100, "uniform")
    hole = boundary.on(4)
    torch.testing.assert_close(
        (hole.points - torch.tensor(DISK.center)).norm(dim=1),
        torch.full((len(hole),), 0.5).double(),
        rtol=1e-6,
        atol=0,
    )
    left, right = boundary.on(0), boundary.where(boundary.points[:, 0] == -1)
    assert torch.equal(left.points, right.points)
    assert len(boundary.on(0, 1, 2, 3)) + len(hole) == 100


def test_equidistant_points_on_a_cut_face_stay_equidistant():
    corner = DOMAINS["corner"].boundary(160, "uniform")
    cut = corner.on(1).points[:, 1].sort().values
    assert cut.max() < 0
    assert len(cut) == 20
    torch.testing.assert_close(cut.diff(), torch.full((19,), 0.05, dtype=torch.float64), atol=2e-3, rtol=0)


@given(
    center=st.tuples(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0)),
    radius=st.floats(0.1, 2.0),
    n=st.integers(4, 60),
)
def test_any_disk_cut_from_the_square_leaves_a_proper_boundary(center, radius, n):
    domain = SQUARE - Ball(center, radius)
    try:
        boundary = domain.boundary(n)
    except DomainError:
        assert domain.volume < 1e-2
        return
    assert len(boundary) == n
    step = 1e-7 * boundary.normals
    assert domain.contains(boundary.points - step).all()


FORMULAS = {
    "interval": DOMAINS["interval"],
    "square": SQUARE,
    "box": Box([(0.3, 1.7), (-2.0, 5.0), (0.0, 1.0)]),
    "disk": DISK,
    "unit ball": Ball((0.0, 0.0, 0.0), 1.0),
    "perforated": DOMAINS["perforated"],
    "bitten": DOMAINS["bitten"],
    "four holes": DOMAINS["four holes"],
    "lens": DOMAINS["lens"],
}


@pytest.mark.parametrize("domain", FORMULAS.values(), ids=FORMULAS.keys())
def test_distance_formula_vanishes_on_the_boundary_alone_and_not_its_slope(domain):
    names = ["x", "y", "z"][: domain.dimension]
    function = sympy.lambdify(names, sympy.sympify(domain.distance_formula(names)), "math")

    def distance(x):
        return torch.tensor([function(*point) for point in x.tolist()], dtype=torch.float64)

    inside, boundary = domain.interior(2000), domain.boundary(400)
    assert (distance(inside) > 0).all()
    assert 0.05 < distance(inside).max() < 4
    assert distance(boundary.points).abs().max() < 1e-13
    step = 1e-6
    slope = distance(boundary.points - step * boundary.normals) / step
    assert (slope > 0).all()
    assert slope.quantile(0.1) > 0.02


def test_distance_formulas_are_short_text():
    assert SQUARE.distance_formula(["x", "y"]) == "(1 - x**2)*(1 - y**2)"
    assert Box([(0.0, 1.0)]).distance_formula(["t"]) == "(1 - ((t - 0.5)/0.5)**2)"
    assert Ball((0.0, -1.0), 2.0).distance_formula(["x", "y"]) == "(1 - (x/2)**2 - ((y + 1)/2)**2)"
    plate = SQUARE - Ball((0.0, 0.0), 0.5)
    assert plate.distance_formula(["x", "y"]) == "(1 - x**2)*(1 - y**2)*((x/0.5)**2 + (y/0.5)**2 - 1)/2.33333"


@pytest.mark.parametrize("domain", [DOMAINS["cross"], DOMAINS["corner"], DISK - (DISK - SQUARE)])
def test_no_distance_formula_where_a_product_would_vanish_inside(domain):
    with pytest.raises(ConfigError, match="dirichlet"):
        domain.distance_formula(["x", "y"])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Box([(1.0, 1.0)]), DomainError, "low < high"),
        (lambda: Box([(0.0, math.inf)]), DomainError, "finite"),
        (lambda: Box([]), DomainError, "per axis"),
        (lambda: Ball((0.0, 0.0), -1.0), DomainError, "radius > 0"),
        (lambda: Ball((0.0, math.nan), 1.0), DomainError, "finite center"),
        (lambda: Ball((0.0,), 1.0), DomainError, "use Box"),
        (lambda: SQUARE | Box([(0.0, 1.0)]), ShapeError, "got 2 and 1"),
        (lambda: (DISK - SQUARE).interior(10), DomainError, "empty"),
        (lambda: (DISK - SQUARE).boundary(10), DomainError, "empty"),
        (lambda: (DISK & Ball((9.0, 9.0), 1.0)).interior(10), DomainError, "overlap"),
        (lambda: (SQUARE - Ball((0.0, 0.0), 1.3)).interior((2, 2), "uniform"), DomainError, "refine"),
        (lambda: SQUARE.contains(torch.zeros(3, 3)), ShapeError, r"\(n, 2\), got \(3, 3\)"),
        (lambda: SQUARE.interior(0), ConfigError, "positive integer"),
        (lambda: SQUARE.interior(True), ConfigError, "positive integer"),
        (lambda: SQUARE.boundary(-3), ConfigError, "positive integer"),
        (lambda: SQUARE.interior(10, "sobol", -1), ConfigError, "seed"),
        (lambda: SQUARE.interior(997, "uniform"), ConfigError, "32 x 32"),
        (lambda: SQUARE.interior((3, 3), "sobol"), ConfigError, "number of points"),
        (lambda: SQUARE.interior((3, 3, 3), "uniform"), ConfigError, "2 counts"),
        (lambda: SQUARE.interior((3, 0), "uniform"), ConfigError, "positive integer"),
        (lambda: DISK.interior(100, "uniform"), ConfigError, "sobol"),
        (lambda: DOMAINS["cross"].interior(100, "chebyshev"), ConfigError, "counts"),
        (lambda: DOMAINS["dimple"].boundary(100, "uniform"), ConfigError, "sobol"),
        (lambda: SQUARE.face(2, "low", 10), ConfigError, "axis from 0 to 1"),
        (lambda: SQUARE.distance_formula(["x"]), ShapeError, "2 names"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert isinstance(caught.value, KansciError)
