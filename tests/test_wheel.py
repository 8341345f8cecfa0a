"""The wheel holds two packages, with targets and skills inside one of them, and works where there is no checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from glob import glob
from pathlib import Path

import pytest
from gates import environment

LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "runs")
SHIPPED = ("pytest_vibeserve", "loop", "targets", "skills", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, links and all, so that nothing is left in the checkout."""
    source = tmp_path_factory.mktemp("source")
    for name in SHIPPED:
        if (root / name).is_dir():
            shutil.copytree(root / name, source / name, symlinks=True, ignore=LEFT_OUT)
        else:
            shutil.copy(root / name, source / name)
    (source / "targets" / "tiny_llama" / "__pycache__").mkdir()
    (source / "targets" / "tiny_llama" / "__pycache__" / "reference.pyc").write_bytes(b"not to be shipped")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "built", "."]
    ended = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False, env=environment())
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (built,) = (source / "built").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel, and the present one's packages to stand on."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, env=environment(PIP_DISABLE_PIP_VERSION_CHECK="1"))
    # Appended after the environment's own packages, and without running the .pth files that lie there.
    (site / "present.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def run(python: Path, arguments: list[str], folder: Path) -> str:
    ended = subprocess.run(
        [str(python), *arguments], cwd=folder, capture_output=True, text=True, check=False, env=environment()
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_top_level_holds_the_two_packages_only(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pytest_vibeserve", "vibeserve_loop"}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc") or "/." in name]


@pytest.mark.parametrize("kind", ["targets", "skills"])
def test_every_file_of_every_target_and_skill_is_shipped(kind: str, wheel: Path, root: Path) -> None:
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith(f"pytest_vibeserve/{kind}/")}
    present = {
        f"pytest_vibeserve/{kind}/{name}"
        for name in glob("**/*", root_dir=root / kind, recursive=True)
        if (root / kind / name).is_file() and "__pycache__" not in name
    }
    assert present
    assert shipped == present


def test_every_module_and_marker_file_is_shipped(wheel: Path, root: Path) -> None:
    shipped = set(zipfile.ZipFile(wheel).namelist())
    for folder, above in ((root / "pytest_vibeserve", root), (root / "loop" / "vibeserve_loop", root / "loop")):
        modules = {str(path.relative_to(above)) for path in folder.rglob("*.py") if "__pycache__" not in path.parts}
        modules.add(f"{folder.name}/py.typed")
        assert modules <= shipped


def test_an_installed_wheel_is_what_runs_and_finds_its_targets(python: Path, tmp_path: Path) -> None:
    program = (
        "from pytest_vibeserve import library\n"
        "print(library.PACKAGE); print(library.find('targets', 'tiny_llama', 'target.toml'))"
    )
    package, target = run(python, ["-c", program], tmp_path).splitlines()
    assert package.startswith(str(python.parents[1]))
    assert target == f"{package}/targets/tiny_llama"


def test_the_loops_commands_work_from_an_empty_folder(python: Path, tmp_path: Path) -> None:
    script = str(python.parent / "vibeserve-loop")
    assert "run" in run(python, [script, "--help"], tmp_path)
    assert "tiny_llama" in run(python, [script, "list"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_plugin_is_there_without_asking(python: Path, tmp_path: Path) -> None:
    assert "--vibeserve-target" in run(python, ["-m", "pytest", "--help"], tmp_path)
