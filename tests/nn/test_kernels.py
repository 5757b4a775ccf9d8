"""How the kernels are built, and what happens where they cannot be."""

import logging
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kansci import MultKAN
from kansci.nn import kernels
from tests.helpers import assert_same

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="kernels need a C compiler"
)


@pytest.fixture
def unloaded():
    """Nothing is loaded."""
    kernels.kernels.cache_clear()
    yield
    kernels.kernels.cache_clear()


@pytest.fixture
def fresh(unloaded, monkeypatch, tmp_path):
    """Nothing is loaded, and nothing in the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "kansci"


def compiler(folder: Path, script: str) -> Path:
    """A program that is called as compiler."""
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@needs_compiler
def test_each_precision_is_compiled_once(fresh, monkeypatch):
    for dtype in (torch.float64, torch.float32):
        found = kernels.kernels(dtype)
        assert found is not None
        assert found.tile * dtype.itemsize == kernels.TILE_BYTES
    assert len(list(fresh.iterdir())) == 2
    kernels.kernels.cache_clear()
    monkeypatch.setattr(kernels, "_compile", lambda *given: pytest.fail("compiled twice"))
    assert kernels.kernels(torch.float64) is not None


def test_other_precisions_have_none(unloaded):
    assert kernels.kernels(torch.float16) is None


def test_networks_do_without(unloaded, monkeypatch):
    model, x = MultKAN([2, [2, 1], 1]), torch.rand(40, 2, dtype=torch.float64)
    expected = model.jet(x, "hessian").channels.detach()
    monkeypatch.setenv("KANSCI_KERNELS", "off")
    kernels.kernels.cache_clear()
    assert kernels.kernels(torch.float64) is None
    assert_same(model.jet(x, "hessian").channels.detach(), expected)


def test_without_a_compiler_there_are_none(unloaded, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert kernels.kernels(torch.float64) is None


def test_a_compiler_that_fails_is_told_about(fresh, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("CC", str(compiler(tmp_path, "echo something is missing >&2; exit 1")))
    with caplog.at_level(logging.WARNING):
        assert kernels.kernels(torch.float64) is None
    assert "networks will be slower, as their kernels cannot be compiled: something is missing" in caplog.text
    assert list(fresh.iterdir()) == []


@needs_compiler
def test_options_that_a_compiler_does_not_know_are_left_out(fresh, monkeypatch, tmp_path):
    known = 'case "$*" in *-fopenmp*|*native*) exit 1;; esac; exec cc "$@"'
    monkeypatch.setenv("CC", str(compiler(tmp_path, known)))
    assert kernels.kernels(torch.float64) is not None
    assert torch.isfinite(MultKAN([2, 1])(torch.rand(100, 2, dtype=torch.float64))).all()


@needs_compiler
def test_a_cache_that_cannot_be_written_is_not_needed(fresh, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert kernels.kernels(torch.float64) is not None


def test_what_a_library_depends_on_is_in_its_name(monkeypatch):
    names = {kernels._fingerprint("cc", dtype) for dtype in kernels.REALS}
    names.add(kernels._fingerprint("clang", torch.float64))
    monkeypatch.setattr(kernels, "FLAGS", (*kernels.FLAGS, "-O0"))
    names.add(kernels._fingerprint("cc", torch.float64))
    assert len(names) == 4


def test_importing_kansci_compiles_nothing(tmp_path):
    code = "import kansci; kansci.MultKAN"
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert list(tmp_path.iterdir()) == []
