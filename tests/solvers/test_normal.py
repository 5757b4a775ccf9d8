"""Linearizations against their Jacobian as a matrix, with and without memory for normal equations."""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kansci.jets import Jet
from kansci.nn.basis import CompiledBasis
from kansci.nn.multkan import MultKAN
from kansci.solvers import normal
from kansci.solvers.blocks import FactoredBlock
from kansci.solvers.least_squares import LevenbergMarquardt
from kansci.solvers.method import Settings
from kansci.solvers.normal import LEAST_FLOOR, MOST_FLOOR, Linearization, Pinned, add_gram, conjugate_gradients
from kansci.solvers.residual import Residual
from kansci.solvers.system import Evaluation, System
from tests.helpers import assert_same
from tests.solvers.systems import jacobian_of, make, mixture, start
from tests.strategies import points, seeds

PLENTY, BLOCKS_ONLY, NONE = 1e9, 2e5, 1.0  # BLOCKS_ONLY holds the blocks of `system_and_start`, but not J^T J
every_memory = pytest.mark.parametrize("memory", [PLENTY, BLOCKS_ONLY, NONE])


@pytest.fixture(autouse=True)
def precise(unchecked, monkeypatch):
    """Iterations that are nearly exact; types are checked in the tests of the parts."""
    monkeypatch.setattr(normal, "PRECISION", 1e-8)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def system_and_start(unit: float = 1.0) -> tuple[System, Evaluation]:
    """Two terms of two and three components, in chunks, with two free scalars."""
    model = MultKAN([2, [2, 1], 1], grid=4)
    x = points(model, 23)

    def balance(jet: Jet, x: Tensor, p: dict[str, Tensor]) -> Tensor:
        return torch.stack([p["a"] * jet.value[:, 0] - p["b"], jet.laplacian[:, 0], p["b"] * x[:, 0] ** 2], 1)

    terms = [
        Residual(mixture, x[:11], needs="gradient", weight=unit),
        Residual(balance, x, needs="laplacian", weight=unit),
    ]
    system = make(terms, model, chunk=7, scalars=("a", "b"))
    return system, system.evaluate(system.read(torch.tensor([0.7, -0.3], dtype=torch.float64)))


def damped_matrix(jacobian: Tensor, damping: float) -> Tensor:
    gram = jacobian.T @ jacobian
    diagonal, floor = gram.diagonal(), min(max(damping, LEAST_FLOOR), MOST_FLOOR)
    return gram + damping * torch.diag(diagonal + floor * diagonal.max())


@dataclass
class Counted(System):
    """A system that remembers how many blocks were held when each was computed, for each of its Jacobians."""

    held: list[list[int]] = field(default_factory=list)

    def jacobian(self, at: Evaluation) -> Iterator[FactoredBlock]:
        references: list[weakref.ref[FactoredBlock]] = []
        self.held.append([])
        for block in super().jacobian(at):
            references.append(weakref.ref(block))
            self.held[-1].append(sum(reference() is not None for reference in references))
            yield block


@every_memory
def test_products_are_those_of_the_matrix(memory):
    system, at = system_and_start()
    jacobian, local = jacobian_of(system, at), Linearization(system, at, memory)
    vector, flat = random(system.size), random(len(at.flat), seed=1)
    assert len(at.flat) == 2 * 11 + 3 * 23
    for _ in range(2):
        assert_same(local.apply(vector), jacobian @ vector)
        assert_same(local.adjoint(flat), jacobian.T @ flat)
    assert_same(local.gradient, jacobian.T @ at.flat)
    diagonal = jacobian.square().sum(0)
    assert_same(local.scale, diagonal + LEAST_FLOOR * diagonal.max())


@pytest.mark.parametrize(
    ("memory", "damping"),
    [(PLENTY, 1e-6), (PLENTY, 1e-2), (PLENTY, 10.0), (BLOCKS_ONLY, 1e-2), (BLOCKS_ONLY, 10.0), (NONE, 10.0)],
)
def test_steps_solve_the_damped_equations(memory, damping):
    system, at = system_and_start()
    jacobian, solve = jacobian_of(system, at), Linearization(system, at, memory).damped(damping)
    right = random(system.size)
    assert solve is not None
    assert_same(solve(right), torch.linalg.solve(damped_matrix(jacobian, damping), right), 1e-6)


@pytest.mark.parametrize("memory", [PLENTY, NONE])
def test_without_damping_there_may_be_no_step(memory):
    """More unknowns than rows: the normal matrix is singular. Iterations never need it to be regular."""
    model = MultKAN([2, 2, 1])
    x = points(model, 3)
    system = make([Residual(lambda jet, x: jet.value, x)], model)
    at = system.evaluate(system.read(torch.zeros(0).double()))
    local = Linearization(system, at, memory)
    assert (local.damped(0.0) is None) == (memory == PLENTY)
    assert local.damped(1e-3) is not None


@every_memory
def test_what_a_bound_stops_stays_where_it_is(memory):
    system, at = system_and_start()
    jacobian = jacobian_of(system, at)
    free, right = torch.ones(system.size, dtype=torch.bool), random(system.size)
    gradient = jacobian.T @ at.flat
    free[-1] = False
    nowhere, last = torch.zeros_like(free), ~free
    into, away = (last, nowhere) if gradient[-1] > 0 else (nowhere, last)
    local = Linearization(system, at, memory, Pinned(into, away))
    assert local.gradient[-1] == 0
    assert_same(local.gradient[:-1], gradient[:-1])
    solve = local.damped(0.3)
    assert solve is not None
    found, matrix = solve(right), damped_matrix(jacobian, 0.3)
    assert found[-1] == 0
    assert_same(found[:-1], torch.linalg.solve(matrix[:-1, :-1], right[:-1]), 1e-6)
    moving = Linearization(system, at, memory, Pinned(away, into))
    assert_same(moving.gradient, gradient)


@pytest.mark.parametrize("memory", [PLENTY, BLOCKS_ONLY])
def test_steps_do_not_depend_on_the_unit_of_the_loss(memory):
    steps = []
    for unit in (1.0, 2.0**-60):
        system, at = system_and_start(unit)
        last = torch.arange(system.size) == system.size - 1
        local = Linearization(system, at, memory, Pinned(last, last))
        solve = local.damped(1e-3)
        assert solve is not None
        steps.append(solve(local.gradient))
    assert steps[0].norm() > 0
    assert_same(steps[1], steps[0], 1e-6)


@pytest.mark.parametrize(("memory", "calls"), [(PLENTY, 1), (BLOCKS_ONLY, 1), (NONE, 3)])
def test_blocks_are_kept_if_there_is_memory(memory, calls):
    plain, at = system_and_start()
    system = Counted(plain.terms, plain.models, plain.scalars, plain.single, chunk=plain.chunk)
    assert sum(block.nbytes for block in plain.jacobian(at)) < BLOCKS_ONLY / 2 < 16 * system.size**2
    local = Linearization(system, at, memory)
    assert len(system.held) == 1
    vector = random(system.size)
    first, second = local.apply(vector), local.apply(vector)
    assert len(system.held) == calls
    if memory == NONE:
        assert max(max(own) for own in system.held) <= 3
    elif memory == BLOCKS_ONLY:
        assert system.held == [[1, 2, 3, 4, 5, 6]]
    assert torch.equal(first, second)


def test_memory_is_about_what_blocks_hold():
    """Nothing else of their size is kept."""
    system, at = system_and_start()
    for block in system.jacobian(at):
        held = {tensor.data_ptr(): tensor.nbytes for tensor in tensors_of(block)}
        assert 0.5 * sum(held.values()) < block.nbytes < 2 * sum(held.values())


def tensors_of(block: FactoredBlock) -> Iterator[Tensor]:
    for _, sets in block.columns:
        for factors in sets:
            for factor in factors:
                for value in vars(factor).values():
                    if isinstance(value, Tensor):
                        yield value
                    elif isinstance(value, CompiledBasis):
                        yield from (own for own in vars(value).values() if isinstance(own, Tensor))


@pytest.mark.parametrize("memory", [PLENTY, pytest.param(BLOCKS_ONLY, marks=pytest.mark.slow)])
def test_solves_fall_equally_with_and_without_normal_equations(memory):
    system, at = system_and_start()
    ends = torch.tensor([-0.5, -1.0]).double(), torch.tensor([0.7, 1.0]).double()
    method, found = LevenbergMarquardt(Settings(memory, ends, damping=1e-2)), at
    for _ in range(8):
        found = cast(Evaluation, method.step(system, found))
    assert found.loss < 1e-2 * at.loss
    scalars = found.vector[-2:]
    assert ((scalars >= ends[0]) & (scalars <= ends[1])).all()


@given(st.integers(1, 30), seeds)
def test_conjugate_gradients_solve_positive_definite_systems(size, seed):
    factor, right = random(size, size, seed=seed), random(size, seed=seed + 1)
    matrix = factor @ factor.T / size + torch.diag(torch.linspace(1, 100, size)).double()
    found = conjugate_gradients(lambda v: matrix @ v, right, matrix.diagonal())
    assert_same(found, torch.linalg.solve(matrix, right), 1e-6)


def test_no_right_side_gives_no_step():
    zero = torch.zeros(3, dtype=torch.float64)
    assert torch.equal(conjugate_gradients(lambda v: v, zero, torch.ones_like(zero)), zero)


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_iterations_cut_short_still_descend(iterations, monkeypatch):
    monkeypatch.setattr(normal, "ITERATIONS", iterations)
    factor, right = random(40, 40), random(40, seed=1)
    matrix = factor @ factor.T + 1e-6 * torch.eye(40)
    calls: list[int] = []
    found = conjugate_gradients(lambda v: calls.append(1) or matrix @ v, right, matrix.diagonal())
    assert len(calls) == iterations
    assert found @ right > 0
    assert found @ (matrix @ found) / 2 - found @ right < 0


@given(st.integers(1, 12), st.integers(1, 5), seeds)
def test_grams_are_added_by_panels(size, n, seed):
    columns, before = random(size, n, seed=seed), random(size, size, seed=seed + 1)
    total = before.clone()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normal, "LEAST_PANEL", 5)
        add_gram(total, columns)
    assert_same((total - before).tril(), (columns @ columns.T).tril())


@pytest.mark.parametrize("damping", [1e-2, 1e-6])
def test_few_rows_are_solved_by_their_own_matrix(damping):
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None].expand(-1, 2).contiguous()
    system = make([Residual(mixture, x, needs="gradient")], MultKAN([2, 4, 1], grid=8))
    at = start(system)
    rows, size = len(at.flat), system.size
    memory = 2.1 * 16 * size * rows
    assert memory < 2 * 16 * size**2
    held = torch.zeros(size, dtype=torch.bool)
    held[3] = True
    local = Linearization(system, at, memory, Pinned(held, held))
    assert local._wide is not None
    jacobian = jacobian_of(system, at)
    free = ~held
    expected = torch.zeros(size).double()
    matrix = damped_matrix(jacobian, damping)[free][:, free]
    expected[free] = torch.linalg.solve(matrix, (jacobian.T @ at.flat)[free])
    solve = local.damped(damping)
    assert solve is not None
    assert_same(solve(local.gradient), expected, 1e-6)
