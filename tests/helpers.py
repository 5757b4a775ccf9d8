"""What tests of several files share."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kansci.jets import Jet

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
    pairs = zip(actual.channels.unbind(1), expected.channels.unbind(1), strict=True)
    for channel, (a, b) in enumerate(pairs):
        assert_same(a, b, tolerance, scale=None if scales is None else scales[channel])


def assert_same_function(
    f: Callable[[Tensor], Tensor], g: Callable[[Tensor], Tensor], x: Tensor, tolerance: float | None = None
) -> None:
    """The same values at x."""
    with torch.no_grad():
        assert_same(f(x), g(x), tolerance)
