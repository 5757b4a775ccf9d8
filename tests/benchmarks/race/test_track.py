import json
import math
from itertools import pairwise

import pytest
import torch

from tests.benchmarks.race import track
from tests.benchmarks.race.track import PACE, Run, Track


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(track.time, "perf_counter", lambda: self.now)

    def pass_by(self, seconds):
        self.now += seconds
        return seconds


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def constant(value):
    return lambda x: torch.full((1,), value)


def read(f):
    return float(f(torch.zeros(1)))


def test_measuring_takes_no_time(clock):
    def find():
        clock.pass_by(50.0)
        return constant(1.0)

    track = Track(lambda f: clock.pass_by(100.0), limit=10.0)
    track.start(7)
    for _ in range(4):
        clock.pass_by(2.0)
        assert not track.look(find)
    assert track.seconds == [2.0, 4.0, 6.0, 8.0]
    assert track.elapsed() == 8.0
    clock.pass_by(2.0)
    assert track.look(find)
    assert track.seconds[-1] == 10.0


def test_measurements_keep_their_distance(clock):
    track = Track(read, limit=100.0)
    track.start(0)
    for _ in range(100):
        clock.pass_by(1.0)
        track.look(lambda: constant(1.0))
    *kept, last = track.seconds
    assert kept[:10] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert all(b >= PACE * a for a, b in pairwise(kept))
    assert last == 100


@pytest.mark.parametrize(("passed", "count"), [(5.0, 1), (10.0, 0)])
def test_end_is_measured_within_the_time_only(clock, passed, count):
    track = Track(read, limit=10.0)
    track.start(0)
    clock.pass_by(passed)
    track.finish(lambda: constant(0.5))
    assert track.errors == [0.5] * count


def test_infinite_errors_pass_through_json(clock):
    track = Track(read, limit=10.0)
    track.start(3)
    for error in (math.nan, 0.5):
        clock.pass_by(1.0)
        track.look(lambda error=error: constant(error))
    run = Run("kansci", "lm", 3, "time", tuple(track.seconds), tuple(track.errors))
    assert run.errors == (math.inf, 0.5)
    text = json.dumps(run.pack(), allow_nan=False)
    assert Run.unpack(json.loads(text)) == run


def test_run_without_errors_never_arrives():
    run = Run("pykan", "LBFGS", 0, "failed: ImportError: no module", (), ())
    assert run.final == math.inf
    assert run.time_to(1.0) is None
