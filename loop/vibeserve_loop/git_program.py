"""The git program on one repository, with no setting of the machine's or the user's in force."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.errors import InfrastructureError, UsageError

NO_GIT = "git is not installed: install it (for example `apt-get install git`) and run again"
# What a machine's or a user's own settings would change must not change a run: no hooks, no filters, no ignores.
SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.excludesFile=/dev/null",
    "core.attributesFile=/dev/null",
    "core.autocrlf=false",
    "core.quotePath=false",
    "gc.auto=0",
)
ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C.UTF-8",
}


class Refused(Exception):
    """Git ended with an error; the message is what it said."""


@dataclass(frozen=True, slots=True)
class GitProgram:
    """Git for a checkout; `objects`, where given, is where new objects are written."""

    folder: Path
    objects: Path | None = None

    def call(self, *words: str, **variables: str) -> str:
        """What git says, without the last line's end; InfrastructureError when it fails."""
        try:
            return self.tried(*words, **variables)
        except Refused as refused:
            raise InfrastructureError(f"git failed in {self.folder}: {refused}") from None

    def tried(self, *words: str, **variables: str) -> str:
        """The same for what may fail; Refused then, UsageError where there is no repository."""
        if not (self.folder / ".git").is_dir():
            raise UsageError(f"{self.folder} is not a git repository: the run is damaged, start a new one")
        where = (f"--git-dir={self.folder / '.git'}", f"--work-tree={self.folder}")
        return self._ran((*where, *words), variables)

    def begin(self) -> None:
        """Make an empty repository in the folder."""
        try:
            self._ran(("init", "--quiet", "--template=", "--initial-branch=main"), {})
        except Refused as refused:
            raise InfrastructureError(f"git failed in {self.folder}: {refused}") from None

    def _ran(self, words: tuple[str, ...], variables: dict[str, str]) -> str:
        settings = [part for setting in SETTINGS for part in ("-c", setting)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        store = {"GIT_OBJECT_DIRECTORY": str(self.objects)} if self.objects else {}
        done = subprocess.run(
            ["git", *settings, *words], cwd=self.folder, env={**kept, **ENVIRONMENT, **store, **variables},
            capture_output=True, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise Refused(said or f"it ended with {done.returncode}")
        return done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")


def require_git() -> None:
    """UsageError when git is missing."""
    if shutil.which("git") is None:
        raise UsageError(NO_GIT)
