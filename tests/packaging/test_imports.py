"""Imports go one way through the packages, and nothing names a place on somebody's machine."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ORDER = ("models", "quantize", "convert", "edge_eval")
"""Each package may import those before it, and itself by relative imports."""

MACHINE_PLACES = re.compile(r"(?<![\w.])/(?:home|Users|root|work|mnt|tmp)/[\w.-]+/")


def sources(package: str) -> list[Path]:
    """Every module of a package of the checkout."""
    return sorted((ROOT / package).rglob("*.py"))


def imported(module: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and first name of every absolute import, also of those inside functions."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.split(".")[0]


def wrong_imports(text: str, package: str) -> list[tuple[int, str]]:
    """Imports of this project that the order does not allow, with their lines."""
    allowed = ORDER[: ORDER.index(package)]
    return [(line, name) for line, name in imported(ast.parse(text)) if name in ORDER and name not in allowed]


@pytest.mark.parametrize("package", ORDER)
def test_imports_follow_the_data(package: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(package)
        for line, name in wrong_imports(path.read_text(encoding="utf-8"), package)
    }
    assert sources(package), f"no modules in {package}"
    assert not found


def test_a_wrong_import_would_be_found() -> None:
    assert wrong_imports("def f():\n    from edge_eval.runner import Runner\n", "convert") == [
        (2, "edge_eval")
    ]
    assert wrong_imports("import convert.artifact\n", "convert") == [(1, "convert")]
    assert wrong_imports("from models.errors import InputError\nfrom .x import y\n", "convert") == []


def test_no_file_names_a_place_on_a_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    found = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path == Path(__file__) or not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", errors="ignore")
        found += [f"{name}: {match.group()}" for match in MACHINE_PLACES.finditer(text)]
    assert not found


def test_a_place_on_a_machine_would_be_found() -> None:
    assert MACHINE_PLACES.search("see /home/somebody/file")
    assert not MACHINE_PLACES.search("a path such as out/tmp/x/y")
