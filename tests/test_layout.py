"""The layout that ``docs/architecture.md`` promises: small folders, and no circle of imports."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import pytest_pbias

PACKAGE = Path(pytest_pbias.__file__).parent
MOST_MODULES = 15


def _imports(package: Path) -> dict[str, set[str]]:
    """What each module of a package imports of it, those behind functions and types included."""
    files = {}
    for path in package.rglob("*.py"):
        name = ".".join((package.name, *path.relative_to(package).with_suffix("").parts))
        files[name.removesuffix(".__init__")] = path
    found = {}
    for module, path in files.items():
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        names = [
            (f"{node.module}.{one.name}", node.module)
            for node in nodes
            if isinstance(node, ast.ImportFrom) and node.module
            for one in node.names
        ]
        places = {whole if whole in files else part for whole, part in names}
        found[module] = {place for place in places if place in files and place != module}
    return found


def test_no_folder_has_more_modules_than_a_reader_can_hold() -> None:
    for folder in (PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir())):
        modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= MOST_MODULES, f"{folder}: {sorted(modules)}"


def test_every_module_has_its_room() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "errors.py"}


def test_no_imports_go_in_a_circle() -> None:
    TopologicalSorter(_imports(PACKAGE)).prepare()


def test_a_circle_behind_a_function_is_found(tmp_path: Path) -> None:
    package = tmp_path / "house"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text("from house.two import a\n")
    (package / "two.py").write_text("def a():\n    from house import one\n")
    with pytest.raises(CycleError, match=r"house\.one"):
        TopologicalSorter(_imports(package)).prepare()
