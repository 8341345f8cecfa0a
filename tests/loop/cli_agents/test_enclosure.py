"""Any program that speaks the protocol, wherever it lies, behind bubblewrap's walls: it starts, and sees no more."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from agent_cases import Case, Outcome, played
from loop_lab import Lab

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.cli_agents.enclosure import check_walls
from vibeserve_loop.cli_agents.places import own_places, places_of
from vibeserve_loop.sandboxes.bubblewrap import BubblewrapSandbox
from vibeserve_loop.sandboxes.docker import DockerSandbox
from vibeserve_loop.sandboxes.seatbelt import SeatbeltSandbox

AGENT = Path(__file__).parents[1] / "acp_agent.py"
LAUNCH = "import runpy, sys\nfrom beside import NAME\nrunpy.run_path(NAME, run_name='__main__')\n"


def _enclosed(command: str, folder: Path, **options: str) -> Outcome:
    return played(Case("acp", [], {"command": command, **options}, sandbox="bubblewrap"), folder, 60)


def _seen(folder: Path) -> list[str]:
    return (folder / "run" / "workspace" / "seen").read_text().splitlines()


def _elsewhere(folder: Path) -> Path:
    """A virtual environment of its own, with the agent as a program in it; the library comes by a path file."""
    root = folder / "elsewhere"
    made = subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=False)
    assert made.returncode == 0
    site = next(root.glob("lib/python3*/site-packages"))
    (site / "library.pth").write_text(sysconfig.get_path("purelib") + "\n")
    shutil.copy(AGENT, site / "lab_agent.py")
    program = root / "bin" / "lab-agent"
    start = "import runpy; runpy.run_module('lab_agent', run_name='__main__')"
    program.write_text(f"#!{root / 'bin' / 'python'}\n{start}\n")
    program.chmod(0o755)
    (folder / "bin").mkdir()
    (folder / "bin" / "lab-agent").symlink_to(program)
    return folder / "bin" / "lab-agent"


def test_a_script_starts_with_what_lies_beside_it_and_sees_neither_secrets_nor_other_rounds(tmp_path: Path) -> None:
    pytest.importorskip("acp", reason="the extra `acp` is not installed")
    lab, tools = tmp_path / "lab", tmp_path / "tools"
    lab.mkdir()
    tools.mkdir()
    (tools / "start.py").write_text(LAUNCH)
    shutil.copy(AGENT, tools / "agent.py")
    (tools / "beside.py").write_text(f"NAME = {str(tools / 'agent.py')!r}\n")
    (tools / ".env").write_text("TOKEN=1")
    (tmp_path / "private").write_text("mine")
    hidden = [tools / ".env", tmp_path / "private", lab / "case.json", Path(__file__).parents[3] / "pyproject.toml"]
    asked = [tools / "beside.py", *hidden]
    command = shlex.join([sys.executable, str(tools / "start.py"), "looks_round", ",".join(map(str, asked))])
    done = _enclosed(command, lab)
    assert done.result.get("ending") == "finished", done.result
    assert _seen(lab) == [str(tools / "beside.py")]


def test_a_program_of_another_environment_starts_and_reaches_its_endpoints_alone(tmp_path: Path) -> None:
    pytest.importorskip("acp", reason="the extra `acp` is not installed")
    asked = "tcp://model.test:{port},tcp://127.0.0.1:{port},tcp://model.test:80,tcp://model.test:81,tcp://other.test:80"
    command = shlex.join([str(_elsewhere(tmp_path)), "looks_round", asked])
    done = _enclosed(command, tmp_path, endpoints="model.test:{port},model.test:80")
    assert done.result.get("ending") == "finished", done.result
    port = _seen(tmp_path)[0].rpartition(":")[2]
    # The relay answers at port 80 for an endpoint that does not: a door is there, and leads to nobody.
    assert _seen(tmp_path) == [f"tcp://model.test:{port}", "tcp://model.test:80"]
    assert any(f"the model's endpoint alone (model.test:{port}, model.test:80)" in line for line in done.result["log"])


def test_of_a_folder_that_holds_the_run_or_half_the_machine_only_the_file_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, home = tmp_path / "project" / "runs" / "one" / "workspace", tmp_path / "home"
    for folder in (workspace, home, tmp_path / "tools"):
        folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    files = [tmp_path / "project" / "agent.py", home / "agent.py", tmp_path / "tools" / "agent.py"]
    for file in files:
        file.write_text("")
    found = places_of(("sh", *map(str, files), f"--config={tmp_path / 'tools'}", "project", str(workspace)), workspace)
    assert set(found) == {files[0], files[1], tmp_path / "tools"}


def test_of_the_loops_own_only_packages_are_shown() -> None:
    shown = own_places()
    assert Path.cwd() not in shown
    assert {path.name for path in shown} >= {"vibeserve_loop", "pytest_vibeserve"}
    assert not any((path / "pyproject.toml").exists() or (path / ".env").exists() for path in shown)


def test_a_sandbox_that_cannot_shut_a_program_in_is_refused_before_the_run(lab: Lab) -> None:
    check_walls("codex", BubblewrapSandbox())
    for sandbox, name in ((DockerSandbox(), "docker"), (SeatbeltSandbox(), "seatbelt")):
        with pytest.raises(UsageError, match=f"by bubblewrap alone, not by {name}; give `--sandbox bubblewrap`"):
            check_walls("codex", sandbox)
    (lab.folder / "boxes.py").write_text(
        "from vibeserve_loop.sandboxes.none import NoneSandbox\nclass OwnSandbox(NoneSandbox):\n    pass\n"
    )
    done = lab.call("run", "lab", *lab.gate, "--agent", "acp command=cat", "--sandbox", "boxes:OwnSandbox")
    assert done.returncode == 4
    assert "agent acp: its program can be shut in by bubblewrap alone, not by boxes" in done.stderr
    assert not (lab.folder / "runs").exists()


@pytest.mark.parametrize("url", ["http://10.1.2.3:8000", "https://[2001:db8::1]"])
def test_an_endpoint_elsewhere_is_named_where_there_are_walls(url: str, lab: Lab) -> None:
    if BubblewrapSandbox().obstacle():
        pytest.skip("there is no bubblewrap here")
    words = ("run", "lab", *lab.gate, "--agent", f"acp command=cat base_url={url}")
    done = lab.call(*words, "--sandbox", "bubblewrap")
    assert done.returncode == 4
    assert "behind walls an endpoint elsewhere is reached by its name" in done.stderr


def test_a_command_is_made_absolute_when_the_run_is_made(lab: Lab) -> None:
    shutil.copy(AGENT, lab.folder / "agent.py")
    (lab.folder / "minimal").mkdir()
    command = f"{sys.executable} agent.py minimal"
    done = lab.run("--agent", f"acp command={shlex.quote(command)}", "--max-rounds", "0")
    assert done.returncode == 0, done.stderr
    assert f"{lab.folder}{os.sep}agent.py minimal" in (lab.latest / "run.json").read_text()
