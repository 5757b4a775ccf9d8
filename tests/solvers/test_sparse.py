import pytest
import torch

from kansci.nn.multkan import MultKAN
from kansci.physics.separated import separated_network
from kansci.solvers.normal import Linearization, Pinned
from kansci.solvers.problem import Problem
from kansci.solvers.residual import Residual
from kansci.solvers.sparse import SparseLinearization, is_sparse
from kansci.solvers.system import System
from kansci.solvers.unknowns import Unknowns

MEMORY = 1e9


def system_of(model, parameters=()):
    x = torch.rand(300, model.n_inputs, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def function(jet, x, *others):
        scale = others[-1]["a"] if others else 1.0
        return torch.stack([jet.value[:, 0] ** 2 * scale, jet.laplacian[:, 0] - x[:, 0]], 1)

    terms = [Residual(function, x, needs="laplacian"), Residual(lambda jet, x, *_: jet.value[:, 0], x[:50])]
    problem = Problem.read(model, terms, dict.fromkeys(parameters, 2.0))
    return System(problem.terms, {"": Unknowns(model)}, tuple(parameters))


def separated():
    model, _ = separated_network((0.0, 1.0), torch.linspace(0, 1, 31, dtype=torch.float64), order=6, k=5)
    with torch.no_grad():
        coef = model.get_parameter("layers.0.splines.coef")
        coef.copy_(torch.randn(coef.shape, generator=torch.Generator().manual_seed(2), dtype=coef.dtype))
    return model


@pytest.mark.parametrize("model", [separated(), MultKAN([1, 1], grid=200, k=3, base="zero", domain=(0, 1))], ids=str)
@pytest.mark.parametrize("parameters", [(), ("a",)])
def test_the_same_as_the_dense_one(model, parameters):
    system = system_of(model, parameters)
    assert is_sparse(system)
    at = system.evaluate(system.read(torch.full((len(parameters),), 2.0, dtype=torch.float64)))
    pinned = None
    if parameters:
        low = torch.zeros(system.size, dtype=torch.bool)
        low[-1] = True
        pinned = Pinned(low, low)
    dense, sparse = Linearization(system, at, MEMORY, pinned), SparseLinearization(system, at, pinned)
    vector = torch.randn(system.size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    flat = torch.randn(len(at.flat), dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    pairs = [
        (dense.gradient, sparse.gradient),
        (dense.scale, sparse.scale),
        (dense.apply(vector), sparse.apply(vector)),
        (dense.adjoint(flat), sparse.adjoint(flat)),
    ]
    one, other = dense.damped(1e-3), sparse.damped(1e-3)
    assert one is not None
    assert other is not None
    pairs.append((one(vector), other(vector)))
    for one, other in pairs:
        assert (one - other).abs().max() < 1e-9 * one.abs().max()


def test_dense_where_rows_have_many_entries():
    assert not is_sparse(system_of(MultKAN([2, 5, 1], grid=40)))
    assert not is_sparse(system_of(MultKAN([1, 1], grid=20, base="zero")))
    assert not is_sparse(system_of(MultKAN([1, 1], grid=200, base="silu")))
