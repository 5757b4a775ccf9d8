"""Points in the unit cube and on the unit sphere: tensor grids, Sobol sequences, random numbers.

Everything lies strictly inside the open cube, and a seed fixes it.

References:
    Joe and Kuo, Constructing Sobol sequences with better two-dimensional projections, SIAM J. Sci. Comput. 30
    (2008). Matousek, On the L2-discrepancy for anchored boxes, J. Complexity 14 (1998), for the scrambling.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.quasirandom import SobolEngine

from kansci.errors import ConfigError

Method = Literal["uniform", "chebyshev", "sobol", "random"]

GRID_METHODS = ("uniform", "chebyshev")
LARGEST_SPACING_RATIO = 3.0
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


def check_sampling(method: str, seed: int) -> None:
    """Refuse an unknown sampling method and a seed that is not a natural number."""
    if method not in get_args(Method):
        raise ConfigError(f"expected a method out of {get_args(Method)}, got {method!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"expected a seed that is an integer of at least 0, got {seed!r}")


def check_count(n: int) -> None:
    """Refuse a number of points that is not a positive integer."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ConfigError(f"expected a positive integer number of points, got {n!r}")


def check_counts(counts: Sequence[int], method: str, d: int) -> None:
    """Refuse counts that are not those of a grid in d dimensions."""
    if method not in GRID_METHODS:
        raise ConfigError(f"expected a number of points for method={method!r}, got counts {tuple(counts)}")
    if len(counts) != d:
        raise ConfigError(f"expected {d} counts, one for each axis, got {tuple(counts)}")
    for count in counts:
        check_count(count)


def refuse_grid(method: str, n: int) -> None:
    """Refuse a grid where none has exactly n points."""
    if method in GRID_METHODS:
        raise ConfigError(
            f"expected the counts along each axis for method={method!r} in a region that is not a box, "
            f"got {n}: give the counts, or use method='sobol' for exactly this many points"
        )


def stretch(u: Float[Tensor, "n d"], bounds: Sequence[tuple[float, float]]) -> Float[Tensor, "n d"]:
    """Carry points of the unit cube to a box given by one (low, high) per axis."""
    low, high = u.new_tensor(bounds).reshape(-1, 2).T
    return low + (high - low) * u


def unit_nodes(n: int, method: str) -> Float[Tensor, "n"]:
    """Nodes in (0, 1): midpoints of n equal cells, or the roots of the Chebyshev polynomial T_n."""
    midpoints = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return midpoints if method == "uniform" else (math.pi / 2 * midpoints).sin().square()


def unit_grid(counts: Sequence[int], method: str) -> Float[Tensor, "n d"]:
    """Tensor grid in (0, 1)^d with `counts` nodes along each axis, the last axis running fastest."""
    axes = torch.meshgrid([unit_nodes(count, method) for count in counts], indexing="ij")
    return torch.stack([axis.flatten() for axis in axes], dim=1)


def unit_chunks(d: int, method: str, seed: int, size: int) -> Iterator[Float[Tensor, "n d"]]:
    """An endless sequence of points in (0, 1)^d, in chunks of at least `size`.

    The sequence does not depend on the size of the chunks.
    """
    size = 2 ** (size - 1).bit_length()
    if method == "sobol":
        engine = SobolEngine(d, scramble=True, seed=seed)
        while True:
            yield engine.draw(size, dtype=torch.float64) + 0.5 ** (engine.MAXBIT + 1)
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.rand(size, d, dtype=torch.float64, generator=generator).clamp_min(0.5**53)


def unit_points(n: int | Sequence[int], sides: Sequence[float], method: str, seed: int) -> Float[Tensor, "n d"]:
    """Exactly n points in the unit cube, to be stretched to a box with the given sides.

    Counts along each axis may be given instead of n. Without sides the cube is a single point, repeated.
    """
    if not sides:
        return torch.zeros(n if isinstance(n, int) else 1, 0, dtype=torch.float64)
    if not isinstance(n, int):
        return unit_grid(n, method)
    if method in GRID_METHODS:
        return unit_grid(grid_counts(n, sides), method)
    return next(unit_chunks(len(sides), method, seed, n))[:n]


def grid_counts(n: int, sides: Sequence[float]) -> tuple[int, ...]:
    """Numbers of nodes along the sides of a box whose product is n and whose spacings are about equal.

    Raises:
        ConfigError: if the spacings would differ by more than a factor of 3, as when n is a large prime.

    Example:
        >>> grid_counts(900, (1.0, 1.0)), grid_counts(882, (2.0, 1.0)), grid_counts(3000, (1.0,) * 5)
        ((30, 30), (42, 21), (5, 5, 5, 4, 6))
    """
    counts = _factorize(n, sides)
    spacings = [side / count for side, count in zip(sides, counts, strict=True)]
    divided = [spacing for spacing, count in zip(spacings, counts, strict=True) if count > 1]
    if max(spacings) > LARGEST_SPACING_RATIO * min(divided, default=math.inf):
        scale = (n / math.prod(sides)) ** (1 / len(sides))
        nearby = tuple(max(1, round(scale * side)) for side in sides)
        raise ConfigError(
            f"expected a number of points that fills a grid of about equal spacings on sides {tuple(sides)}, "
            f"got {n}: take {math.prod(nearby)} = {' x '.join(map(str, nearby))}, give the counts along each "
            "axis, or use method='sobol'"
        )
    return counts


def apportion(n: int, weights: Sequence[float]) -> list[int]:
    """Split n into integers proportional to the weights, by largest remainders.

    Example:
        >>> apportion(10, [1.0, 1.0, 2.0])
        [3, 2, 5]
    """
    shares = [n * weight / sum(weights) for weight in weights]
    counts = [math.floor(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda i: counts[i] - shares[i])
    for i in by_remainder[: n - sum(counts)]:
        counts[i] += 1
    return counts


def sphere_coordinates(d: int) -> int:
    """How many numbers in (0, 1) `map_to_sphere` takes for one point of the unit sphere in d dimensions."""
    return d - 1 if d <= 3 else d


def map_to_sphere(u: Float[Tensor, "n c"], d: int) -> Float[Tensor, "n d"]:
    """Carry the uniform measure of the cube to the uniform measure of the unit sphere in d dimensions.

    d = 2: the angle. d = 3: Archimedes' projection of the cylinder. d > 3: normal quantiles, normalized.
    """
    if d > 3:
        return torch.nn.functional.normalize(torch.special.ndtri(u), dim=1)
    angle = 2 * math.pi * u[:, -1]
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    if d == 2:
        return circle
    height = 2 * u[:, :1] - 1
    return torch.cat([(1 - height.square()).sqrt() * circle, height], dim=1)


def sphere_points(n: int, d: int, method: str, seed: int) -> Float[Tensor, "n d"]:
    """Exactly n points of the unit sphere in d dimensions.

    As a sphere has no edges, the two grids are the same: equal angles for d = 2, the golden spiral for d = 3.
    """
    if method not in GRID_METHODS:
        sides = (1.0,) * sphere_coordinates(d)
        return map_to_sphere(unit_points(n, sides, method, seed), d)
    if d > 3:
        raise ConfigError(f"no grid is known on a sphere in {d} dimensions: use method='sobol'")
    nodes = unit_nodes(n, "uniform")
    turns = torch.arange(n, dtype=torch.float64) * GOLDEN_ANGLE / (2 * math.pi) % 1
    return map_to_sphere(nodes[:, None] if d == 2 else torch.stack([nodes, turns], dim=1), d)


def _factorize(n: int, sides: Sequence[float]) -> tuple[int, ...]:
    """Divide n among the sides one by one, each time by the divisor closest to equal spacing."""
    counts = []
    for axis in range(len(sides)):
        rest = sides[axis:]
        ideal = sides[axis] * (n / math.prod(rest)) ** (1 / len(rest))
        count = n if len(rest) == 1 else min(_divisors(n), key=lambda m: abs(math.log(m / ideal)))
        counts.append(count)
        n //= count
    return tuple(counts)


def _divisors(n: int) -> list[int]:
    small = [m for m in range(1, math.isqrt(n) + 1) if n % m == 0]
    return small + [n // m for m in reversed(small) if m * m != n]
