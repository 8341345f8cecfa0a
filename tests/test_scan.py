"""What a look at the source finds, and that it refuses nothing by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_vibeserve.scan import Suspicion, scan

STARTER = Path(__file__).resolve().parents[1] / "targets" / "tiny_llama" / "starter"
NOTICED = {
    "answers[hash(prompt)] = text": "makes a key of what it is asked",
    "key = hashlib.sha256(body.encode()).hexdigest()": "makes a key of what it is asked",
    "@functools.lru_cache\ndef answer(prompt): ...": "keeps what it answers by what it is asked",
    "open('/etc/hostname')": "names a place outside its folder (/etc/hostname)",
    "data = Path('../secrets').read_text()": "names a place outside its folder (../secrets)",
    "path = '/dev/shm/answers'": "names a place outside its folder (/dev/shm/answers)",
    "time.sleep(0.01)": "waits on a timer",
    "threading.Timer(5, warm).start()": "waits on a timer",
    "if time.time() > deadline: pass": "branches on the time",
    "hour = datetime.datetime.now().hour": "asks for the time of day",
    "if 'benchmark' in headers['user-agent']: pass": "branches on what looks like a test",
    "fast = 1 if is_test_run else 0": "branches on what looks like a test",
    "subprocess.Popen(['sleep', '9'])": "starts another program",
    "os.fork()": "starts another program",
    "ctypes.CDLL(None).ptrace(0)": "reaches into the C library",
    "ctypes.CDLL('libc.so.6')": "reaches into the C library",
    "frame = sys._getframe(1)": "looks at who calls",
    "os._exit(0)": "ends the process",
    "time.perf_counter = fake": "replaces a part of another module",
    "model = torch.quantization.quantize_dynamic(model)": "lowers precision",
    f"table = {'x' * 3000!r}": "holds a literal of 3000 characters",
    "socket.create_connection(('1.1.1.1', 53))": "connects somewhere",
    "def broken(:": "cannot be parsed as Python",
}
HARMLESS = [
    "asyncio.sleep(0)",
    "latest = contest = 3\nif latest: pass",
    f'"""{"A long description. " * 200}"""',
    "library = ctypes.CDLL(str(folder / 'step.so'))",
    "key = hash((1, 2))",
    "@functools.cache\ndef table(size): ...",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "candidate"
    made.mkdir()
    return made


@pytest.mark.parametrize("source", NOTICED)
def test_it_names_file_line_and_reason(folder: Path, source: str) -> None:
    (folder / "server.py").write_text(f"import os\n{source}\n")
    found = [str(flag) for flag in scan(folder).flags]
    assert any(re_said.startswith("server.py:") and re_said.endswith(NOTICED[source]) for re_said in found), found


@pytest.mark.parametrize("source", HARMLESS)
def test_ordinary_code_is_passed_over(folder: Path, source: str) -> None:
    (folder / "server.py").write_text(f"{source}\n")
    assert scan(folder).flags == ()


def test_the_starter_raises_no_flag() -> None:
    assert scan(STARTER) == Suspicion()


def test_other_languages_and_large_data_are_looked_at_as_well(folder: Path) -> None:
    (folder / "step.cpp").write_text('int main() {\n  return system("x");\n}\n')
    (folder / "table.json").write_text("[" + "1," * 40_000 + "1]")
    assert [str(flag) for flag in scan(folder).flags] == ["step.cpp:2 calls system", "table.json:1 is 78 KiB of data"]


def test_its_own_tests_and_its_build_are_passed_over(folder: Path) -> None:
    (folder / "tests").mkdir()
    for name in ("tests/any.py", "test_it.py", "conftest.py", "build.py"):
        (folder / name).write_text("import subprocess\nsubprocess.run(['true'])\n")
    assert [flag.file for flag in scan(folder).flags] == ["build.py"]
    assert scan(folder, ("python", "build.py")).flags == ()


def test_the_more_stands_out_the_more_is_sampled(folder: Path) -> None:
    assert scan(folder).sampling == 1
    (folder / "server.py").write_text("import time\ntime.sleep(1)\n")
    assert scan(folder).sampling == 2
    (folder / "server.py").write_text("import time\n" + "time.sleep(1)\n" * 9)
    assert scan(folder).sampling == 4


def test_what_stands_out_is_told_and_decides_nothing(folder: Path) -> None:
    quiet = scan(folder).check
    assert (quiet.result, quiet.statistic) == ("pass", 0)
    (folder / "server.py").write_text("import time\ntime.sleep(1)\n")
    told = scan(folder).check
    assert (told.name, told.result, told.statistic) == ("scan", "skip", 1)
    assert "server.py:2 waits on a timer" in told.detail
