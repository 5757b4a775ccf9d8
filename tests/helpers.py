"""What tests of several files share."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from torch import Tensor, nn

from kansci.checkpoint import load, save
from kansci.jets import Jet
from kansci.nn import basis, edges
from kansci.nn.multkan import MultKAN
from kansci.solvers.jacobian import Factor
from kansci.solvers.unknowns import Unknowns

WAYS = ("kernels", "all functions", "gathered")
TOLERANCE = {torch.float64: 1e-12, torch.float32: 100 * torch.finfo(torch.float32).eps}


def assert_same(
    actual: Tensor, expected: Tensor, tolerance: float | None = None, *, scale: float | None = None
) -> None:
    """Equal within a tolerance relative to `scale`, which is the largest entry where not given.

    The tolerance is 1e-12 in float64 and 100 eps in float32 unless given.
    """
    limit = TOLERANCE[actual.dtype] if tolerance is None else tolerance
    expected = expected.to(torch.float64)
    if scale is None:
        scale = expected.abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(actual.to(torch.float64), expected, rtol=0, atol=limit * scale)


def assert_same_jet(
    actual: Jet, expected: Jet, tolerance: float | None = None, *, scales: Sequence[float] | None = None
) -> None:
    """The same level, and each channel the same within its scale."""
    assert (actual.needs, actual.d) == (expected.needs, expected.d)
    pairs = zip(actual.channels, expected.channels, strict=True)
    for channel, (a, b) in enumerate(pairs):
        assert_same(a, b, tolerance, scale=None if scales is None else scales[channel])


def assert_same_function(
    f: Callable[[Tensor], Tensor], g: Callable[[Tensor], Tensor], x: Tensor, tolerance: float | None = None
) -> None:
    """The same values at x."""
    with torch.no_grad():
        assert_same(f(x), g(x), tolerance)


@contextmanager
def taking(way: str) -> Iterator[None]:
    """One of the `WAYS` to sum edges: by the kernels, or by tensor operations with all functions or those alive."""
    with pytest.MonkeyPatch.context() as patch:
        if way != "kernels":
            patch.setattr(edges, "kernels", lambda dtype: None)
            patch.setattr(basis, "GATHER", 0 if way == "gathered" else 10**6)
        yield


def written(factors: Iterable[Factor], unknowns: Unknowns, r: int, n: int) -> Tensor:
    """The identifiable columns of some factors, (r, p, n)."""
    whole = torch.zeros(r, unknowns.size, n, dtype=torch.float64)
    for factor in factors:
        for component in range(r):
            factor.write(whole[component], component)
    return torch.stack([unknowns.select(columns) for columns in whole])


def assert_kept(new: MultKAN, old: MultKAN, x: Tensor) -> None:
    """The same function and derivatives at x, also in a file."""
    assert_same(new(x).detach(), old(x).detach())
    k = min((layer.config.k for model in (new, old) for layer in model.layers if layer.splines is not None), default=3)
    needs = "hessian" if k >= 3 else "gradient"
    with torch.no_grad():
        assert_same_jet(new.jet(x, needs), old.jet(x, needs))
    with TemporaryDirectory() as folder:
        save(Path(folder) / "model.h5", new)
        assert torch.equal(load(Path(folder) / "model.h5")(x), new(x))


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """All tensors of a model are the same afterwards."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    yield
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def trained_columns(model: MultKAN, x: Tensor) -> dict[str, Tensor]:
    """For each trained tensor, how much each of its entries changes the outputs at x."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    jacobian = torch.func.jacrev(lambda own: torch.func.functional_call(model, own, (x,)))(parameters)
    return {name: columns.abs().amax((0, 1)) for name, columns in jacobian.items()}
