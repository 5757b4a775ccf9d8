"""Yes, no or undecided: sizes in units of what the surrogate's error could feign.

These are margins, not p-values: the error of a fit is one smooth function without a distribution, and its size is a
bound that holds for every pair and group alike. So nothing is corrected for their number (Holm needs p-values).
"""

from typing import Literal

Verdict = Literal["yes", "no", "undecided"]
YES, NO = 1.28, 1.8  # sizes relative to the error up to which a part is taken for error, and from which on it is not
EDGE = (YES * NO) ** 0.5


def judge(size: float, noise: float) -> Verdict:
    """Whether something of this size is absent ("yes"), present ("no") or not to be told from the error.

    Example:
        >>> [judge(size, 0.01) for size in (0.005, 0.016, 0.1)]
        ['yes', 'undecided', 'no']
    """
    if size <= YES * noise:
        return "yes"
    return "no" if size >= NO * noise else "undecided"


def margin(size: float, noise: float) -> float:
    """How many times a size is away from the edge of the decision: 1 is on it, infinity for a size of 0.

    Example:
        >>> edge = EDGE * 0.01
        >>> f"{margin(edge, 0.01):.1f} {margin(10 * edge, 0.01):.1f} {margin(edge / 10, 0.01):.1f}"
        '1.0 10.0 10.0'
    """
    if size == 0:
        return float("inf")
    ratio = size / (EDGE * noise)
    return max(ratio, 1 / ratio)
