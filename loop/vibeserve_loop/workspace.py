"""The git repository of a run: loose objects written here where that is all git would do, the program for the rest."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.report import write_atomically
from vibeserve_loop.git_objects import GitObjects
from vibeserve_loop.git_program import GitProgram, Refused, require_git

ROUNDS = "refs/vibeserve/rounds"
WINNER = "refs/vibeserve/winner"
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
        require_git()
        self.folder = folder
        self._store = store
        self._objects = GitObjects(store or folder / ".git")
        self._git = GitProgram(folder.absolute(), (store / "objects").absolute() if store else None)
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
            GitProgram(folder).begin()
            alternates.parent.mkdir(exist_ok=True)
            write_atomically(alternates, f"{found.borrowed[0]}\n")
        found.unlock()
        return found

    def begin(self, starter: Path, moment: float) -> Commit:
        """Make the repository from the starter's files, in place of a half-made one."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        shutil.copytree(starter, self.folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", ".git"))
        self._git.begin()
        first = self.commit("starter", None, moment)
        self.move(first.sha)
        return first

    def checkout(self, sha: str) -> None:
        """Make the folder hold exactly that commit's files; git's index is brought up to date by `settle`."""
        if self._store is not None:
            GitObjects(self.folder / ".git").point("refs/heads/main", sha)
        if tree := self._objects.plain_tree(sha):
            self._objects.restore(tree, self.folder)
            return
        self._git.call("reset", "--hard", "--quiet", sha)
        self._git.call("clean", "-ffdxq")

    def unlock(self) -> None:
        """Take away the lock of a git that was killed; only the one loop that holds the run may call this."""
        (self.folder / ".git" / "index.lock").unlink(missing_ok=True)

    def settle(self) -> None:
        """Bring git's index to the branch's commit, so that git sees the folder as it is."""
        self._git.call("read-tree", "HEAD")

    def changes(self) -> str:
        """What differs from the branch, as `git status --porcelain` says it; empty when nothing does."""
        self.settle()
        return self._git.call("status", "--porcelain")

    def commit(self, message: str, parent: str | None, moment: float) -> Commit:
        """Record the folder as it is; the same files, parent and moment (seconds since 1970) give the same hash."""
        if tree := self._objects.snapshot(self.folder):
            name, address = IDENTITY
            signature = f"{name} <{address}> {int(moment)} +0000"
            return Commit(self._objects.commit(tree, parent, signature, message), tree)
        if parent:
            self._git.call("read-tree", parent)
        self._git.call("add", "-A")
        tree = self._git.call("write-tree")
        parents = ("-p", parent) if parent else ()
        return Commit(self._git.call("commit-tree", tree, *parents, "-m", message, **_signature(moment)), tree)

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
        index = {"GIT_INDEX_FILE": str(half.with_suffix(".index").resolve())}
        self._git.call("read-tree", sha, **index)
        self._git.call("checkout-index", "-a", f"--prefix={half.resolve()}/", **index)
        half.with_suffix(".index").unlink()
        half.rename(into)
        return into

    def diff(self, before: str, after: str) -> str:
        """The patch from one commit to another."""
        return self._git.call("diff", "--no-ext-diff", "--no-textconv", before, after)

    def commit_of(self, revision: str) -> Commit:
        """The commit that a revision means; UsageError when there is none."""
        try:
            sha = self._git.tried("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        except Refused:
            raise UsageError(f"{self.folder} has no commit {revision!r}; `vibeserve-loop log` lists them") from None
        return Commit(sha, self._git.call("rev-parse", f"{sha}^{{tree}}"))

    def holds(self, commit: Commit) -> bool:
        """Whether a commit that was made here is still there with its tree."""
        return self._objects.holds(commit.sha) and self._objects.holds(commit.tree)

    def _point(self, ref: str, sha: str) -> None:
        self._objects.point(ref, sha)


def _signature(moment: float) -> dict[str, str]:
    name, address = IDENTITY
    date = f"{int(moment)} +0000"
    parts = {"NAME": name, "EMAIL": address, "DATE": date}
    return {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in parts.items()}
