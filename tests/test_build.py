"""Making what is served from source, in the sandbox."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from insides import require_backend
from places import SERVE, Place, fetch


@pytest.fixture(params=["bwrap", "docker", "none"])
def isolation(request: pytest.FixtureRequest) -> str:
    require_backend(request.param)
    return str(request.param)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_build_makes_what_is_served(place: Place, isolation: str) -> None:
    place.write("serve()\n", '[build]\ncommand = ["sh", "-c", "echo made > made.txt; ls $HOME $TMPDIR"]\n')
    with place.start(isolation) as server:
        assert fetch(server, "/made.txt") == "made\n"
    assert not (place.code / "made.txt").exists()


def test_a_build_starts_without_the_binaries_that_it_should_make(place: Place, isolation: str) -> None:
    place.write("serve()\n", '[build]\ncommand = ["sh", "-c", "ls > listing"]\n')
    (place.code / "old.so").write_bytes(b"\x7fELF old")
    with place.start(isolation) as server:
        assert fetch(server, "/listing").split() == ["candidate.toml", "listing", "server.py"]


@pytest.mark.parametrize("backend", ["bwrap", "docker"])
def test_a_build_sees_neither_the_model_nor_a_network(place: Place, backend: str) -> None:
    require_backend(backend)
    place.write("serve()\n", '[build]\ncommand = ["sh", "-c", "ls /model/*; cat /proc/net/route; false"]\n')
    failure = place.failure(backend)
    assert "cannot access '/model/*'" in failure.example
    assert "00000000" not in failure.example


def test_a_failing_build_shows_its_log(place: Place, isolation: str) -> None:
    place.write("serve()\n", '[build]\ncommand = ["sh", "-c", "echo undefined reference >&2; exit 2"]\n')
    failure = place.failure(isolation)
    assert failure.check == "build"
    assert "[build] ended with 2" in failure.message
    assert "undefined reference" in failure.example


def test_a_build_that_takes_too_long_is_ended(place: Place, isolation: str) -> None:
    place.write("serve()\n", '[build]\ncommand = ["sleep", "3600"]\ntimeout_s = 1\n')
    assert "longer than timeout_s = 1" in place.failure(isolation).message


def test_a_build_may_not_make_what_python_runs_by_itself(place: Place, isolation: str) -> None:
    place.write("serve()\n", '[build]\ncommand = ["touch", "sitecustomize.py"]\n')
    assert "sitecustomize" in place.failure(isolation).message


def test_a_build_of_a_program_that_is_not_there_is_the_candidates_fault(place: Place, isolation: str) -> None:
    place.write("serve()\n", '[build]\ncommand = ["no-such-make"]\n')
    assert "build.command: the program 'no-such-make'" in place.failure(isolation).message


def test_a_compiled_program_is_built_from_source_and_served(place: Place, isolation: str) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler here")
    place.write("serve()\n", '[build]\ncommand = ["cc", "-shared", "-o", "fast.so", "fast.c"]\n')
    (place.code / "fast.c").write_text("int two(void) { return 2; }\n")
    (place.code / "server.py").write_text(
        SERVE + "import ctypes\nassert ctypes.CDLL('./fast.so').two() == 2\nserve()\n"
    )
    with place.start(isolation) as server:
        assert server.alive()
