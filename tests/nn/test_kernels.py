"""How the kernels are built, and what happens where they cannot be."""

import logging
import os
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
    path.write_text(script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@needs_compiler
@pytest.mark.slow
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


def test_without_a_compiler_there_are_none(unloaded, monkeypatch, caplog):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with caplog.at_level(logging.INFO):
        assert kernels.kernels(torch.float64) is None
    assert "there is no C compiler" in caplog.text


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("#!/bin/sh\necho something is missing >&2; exit 1", "something is missing"),
        ("#!/bin/sh\nprintf '\\377 not text' >&2; exit 1", "not text"),
        ("#!/bin/sh\nexit 0", "cannot open shared object"),
        ("not a program", "Exec format error"),
    ],
)
def test_a_compiler_that_fails_is_told_about(fresh, monkeypatch, tmp_path, caplog, script, reason):
    monkeypatch.setenv("CC", str(compiler(tmp_path, script)))
    for _ in range(2):
        assert kernels.kernels(torch.float64) is None
    assert "networks are slower without kernels, which could not be built" in caplog.text
    assert reason in caplog.text
    assert len(caplog.records) == 1
    assert list(fresh.iterdir()) == []


@needs_compiler
@pytest.mark.slow
def test_options_that_a_compiler_does_not_know_are_left_out(fresh, monkeypatch, tmp_path):
    known = '#!/bin/sh\ncase "$*" in *-fopenmp*|*native*|*-O3*-O3*) exit 1;; esac; exec cc "$@"'
    monkeypatch.setenv("CC", f"{compiler(tmp_path, known)} -O1 -g")
    assert kernels.kernels(torch.float64) is not None
    assert torch.isfinite(MultKAN([2, 1])(torch.rand(100, 2, dtype=torch.float64))).all()


def test_the_compiler_is_called_with_its_arguments(monkeypatch, tmp_path):
    path = compiler(tmp_path, "")
    monkeypatch.setenv("CC", f"{path} -pthread")
    assert kernels._compiler() == [str(path), "-pthread"]


@needs_compiler
@pytest.mark.parametrize("damage", [b"", b"nothing that can be loaded"])
def test_a_damaged_cache_is_mended(fresh, monkeypatch, damage):
    monkeypatch.setattr(kernels, "FLAGS", ("-O0", *kernels.FLAGS[2:]))
    assert kernels.kernels(torch.float64) is not None
    (path,) = fresh.iterdir()
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(damage)
    kernels.kernels.cache_clear()
    assert kernels.kernels(torch.float64) is not None
    assert path.read_bytes()[:4] == whole[:4]
    assert list(fresh.iterdir()) == [path]


@needs_compiler
def test_a_cache_that_cannot_be_written_is_not_needed(fresh, monkeypatch, tmp_path):
    monkeypatch.setattr(kernels, "FLAGS", ("-O0", *kernels.FLAGS[2:]))
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert kernels.kernels(torch.float64) is not None


@needs_compiler
def test_a_cache_that_can_only_be_read_is_used(fresh, monkeypatch):
    monkeypatch.setattr(kernels, "FLAGS", ("-O0", *kernels.FLAGS[2:]))
    assert kernels.kernels(torch.float64) is not None
    kernels.kernels.cache_clear()
    monkeypatch.setattr(kernels, "_new_folder", lambda parent: pytest.fail("compiled again"))
    assert kernels.kernels(torch.float64) is not None


@needs_compiler
def test_kernels_take_nothing_that_they_cannot_read(unloaded):
    found = kernels.kernels(torch.float64)
    assert found is not None
    for wrong in (torch.zeros(2, dtype=torch.float32), torch.zeros(4, dtype=torch.float64)[::2]):
        with pytest.raises(ValueError, match="expected contiguous"):
            found.run("sums", kernels.Edges(), wrong)


def test_what_a_library_depends_on_is_in_its_name(monkeypatch, tmp_path):
    path = compiler(tmp_path, "")
    names = {kernels._fingerprint([str(path)], dtype) for dtype in kernels.REALS}
    names.add(kernels._fingerprint([str(path), "-m32"], torch.float64))
    os.utime(path, (0, 0))
    names.add(kernels._fingerprint([str(path)], torch.float64))
    for name in ("FLAGS", "OPTIONS"):
        monkeypatch.setattr(kernels, name, (*getattr(kernels, name), "-O0"))
        names.add(kernels._fingerprint([str(path)], torch.float64))
    assert len(names) == 6


def test_importing_kansci_compiles_nothing(tmp_path):
    code = "import kansci; kansci.MultKAN"
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert list(tmp_path.iterdir()) == []
