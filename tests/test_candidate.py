"""Reading a candidate's folder: what is refused, and how the refusal reads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_vibeserve.candidate import load_candidate, stated_needs, tree_digest
from pytest_vibeserve.errors import CandidateFailure, UsageError
from pytest_vibeserve.source_tree import copy_tree, entries

GOOD = """
schema = 1
[serve]
command = ["python", "server.py", "--model", "{model}", "--host", "{host}", "--port", "{port}"]
ready = "/health"
"""
BUILD = '[build]\ncommand = ["make"]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "candidate"
    made.mkdir()
    (made / "candidate.toml").write_text(GOOD)
    (made / "server.py").write_text("print('hello')\n")
    return made


def test_what_a_baseline_needs_is_read_from_its_readme(folder: Path) -> None:
    assert stated_needs(folder) == ""
    (folder / "README.md").write_text("# X\n\nWords.\n\n**Needs** an NVIDIA GPU and\n`x` 3.\n\n**Served** all.\n")
    assert stated_needs(folder) == "\nIt needs an NVIDIA GPU and `x` 3."


def refusal(folder: Path) -> str:
    with pytest.raises(CandidateFailure) as caught:
        load_candidate(folder)
    assert caught.value.check == "candidate"
    return caught.value.message


def refusal_of(folder: Path, text: str) -> str:
    (folder / "candidate.toml").write_text(text)
    return refusal(folder)


def test_a_plain_candidate_is_read_with_its_defaults(folder: Path) -> None:
    candidate = load_candidate(folder)
    assert candidate.build is None
    assert candidate.serve.ready == "/health"
    assert candidate.serve.startup_timeout_s is None
    assert candidate.digest == tree_digest(folder)


def test_the_build_has_ten_minutes_unless_it_says_otherwise(folder: Path) -> None:
    (folder / "candidate.toml").write_text(GOOD + BUILD)
    build = load_candidate(folder).build
    assert build is not None
    assert build.timeout_s == 600


def test_placeholders_are_filled_in_and_other_braces_are_left_alone(folder: Path) -> None:
    command = """command = ["serve", "{model}/x", "--at={host}:{port}", '{"method": "ngram"}']"""
    (folder / "candidate.toml").write_text(f'schema = 1\n[serve]\n{command}\nready = "/"\n')
    filled = load_candidate(folder).serve.command_line("/m", "127.0.0.1", 81)
    assert filled == ("serve", "/m/x", "--at=127.0.0.1:81", '{"method": "ngram"}')


def test_a_folder_that_does_not_exist_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--vibeserve-candidate"):
        load_candidate(tmp_path / "nowhere")


def test_a_missing_file_is_answered_with_what_to_write(tmp_path: Path) -> None:
    assert "write one with [serve]" in refusal(tmp_path)


def test_malformed_toml_is_located(folder: Path) -> None:
    assert refusal_of(folder, "schema = 1\n[serve\n").startswith("candidate.toml:2:7: ")


def test_toml_that_breaks_off_is_located_at_its_end(folder: Path) -> None:
    assert refusal_of(folder, 'schema = 1\nx = "').startswith("candidate.toml:2:6: ")


def test_text_that_is_not_utf8_is_refused(folder: Path) -> None:
    (folder / "candidate.toml").write_bytes(b"schema = 1 # \xff")
    assert "not UTF-8 at byte 13" in refusal(folder)


def test_an_unknown_field_is_answered_with_the_nearest_name(folder: Path) -> None:
    message = refusal_of(folder, GOOD + "startup_timeout = 5\n")
    assert "serve.startup_timeout is no known field; did you mean startup_timeout_s" in message


def test_every_fault_of_the_file_is_named_at_once(folder: Path) -> None:
    message = refusal_of(folder, 'schema = 2\n[serve]\ncommand = "python {port}"\nready = "health"\n')
    assert all(f"candidate.toml: {field}" in message for field in ("schema", "serve.command", "serve.ready"))
    assert 'write ready = "/health"' in message


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("startup_timeout_s = 0", "serve.startup_timeout_s"),
        ("startup_timeout_s = nan", "serve.startup_timeout_s"),
        ('startup_timeout_s = "120"', "serve.startup_timeout_s"),
        ("startup_timeout_s = true", "serve.startup_timeout_s"),
        ("[build]\ncommand = []", "build.command"),
        ('[build]\ncommand = ["make", "{model}"]', "build.command"),
        ('[build]\ncommand = ["make", "a\\u0000b"]', "build.command"),
        ("[build]\ntimeout_s = 5", "build.command is missing"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_field(folder: Path, line: str, field: str) -> None:
    assert field in refusal_of(folder, GOOD + line + "\n")


def test_an_unknown_placeholder_is_answered_with_the_nearest_name(folder: Path) -> None:
    assert "unknown placeholder {prot}; did you mean port" in refusal_of(folder, GOOD.replace("{port}", "{prot}"))


def test_a_command_without_a_port_is_refused(folder: Path) -> None:
    assert "must hold {port}" in refusal_of(folder, GOOD.replace("{port}", "8000"))


@pytest.mark.parametrize("ready", ["health", "/a b", "/a\\r\\nX: y", ""])
def test_a_ready_route_must_be_a_plain_path(folder: Path, ready: str) -> None:
    assert "serve.ready" in refusal_of(folder, GOOD.replace("/health", ready))


def test_a_link_within_the_folder_is_fine(folder: Path) -> None:
    (folder / "again.py").symlink_to("server.py")
    assert load_candidate(folder).digest == tree_digest(folder)


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "inner/../../secret"])
def test_a_link_out_of_the_folder_is_refused(folder: Path, target: str) -> None:
    (folder / "inner").mkdir()
    (folder / "link").symlink_to(target)
    assert f"link: a link that leaves the folder (to {target})" in refusal(folder)


def test_an_absolute_link_is_refused_even_when_it_points_inside(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "server.py")
    assert "link: a link that leaves the folder" in refusal(folder)


def test_a_link_that_leaves_through_another_link_is_refused(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "up").symlink_to("..")
    (folder / "b").symlink_to("a/up/../secret")
    assert "b: a link that leaves the folder" in refusal(folder)


@pytest.mark.parametrize("name", ["x.pth", "deep/er/x.PTH", "sitecustomize.py", "a/usercustomize/__init__.py"])
def test_files_that_python_runs_by_itself_are_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("")
    assert f"{name}: " in refusal(folder)


@pytest.mark.parametrize(
    ("name", "data"),
    [("fast.so", b"\x7fELF\x02\x01"), ("data.bin", b"\x7fELF\x02\x01"), ("lib.a", b"!<arch>\n"), ("m.pyc", b"abc")],
)
def test_a_binary_needs_a_build(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    assert f"{name}: a binary without a [build]" in refusal(folder)
    (folder / "candidate.toml").write_text(GOOD + BUILD)
    assert load_candidate(folder).build is not None


def test_a_named_pipe_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert "pipe: neither a file nor a folder nor a link" in refusal(folder)


def test_tests_and_a_conftest_of_its_own_are_fine(folder: Path) -> None:
    (folder / "tests").mkdir()
    (folder / "conftest.py").write_text("raise RuntimeError\n")
    (folder / "tests" / "test_it.py").write_text("def test_it(): pass\n")
    assert load_candidate(folder).digest


def test_the_digest_is_the_same_for_a_copy_and_ignores_what_is_not_source(folder: Path, tmp_path: Path) -> None:
    (folder / "again.py").symlink_to("server.py")
    digest = tree_digest(folder)
    copy_tree(folder, tmp_path / "copy")
    assert tree_digest(tmp_path / "copy") == digest
    for ignored in (".git", "__pycache__", "sub/__pycache__"):
        (folder / ignored).mkdir(parents=True)
        (folder / ignored / "x").write_text("x")
    assert tree_digest(folder) == digest


def test_the_digest_sees_names_bytes_modes_and_links(folder: Path, tmp_path: Path) -> None:
    def changed(how: str) -> str:
        other = tmp_path / how
        shutil.copytree(folder, other, symlinks=True)
        subprocess.run(["sh", "-c", how.replace("|", " ")], cwd=other, check=True)
        return tree_digest(other)

    ways = ["mv|server.py|other.py", "echo|>>server.py", "chmod|+x|server.py", "ln|-s|server.py|l", "ln|-s|x|l"]
    digests = {tree_digest(folder), *(changed(how) for how in ways)}
    assert len(digests) == len(ways) + 1


def test_what_a_targets_links_stand_for_counts_as_its_own(folder: Path, tmp_path: Path) -> None:
    target, plain = tmp_path / "target", tmp_path / "plain"
    for one in (target, plain):
        one.mkdir()
        (one / "target.toml").write_text("")
    (target / "starter").symlink_to(folder)
    (target / "server.py").symlink_to(folder / "server.py")
    shutil.copytree(folder, plain / "starter")
    shutil.copy(folder / "server.py", plain)
    digest = tree_digest(target, linked=True)
    assert digest == tree_digest(plain) != tree_digest(target)
    copy_tree(target, tmp_path / "copy", linked=True)
    assert tree_digest(tmp_path / "copy") == digest
    (folder / "server.py").write_text("changed")
    assert tree_digest(target, linked=True) != digest


def test_links_that_lead_nowhere_or_back_stay_links(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name, leads in (("nowhere", "gone"), ("itself", "itself"), ("below/up", "..")):
        (tmp_path / name).symlink_to(leads)
    assert [entry.kind for entry in entries(tmp_path, linked=True)] == ["link"] * 3


def test_a_copy_leaves_caches_behind_so_that_only_digested_code_is_served(folder: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(folder)], check=True)
    assert (folder / "__pycache__").is_dir()
    copy_tree(folder, tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["candidate.toml", "server.py"]
