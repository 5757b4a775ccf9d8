"""The bars of fields: accuracy against independent solutions, within the time that a user waits."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import kansci as ks
from problems.pde.config import Config
from problems.pde.inverse import solve_inverse
from problems.pde.physics import CASES

pytestmark = pytest.mark.slow
SECONDS = 180


def run(folder, *flags):
    command = [sys.executable, "-m", "problems.pde", "--no-figures", "--out", str(folder), *flags]
    subprocess.run(command, check=True, capture_output=True)
    return json.loads((folder / "result.json").read_text())["metrics"]


@pytest.mark.parametrize(
    ("case", "flags", "bar"),
    [
        ("diffusion", (), 1e-7),
        ("heat", (), 1e-7),
        ("wave", (), 1e-7),
        ("burgers", (), 1e-5),
        ("allen_cahn", (), 1e-5),
        ("allen_cahn", ("--diffusivity", "1e-4"), 1e-4),
    ],
)
def test_evolution(tmp_path, case, flags, bar):
    """Slabs have nothing random: one seed stands for all."""
    metrics = run(tmp_path, "--case", case, *flags)
    assert metrics["relative_l2"] <= bar
    assert metrics["seconds"] <= SECONDS


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("case", "bar"), [("helmholtz", 1e-6), ("holes", 2e-3)])
def test_networks(tmp_path, case, bar, seed):
    metrics = run(tmp_path, "--case", case, "--seed", str(seed))
    assert metrics["relative_l2"] <= bar
    assert metrics["seconds"] <= SECONDS


def test_holes_against_finite_elements(tmp_path):
    """Quadratic elements on a triangulation of about 40 000 triangles."""
    pytest.importorskip("skfem")
    points, values = finite_elements()
    run(tmp_path, "--case", "holes")
    with torch.no_grad():
        found = ks.load(tmp_path / "model.h5")(torch.from_numpy(points))[:, 0].numpy()
    assert np.linalg.norm(found - values) <= 2e-3 * np.linalg.norm(values)


def finite_elements(spacing=0.008):
    """Vertices inside, and the solution at them."""
    from scipy.spatial import Delaunay
    from skfem import Basis, ElementTriP2, MeshTri, condense, solve
    from skfem.models.poisson import laplace

    centers = [(a, b) for a in (-0.3, 0.3) for b in (-0.3, 0.3)]
    side = np.arange(-0.5, 0.5 + spacing / 2, spacing)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    distance = np.min([np.hypot(*(grid - center).T) for center in centers], 0)
    angles = np.linspace(0, 2 * np.pi, int(0.2 * np.pi / spacing * 2), endpoint=False)
    circle = 0.1 * np.stack([np.cos(angles), np.sin(angles)], 1)
    vertices = np.concatenate([grid[distance > 0.1 + spacing / 3], *(circle + center for center in centers)])
    triangles = Delaunay(vertices).simplices
    middles = vertices[triangles].mean(1)
    outside = np.min([np.hypot(*(middles - center).T) for center in centers], 0) > 0.1 - 1e-4
    mesh = MeshTri(vertices.T, triangles[outside].T)
    basis = Basis(mesh, ElementTriP2())
    edge = basis.get_dofs()
    values = basis.zeros()
    places = basis.doflocs[:, edge.flatten()]
    values[edge.flatten()] = np.isclose(np.abs(places).max(0), 0.5)
    values = solve(*condense(laplace.assemble(basis), x=values, D=edge))
    return mesh.p.T, values[np.asarray(basis.nodal_dofs)[0]]


def test_constants_lie_within_their_errors():
    case = CASES["inverse"]
    scores, errors = [], []
    for seed in range(100):
        found = solve_inverse(Config(case="inverse", seed=seed), case)
        for (name, _), truth in zip(case.constants, case.truth, strict=True):
            own = found.parameters[name]
            scores.append((own.value - truth) / own.standard_error)
            errors.append(abs(own.value / truth - 1))
    within = np.mean(np.abs(scores) <= 2)
    assert 0.9 <= within <= 0.99
    assert max(errors) <= 1e-2
