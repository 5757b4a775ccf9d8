"""What must never slip, read off the source and off a fresh interpreter."""

import ast
import inspect
import subprocess
import sys
import types
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

import kansci
from tests.api_snapshot import FILE, snapshot

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for package in ("kansci", "problems") for path in (ROOT / package).rglob("*.py"))
SERIALIZERS = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
Rule = Callable[[ast.AST], bool]


def calls(*names: str) -> Rule:
    return lambda node: isinstance(node, ast.Call) and ast.unparse(node.func) in names


def imports_serializer(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.partition(".")[0] in SERIALIZERS for alias in node.names)
    return isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in SERIALIZERS


def is_bare_except(node: ast.AST) -> bool:
    return isinstance(node, ast.ExceptHandler) and node.type is None


def is_future_annotations(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


# name: (rule, what it must catch, files excused from it)
RULES: dict[str, tuple[Rule, str, set[str]]] = {
    "print": (calls("print"), "print(1)", {"kansci/cli.py", "problems/runner.py"}),
    "assert": (lambda node: isinstance(node, ast.Assert), "assert True", set()),
    "eval": (calls("eval", "exec", "builtins.eval", "builtins.exec"), "eval('1')", set()),
    "eval in disguise": (
        calls("parse_expr", "sympy.parse_expr", "lambdify", "sympy.lambdify"),
        "lambdify(x, x)",
        set(),
    ),
    "serializer": (imports_serializer, "from pickle import load", set()),
    "torch's pickle": (calls("torch.load", "torch.save"), "torch.load('model.pt')", set()),
    "bare except": (is_bare_except, "try:\n    pass\nexcept:\n    pass", set()),
    "future annotations": (is_future_annotations, "from __future__ import annotations", set()),
}


def offences(source: str, rule: Rule) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt | ast.expr | ast.ExceptHandler) and rule(node)
    ]


@pytest.mark.parametrize("name", RULES)
def test_source_keeps_the_rule(name):
    rule, _, excused = RULES[name]
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in SOURCES
        if path.relative_to(ROOT).as_posix() not in excused
        for line in offences(path.read_text(encoding="utf-8"), rule)
    ]
    assert not found


@pytest.mark.parametrize("name", RULES)
def test_rule_catches_its_example(name):
    rule, example, _ = RULES[name]
    assert offences(example, rule)


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import kansci", {"torch", "numpy", "matplotlib", "h5py", "sklearn", "sympy"}),
        ("from kansci import MultKAN, functions", {"matplotlib", "h5py", "sklearn", "sympy"}),
    ],
)
def test_import_loads_no_more_than_it_needs(statement, unwanted):
    script = f"{statement}; import sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not unwanted & set(loaded.split())


def test_package_is_typed():
    assert files("kansci").joinpath("py.typed").is_file()


def test_version_is_the_installed_one():
    from importlib.metadata import version

    assert kansci.__version__ == version("kansci")


LAZY_PACKAGES = [kansci, kansci.physics, kansci.plot, kansci.report]


@pytest.mark.parametrize("package", LAZY_PACKAGES, ids=lambda package: package.__name__)
def test_no_public_function_is_named_like_a_submodule(package):
    folder = files(package)
    names = [name for name in package.__all__ if not isinstance(getattr(package, name), types.ModuleType)]
    assert not [name for name in names if folder.joinpath(name).is_dir() or folder.joinpath(f"{name}.py").is_file()]


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package in LAZY_PACKAGES for name in package.__all__]
)
def test_public_name_is_documented(package, name):
    assert inspect.getdoc(getattr(package, name))


def test_public_api_is_the_recorded_one():
    assert snapshot() == FILE.read_text(), (
        "the public API changed; if that is meant, run `python -m tests.api_snapshot`, "
        "look at the difference in tests/api.txt and mention it in CHANGELOG.md"
    )
