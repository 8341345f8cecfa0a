"""The part of Modal's library that the sandbox uses, on this machine: a sandbox is a namespace with its own root.

Names, arguments and errors are those of modal 1.6; a test holds the names against the library where it is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ALIVE: list[Sandbox] = []


class exception:
    class Error(Exception):
        pass

    class ExecTimeoutError(Error):
        pass

    class AuthError(Error):
        pass


class App:
    @staticmethod
    def lookup(name: str, *, create_if_missing: bool = False) -> App:
        if Path(tempfile.gettempdir(), "modal-double-refuses").exists():
            raise exception.AuthError("Token missing")
        return App()


class Image:
    @staticmethod
    def debian_slim(python_version: str) -> Image:
        return Image()


class _Stream:
    def __init__(self, text: str) -> None:
        self._text = text

    def read(self) -> str:
        return self._text


class _Process:
    def __init__(self, words: list[str], timeout: int, memory_mib: int) -> None:
        self._words, self._timeout, self._memory = words, timeout, memory_mib
        self._code = self._run()

    def _run(self) -> int:
        bounded = ["prlimit", f"--data={self._memory << 20}"] if self._memory else []
        process = subprocess.Popen(
            [*bounded, *self._words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            output, errors = process.communicate(timeout=self._timeout)
            code = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            code = -1
        self.stdout, self.stderr = _Stream(output), _Stream(errors)
        return code if code >= -1 else 128 - code

    def wait(self) -> int:
        return self._code


class _Files:
    def __init__(self, root: Path) -> None:
        self._root = root

    def write_bytes(self, data: bytes, remote_path: str) -> None:
        (self._root / remote_path.lstrip("/")).write_bytes(data)

    def read_bytes(self, remote_path: str) -> bytes:
        return (self._root / remote_path.lstrip("/")).read_bytes()


class Sandbox:
    """A root of its own: the system's folders shown read-only, everything else only what was sent."""

    def __init__(self, root: Path, network: bool, memory_mib: int) -> None:
        self._root, self._network, self._memory = root, network, memory_mib
        self.filesystem = _Files(root)
        self.terminated = False

    @staticmethod
    def create(
        *words: str, app: App, image: Image, timeout: int, block_network: bool = False,
        outbound_domain_allowlist: list[str] | None = None, memory: tuple[int, int] | None = None,
    ) -> Sandbox:  # fmt: skip
        assert not (block_network and outbound_domain_allowlist)
        root = Path(tempfile.mkdtemp(prefix="modal-double-"))
        (root / "tmp").mkdir()
        made = Sandbox(root, not block_network, memory[0] if memory else 0)
        ALIVE.append(made)
        return made

    def exec(self, *words: str, workdir: str = "/", timeout: int = 60) -> _Process:
        if self.terminated:
            raise exception.Error("the sandbox has ended")
        walls = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
        walls += ["--bind", str(self._root), "/"]
        walls += ["--share-net"] if self._network else []
        for path in ("/usr", "/bin", "/sbin", "/lib", "/lib64", sys.prefix, sys.base_prefix):
            walls += ["--ro-bind-try", path, path]
        walls += ["--proc", "/proc", "--dev", "/dev", "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin"]
        walls += ["--setenv", "HOME", "/tmp", "--chdir", workdir]
        mine = [sys.executable if word == "python3" else word for word in words]
        return _Process([*walls, *mine], timeout, self._memory)

    def terminate(self) -> None:
        self.terminated = True
        shutil.rmtree(self._root, ignore_errors=True)
