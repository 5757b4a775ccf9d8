import time

import pytest

from tests.benchmarks.measure import CALLS, WARM_UP, Target, interleave, judge


def test_contenders_take_turns():
    calls = []
    figures = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, pause=0.0)
    block = 1 + CALLS
    assert "".join(calls) == "a" * WARM_UP + "b" * WARM_UP + 2 * ("a" * block + "b" * block)
    assert [len(values) for values in figures.values()] == [2 * CALLS, 2 * CALLS]


def test_milliseconds_are_those_of_the_call():
    figures = interleave({"nap": lambda: time.sleep(0.002)}, 1, pause=0.0)
    assert min(figures["nap"]) >= 2


@pytest.mark.parametrize(("limit", "holds"), [(0.5, True), (0.49, False)])
def test_target_compares_medians(limit, holds):
    verdict = judge(Target("ours", "peer", limit), {"ours": [1.0, 3.0, 90.0], "peer": [6.0, 1.0, 7.0]})
    assert verdict.ratio == 0.5
    assert verdict.holds is holds
