"""The house rules that a reader relies on: layers, sizes, names, and a sentence for everything public."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*(ROOT / "pytest_vibeserve").rglob("*.py"), *(ROOT / "loop" / "vibeserve_loop").rglob("*.py")])
SHIPPED = sorted([*(ROOT / "targets").rglob("*.py"), *(ROOT / "skills").rglob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 300, 45
VAGUE = {"util", "utils", "helper", "helpers", "manager", "managers", "misc", "common", "handler", "handlers"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def lint_imports(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_imports_point_downward() -> None:
    ended = lint_imports()
    assert ended.returncode == 0, ended.stdout


def test_an_import_that_points_upward_would_be_seen(tmp_path: Path) -> None:
    upside_down = tmp_path / "contract.toml"
    upside_down.write_text(
        '[tool.importlinter]\nroot_packages = ["pytest_vibeserve"]\n[[tool.importlinter.contracts]]\nname = "x"\n'
        'type = "layers"\nlayers = ["pytest_vibeserve.errors", "pytest_vibeserve.target"]\n'
    )
    ended = lint_imports("--config", str(upside_down))
    assert ended.returncode == 1, ended.stdout
    assert "errors" in ended.stdout


def test_gitpython_is_used_and_kept_inside_one_module() -> None:
    users = {
        named(path)
        for path in SOURCES
        for node in ast.walk(tree(path))
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "git" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "git")
    }
    assert users == {"loop/vibeserve_loop/workspace.py"}


def test_files_fit_on_a_few_screens() -> None:
    lengths = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in [*SOURCES, *SHIPPED, *TESTS]}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_functions_fit_on_one_screen() -> None:
    lengths = {
        f"{named(path)}:{function.lineno}": function.end_lineno - function.lineno + 1
        for path in [*SOURCES, *SHIPPED]
        for function in functions(path)
        if function.end_lineno is not None
    }
    assert {place: length for place, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_everything_public_says_what_it_promises() -> None:
    silent = [named(path) for path in SOURCES if not ast.get_docstring(tree(path))]
    silent += [
        f"{named(path)}: {node.name}"
        for path in SOURCES
        for node in tree(path).body
        if isinstance(node, (ast.ClassDef, Function))
        if not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_names_are_those_of_things() -> None:
    vague = []
    for path in [*SOURCES, *SHIPPED, *TESTS]:
        classes = [node.name for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]
        words = {word.lower() for name in classes for word in re.findall(r"[A-Z][a-z]+", name)}
        words |= set(re.split(r"[_/.-]", named(path).removesuffix(".py")))
        vague += [f"{named(path)}: {word}" for word in words & VAGUE]
    assert vague == []


def broad(caught: ast.ExceptHandler) -> bool:
    """Whether it catches what nobody can name, and keeps it."""
    names = {name.id for name in ast.walk(caught.type) if isinstance(name, ast.Name)} if caught.type else {"Exception"}
    last = caught.body[-1]
    return bool(names & {"Exception", "BaseException"}) and not (isinstance(last, ast.Raise) and last.exc is None)


def test_what_cannot_be_named_is_kept_in_one_place_where_foreign_code_is_called() -> None:
    kept = [
        named(path)
        for path in [*SOURCES, *SHIPPED]
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler) and broad(node)
    ]
    assert kept == ["loop/vibeserve_loop/foreign.py"]


def test_nothing_is_left_for_later() -> None:
    words = ("TO" + "DO", "FIX" + "ME", "Not" + "ImplementedError")
    texts = {named(path): path.read_text(encoding="utf-8") for path in [*SOURCES, *SHIPPED, *TESTS]}
    assert [f"{name}: {word}" for name, text in texts.items() for word in words if word in text] == []


def test_every_package_folder_is_in_the_wheel() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {init.parent for init in [*(ROOT / "pytest_vibeserve").rglob("__init__.py")]}
    plugin = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    folders = {init.parent for init in (ROOT / "loop").rglob("__init__.py")}
    loop = {".".join(folder.relative_to(ROOT / "loop").parts) for folder in folders}
    data = {"pytest_vibeserve.skills", "pytest_vibeserve.targets"}
    assert set(setuptools["packages"]) == plugin | loop | data
