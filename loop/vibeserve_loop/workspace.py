"""The git repository of a run; the one module that knows GitPython."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_vibeserve.errors import InfrastructureError, UsageError
from pytest_vibeserve.report import write_atomically
from vibeserve_loop.git_objects import LARGEST_KEPT, GitObjects

if TYPE_CHECKING:
    from git import Git, Repo

ROUNDS = "refs/vibeserve/rounds"
WINNER = "refs/vibeserve/winner"
NO_GIT = "git is not installed: install it (for example `apt-get install git`) and run again"
# What a machine's or a user's own settings would change must not change a run: no hooks, no filters, no ignores.
OPTIONS = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.excludesFile=/dev/null",
    "core.attributesFile=/dev/null",
    "core.autocrlf=false",
    "core.quotePath=false",
    "gc.auto=0",
]
GIT_NAMES = (".git", "git~1")
"""Names that git takes for a repository's, in any case of letters, and never for files of one."""
IDENTITY = ("vibeserve-loop", "loop@vibeserve.invalid")


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit and the tree in it, as hashes."""

    sha: str
    tree: str


class Workspace:
    """A checkout that agents edit, and the commits of every round, rejected ones too."""

    def __init__(self, folder: Path, store: Path | None = None) -> None:
        """Take the folder as it is; `store` is the `.git` that keeps its commits; UsageError when git is missing."""
        if shutil.which("git") is None:
            raise UsageError(NO_GIT)
        self.folder = folder
        self._store = store
        self._objects = GitObjects(store or folder / ".git")
        self._exporting = threading.Lock()

    @property
    def borrowed(self) -> tuple[Path, ...]:
        """The folder of objects that git reads here and that lies elsewhere; empty where all lies in the folder."""
        return () if self._store is None else ((self._store / "objects").resolve(),)

    def beside(self, folder: Path) -> Workspace:
        """A further checkout, as it is or made now; its commits are kept here, and its git reads them from here."""
        found = Workspace(folder, self.folder / ".git")
        alternates = folder / ".git" / "objects" / "info" / "alternates"
        if not alternates.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with found._repo(new=True):
                alternates.parent.mkdir(exist_ok=True)
                write_atomically(alternates, f"{found.borrowed[0]}\n")
        found.unlock()
        return found

    def begin(self, starter: Path, moment: float) -> Commit:
        """Make the repository from the starter's files, in place of a half-made one."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        shutil.copytree(starter, self.folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", ".git"))
        with self._repo(new=True):
            pass
        first = self.commit("starter", None, moment)
        self.move(first.sha)
        return first

    def checkout(self, sha: str) -> None:
        """Make the folder hold exactly that commit's files; git's index is brought up to date by `settle`."""
        if self._store is not None:
            GitObjects(self.folder / ".git").point("refs/heads/main", sha)
        try:
            self._restore(sha)
        except (OSError, RecursionError, InfrastructureError):
            # A session may leave folders that nobody may enter, or that nest deeper than calls do.
            emptied(self.folder)
            self._restore(sha)

    def _restore(self, sha: str) -> None:
        if tree := self._objects.plain_tree(sha):
            self._objects.restore(tree, self.folder)
            return
        _drop_largest(self.folder)
        with self._repo() as repo:
            _git(repo).reset("--hard", "--quiet", sha)
            _git(repo).clean("-ffdxq")

    def unlock(self) -> None:
        """Take away the lock of a git that was killed; only the one loop that holds the run may call this."""
        (self.folder / ".git" / "index.lock").unlink(missing_ok=True)

    def settle(self) -> None:
        """Bring git's index to the branch's commit, so that git sees the folder as it is."""
        with self._repo() as repo:
            _git(repo).read_tree("HEAD")

    def changes(self) -> str:
        """What differs from the branch, as `git status --porcelain` says it; empty when nothing does."""
        self.settle()
        with self._repo() as repo:
            return str(_git(repo).status("--porcelain"))

    def drop_nested(self) -> tuple[str, ...]:
        """Take away repositories that a session left inside, whose files git would else pass over; their folders."""
        found = []
        for top, names, files in os.walk(self.folder):
            for name in [*names, *files]:
                own = Path(top) == self.folder and name == ".git"
                if name.lower() in GIT_NAMES and not own:
                    found.append(Path(top, name))
            names[:] = [name for name in names if name.lower() not in GIT_NAMES]
        for path in found:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        return tuple(sorted(str(path.relative_to(self.folder)) for path in found))

    def commit(self, message: str, parent: str | None, moment: float) -> Commit:
        """Record the folder as it is; the same files, parent and moment (seconds since 1970) give the same hash."""
        if tree := self._objects.snapshot(self.folder):
            name, address = IDENTITY
            signature = f"{name} <{address}> {int(moment)} +0000"
            return Commit(self._objects.commit(tree, parent, signature, message), tree)
        with self._repo() as repo:
            if parent:
                _git(repo).read_tree(parent)
            _git(repo).add("-A")
            tree = str(_git(repo).write_tree())
            parents = ["-p", parent] if parent else []
            repo.git.update_environment(**_signature(moment))
            return Commit(str(_git(repo).commit_tree(tree, *parents, "-m", message)), tree)

    def keep(self, number: int, sha: str) -> None:
        """Make a round's commit reachable for good."""
        self._point(f"{ROUNDS}/{number}", sha)

    def crown(self, sha: str) -> None:
        """Name the winner."""
        self._point(WINNER, sha)

    def move(self, sha: str) -> None:
        """Set the branch and the folder to a commit."""
        self._point("refs/heads/main", sha)
        self.checkout(sha)

    def export(self, sha: str, into: Path) -> Path:
        """Write a commit's files, and nothing of git, to a folder, whole or not at all."""
        with self._exporting:
            return into if into.is_dir() else self._exported(sha, into)

    def _exported(self, sha: str, into: Path) -> Path:
        half = into.with_name(f".{into.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        if tree := self._objects.plain_tree(sha):
            self._objects.restore(tree, half)
            half.rename(into)
            return into
        with self._repo() as repo:
            repo.git.update_environment(GIT_INDEX_FILE=str(half.with_suffix(".index").resolve()))
            _git(repo).read_tree(sha)
            _git(repo).checkout_index("-a", f"--prefix={half.resolve()}/")
        half.with_suffix(".index").unlink()
        half.rename(into)
        return into

    def diff(self, before: str, after: str, *, binary: bool = False) -> str:
        """The patch from one commit to another, its last line feed left out; `binary` makes it one to apply."""
        words = ("--binary", "--no-renames") if binary else ()
        with self._repo() as repo:
            return str(_git(repo).diff("--no-ext-diff", "--no-textconv", *words, before, after))

    def commit_of(self, revision: str) -> Commit:
        """The commit that a revision means; UsageError when there is none."""
        with self._repo() as repo:
            from git import GitCommandError

            try:
                sha = str(_git(repo).rev_parse("--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"))
                return Commit(sha, str(_git(repo).rev_parse(f"{sha}^{{tree}}")))
            except GitCommandError:
                raise UsageError(f"{self.folder} has no commit {revision!r}; `vibeserve-loop log` lists them") from None

    def holds(self, commit: Commit) -> bool:
        """Whether a commit that was made here is still there with its tree."""
        return self._objects.holds(commit.sha) and self._objects.holds(commit.tree)

    def _point(self, ref: str, sha: str) -> None:
        self._objects.point(ref, sha)

    @contextlib.contextmanager
    def _repo(self, *, new: bool = False) -> Iterator[Repo]:
        try:
            from git import Git, GitCommandError, InvalidGitRepositoryError, NoSuchPathError, Repo
        except ImportError:
            raise UsageError(NO_GIT) from None
        try:
            if new:
                plain = Git(str(self.folder))
                plain.update_environment(**_environment())
                plain.init("--quiet", "--template=", "--initial-branch=main")
            with Repo(self.folder) as repo:
                repo.git.update_environment(**_environment())
                if self._store is not None and not new:
                    repo.git.update_environment(GIT_OBJECT_DIRECTORY=str(self.borrowed[0]))
                yield repo
        except (InvalidGitRepositoryError, NoSuchPathError):
            raise UsageError(f"{self.folder} is not a git repository: the run is damaged, start a new one") from None
        except GitCommandError as error:
            reason = (error.stderr or str(error)).strip().removeprefix("stderr: ").strip("' \n")
            raise InfrastructureError(f"git failed in {self.folder}: {reason}") from error


def emptied(folder: Path) -> None:
    """Take everything but git's own out of a folder, however deep it nests and whoever may enter what is in it."""
    folder.chmod(0o755)
    within = ["find", str(folder.resolve()), "-mindepth", "1", "-maxdepth", "1", "!", "-name", ".git"]
    for words in (["-type", "d", "-exec", "chmod", "-R", "u+rwX"], ["-exec", "rm", "-rf"]):
        subprocess.run([*within, *words, "{}", "+"], capture_output=True, check=False)


def _drop_largest(folder: Path) -> None:
    """Take away files that git would read to their end only to find that they differ."""
    for top, names, files in os.walk(folder):
        names[:] = [name for name in names if name != ".git"]
        for path in (Path(top, name) for name in files):
            if path.lstat().st_size > LARGEST_KEPT:
                path.unlink()


def _git(repo: Repo) -> Git:
    return repo.git(c=OPTIONS)


def _environment() -> dict[str, str]:
    return {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
    }


def _signature(moment: float) -> dict[str, str]:
    name, address = IDENTITY
    date = f"{int(moment)} +0000"
    parts = {"NAME": name, "EMAIL": address, "DATE": date}
    return {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in parts.items()}
