import pytest
import torch
from torch import Tensor

from kansci.nn.samples import sobol_points, spread
from tests.helpers import assert_same


def samples(*shape: int) -> Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_sobol_points_fill_their_box_and_are_always_the_same(dtype):
    low, high = torch.tensor([-1.0, 10.0], dtype=dtype), torch.tensor([0.0, 30.0], dtype=dtype)
    state = torch.random.get_rng_state()
    x = sobol_points(low, high)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert x.dtype == dtype
    share = (x - low) / (high - low)
    assert (share >= 0).all() and (share <= 1).all()
    counts = torch.histc(share[:, 0], 16, 0, 1)
    assert (counts == 64).all()
    assert torch.equal(sobol_points(low, high, 100), x[:100])


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_spread_follows_the_scale_of_the_values(scale):
    values = scale * samples(100, 3) + torch.tensor([0.0, scale, 1e3 * scale])
    low, high = spread(values, 0.1)
    assert_same(low, values.amin(0) - 0.1 * (values.amax(0) - values.amin(0)))
    assert_same(high, values.amax(0) + 0.1 * (values.amax(0) - values.amin(0)))


def test_spread_of_constants_has_a_width():
    low, high = spread(torch.tensor([[0.0, 5.0, -1e8]]).expand(4, 3), 0.0)
    assert (low < high).all()
    assert ((low + high) / 2).tolist() == [0.0, 5.0, -1e8]
