"""The profile for macOS: which rule decides what, read as Seatbelt reads it: of the rules that match, the last one."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from insides import new_view, outcome, require_backend

from pytest_vibeserve.isolation.interpreter import offered
from pytest_vibeserve.isolation.levels import SEATBELT
from pytest_vibeserve.isolation.seatbelt import PROGRAM, command_line, obstacle, profile
from pytest_vibeserve.isolation.view import View

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def view(tmp_path: Path) -> View:
    return new_view(tmp_path)


@pytest.fixture
def temporary(view: View) -> Path:
    made = view.private / "tmp"
    made.mkdir()
    return made


def decided(text: str, operation: str, path: str | Path) -> str:
    """`allow` or `deny` for an operation on a path, by the rules with subpath, literal or no filter."""
    verdict = "deny"
    for line in text.splitlines():
        head = line.split(" (")[0].strip("()").split()
        if not any(re.fullmatch(name.replace("*", ".*"), operation) for name in head[1:]):
            continue
        places = re.findall(r'\((subpath|literal) "((?:[^"\\]|\\.)*)"\)', line)
        real = os.path.realpath(path)
        named = [(kind, json.loads(f'"{place}"')) for kind, place in places]
        hit = any(real == place or (kind == "subpath" and real.startswith(place + "/")) for kind, place in named)
        if hit or "(" not in line[1:]:
            verdict = head[0]
    return verdict


def test_everything_is_denied_that_no_rule_allows(view: View, temporary: Path) -> None:
    text = profile(view, [temporary])
    assert text.splitlines()[:2] == ["(version 1)", "(deny default)"]
    for path in ("/Users/somebody/.ssh/id_rsa", view.private / "hosts", REPOSITORY / "pyproject.toml"):
        assert decided(text, "file-read-data", path) == "deny"
        assert decided(text, "file-write-data", path) == "deny"


def test_code_model_system_and_interpreter_can_be_read(view: View, temporary: Path) -> None:
    text = profile(view, [temporary])
    assert view.model is not None
    places = [view.code / "server.py", view.model / "config.json", Path("/usr/lib/libSystem.dylib"), *offered().trees]
    assert {decided(text, "file-read-data", place) for place in places} == {"allow"}
    assert decided(text, "process-exec", sys.executable) == "allow"


def test_only_the_temporary_folders_can_be_written(view: View, temporary: Path) -> None:
    text = profile(view, [temporary])
    assert view.model is not None
    assert decided(text, "file-write-create", temporary / "x") == "allow"
    for place in (view.code / "server.py", view.model / "config.json", Path("/usr/local/x"), *offered().trees):
        assert decided(text, "file-write-create", place) == "deny"


def test_a_build_may_write_its_code_and_has_no_network(view: View, temporary: Path) -> None:
    text = profile(replace(view, model=None, writable=True), [temporary])
    assert decided(text, "file-write-create", view.code / "made.o") == "allow"
    assert "localhost" not in text


def test_a_server_may_listen_on_this_machine_and_connect_to_nothing(view: View, temporary: Path) -> None:
    network = [line for line in profile(view, [temporary]).splitlines() if "network" in line]
    assert '(allow network-bind network-inbound (local ip "localhost:*"))' in network
    assert not any("outbound" in line and "unix-socket" not in line for line in network)


def test_the_gates_own_packages_among_the_interpreters_are_covered(view: View, temporary: Path) -> None:
    text = profile(view, [temporary])
    assert decided(text, "file-read-data", REPOSITORY / "pytest_vibeserve" / "verdict.py") == "deny"


def test_a_path_cannot_break_out_of_its_string(view: View, tmp_path: Path) -> None:
    hostile = tmp_path / 'a" (allow default) "'
    hostile.mkdir()
    text = profile(replace(view, code=hostile), [])
    assert '\\" (allow default) \\"' in text
    assert decided(text, "file-read-data", hostile) == "allow"


def test_a_model_of_links_is_readable_where_they_lead(view: View, temporary: Path, tmp_path: Path) -> None:
    assert view.model is not None
    (tmp_path / "blob").write_text("weights")
    (view.model / "model.safetensors").symlink_to(tmp_path / "blob")
    assert decided(profile(view, [temporary]), "file-read-data", tmp_path / "blob") == "allow"


def test_the_command_is_run_by_sandbox_exec(view: View, temporary: Path) -> None:
    words = command_line(view, ("python", "server.py"), [temporary])
    assert words == (PROGRAM, "-p", profile(view, [temporary]), "python", "server.py")
    assert bool(obstacle()) == (sys.platform != "darwin")


def test_on_a_mac_a_candidate_cannot_write_its_code(view: View) -> None:
    require_backend("seatbelt")
    assert outcome(SEATBELT, view, "answer = os.access('.', os.W_OK)") is False
