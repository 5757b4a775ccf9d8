"""Hostile and broken texts: each is refused at once, and nothing is executed, opened or filled up."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kansci.errors import FormulaError
from kansci.symbolic import parse
from kansci.symbolic.parse import parse_formula
from tests.symbolic import fuzz_parse
from tests.symbolic.hostile import HOSTILE, NAMES, TEXTS


def test_they_are_many():
    assert len(TEXTS) >= 300


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(text, id=f"{family}: {text[:30]!a} {len(text)}")
        for family, texts in HOSTILE.items()
        for text in texts
    ],
)
def test_hostile_texts_are_refused_at_once(text):
    start = time.thread_time()
    with pytest.raises(FormulaError) as caught:
        parse_formula(text, NAMES)
    assert time.thread_time() - start <= 1
    message = str(caught.value)
    assert len(message) < 2000
    assert all(character.isprintable() for character in message.replace("\n", ""))
    if "\n" in message:
        *_, shown, pointer = message.splitlines()
        assert pointer.strip() == "^"
        assert len(pointer) <= len(shown) + 1


def test_nothing_is_executed_and_memory_is_bounded():
    """In a fresh process: Python audits imports, code objects, files, processes and much else."""
    command = [sys.executable, "-m", "tests.symbolic.hostile"]
    root = Path(__file__).parents[2]
    report = json.loads(subprocess.run(command, capture_output=True, check=True, text=True, cwd=root).stdout)
    assert report["events"] == []
    assert report["others"] == {}
    assert report["own"] > 0  # the hook does see the syntax tree being made
    assert report["seconds"] <= 1
    assert report["grown"] < 100e6


def test_the_fuzzer_finds_nothing_in_seconds():
    assert fuzz_parse.fuzz(seconds=3, seed=5)[0] is None


def test_the_fuzzer_finds_what_is_wrong(monkeypatch):
    def wrong(text, names):
        if "sin(" in text and "*" in text:
            raise ValueError
        return parse_formula(text, names)

    monkeypatch.setattr(parse, "parse_formula", wrong)
    finding, _, _ = fuzz_parse.fuzz(seconds=20, seed=0)
    assert finding is not None
    assert sorted(fuzz_parse.shortened(finding, seconds=5)) == sorted("sin(*")


@pytest.mark.slow
def test_the_fuzzer_finds_nothing_in_minutes():
    assert fuzz_parse.fuzz(seconds=120, seed=6)[0] is None
