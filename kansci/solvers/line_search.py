"""A line search for the strong Wolfe conditions.

References:
    Nocedal, Wright, Numerical Optimization, Springer 2006, algorithms 3.5 and 3.6, section 3.5 (interpolation).
    Hager, Zhang, SIAM Journal on Optimization 16 (2005) 170 (values that are equal to rounding).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

DECREASE, CURVATURE = 1e-4, 0.5
MOST_TRIALS = 25
LEAST_LONGER, MOST_LONGER = 1.1, 10.0
NEAR_END = 0.1
ROUNDING = 1e-15


class Place(NamedTuple):
    """A place on the line.

    Attributes:
        length: how far from the origin.
        value: of the function.
        slope: derivative along the line.
        payload: what else is known there.
    """

    length: float
    value: float
    slope: float
    payload: Any = None


def strong_wolfe(
    evaluate: Callable[[float], Place], origin: Place, first: float, curvature: float = CURVATURE
) -> Place | None:
    """A place that is low enough and flat enough, or at least lower than the origin, or None.

    Args:
        evaluate: the function along the line.
        origin: the place of length 0, with a negative slope.
        first: length of the first trial.
        curvature: how much of the slope may be left.

    Example:
        >>> parabola = lambda t: Place(t, (t - 3) ** 2, 2 * (t - 3))
        >>> strong_wolfe(parabola, parabola(0.0), 1.0, curvature=0.1).length
        3.0
    """
    low, before, high, length = origin, origin, None, first
    for _ in range(MOST_TRIALS):
        trial = evaluate(length)
        if _is_too_high(trial, origin) or trial.value >= low.value + ROUNDING * abs(low.value):
            high = trial
        elif abs(trial.slope) <= -curvature * origin.slope:
            return trial
        elif trial.slope * (1.0 if high is None else high.length - low.length) >= 0:
            low, high = trial, low
        else:
            low, before = trial, low
        length = _beyond(before, low) if high is None else _between(low, high)
    return low if low.value < origin.value else None


def _is_too_high(trial: Place, origin: Place) -> bool:
    limit = origin.value + DECREASE * trial.length * origin.slope + ROUNDING * abs(origin.value)
    return not trial.value <= limit


def _beyond(before: Place, low: Place) -> float:
    """The zero of the line through both slopes, further away within reason."""
    fall = low.slope / before.slope
    share = fall / (1 - fall) if fall < 1 else math.inf
    length = low.length + share * (low.length - before.length)
    return min(max(length, LEAST_LONGER * low.length), MOST_LONGER * low.length)


def _between(low: Place, high: Place) -> float:
    """The minimum of the cubic through values and slopes, away from both ends."""
    width = high.length - low.length
    a = low.slope + high.slope - 3 * (high.value - low.value) / width
    square = a * a - low.slope * high.slope
    share = 0.5
    if math.isfinite(square) and square >= 0:
        root = math.copysign(math.sqrt(square), width)
        bottom = high.slope - low.slope + 2 * root
        share = 1 - (high.slope + root - a) / bottom if bottom else 0.5
    return low.length + min(max(share, NEAR_END), 1 - NEAR_END) * width
