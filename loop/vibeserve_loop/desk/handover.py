"""Work that is handed to somebody outside: where the brief waits, and how edits come back."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pytest_vibeserve.errors import InfrastructureError, UsageError
from pytest_vibeserve.report import write_atomically

LONGEST_SUMMARY = 400


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Waiting(_Record):
    """A round that waits for edits in the workspace."""

    round: int
    hypothesis: str
    workspace: str


class Submission(_Record):
    """What somebody handed in; `nothing` says that there is nothing more to try."""

    round: int
    summary: str
    nothing: bool = False


class Handover:
    """The folder beside a workspace: BRIEF.md and waiting.json are the loop's, submission.json is the other's."""

    def __init__(self, workspace: Path) -> None:
        """Take the workspace; its handover lies in `handoff` beside it."""
        self.folder = workspace.parent / "handoff"
        self._workspace = workspace

    @property
    def brief(self) -> Path:
        """The brief's file."""
        return self.folder / "BRIEF.md"

    def offer(self, number: int, hypothesis: str, words: str) -> None:
        """Lay out the brief of a round and begin to wait."""
        (self.folder / "submission.json").unlink(missing_ok=True)
        write_atomically(self.brief, words)
        found = Waiting(round=number, hypothesis=hypothesis, workspace=str(self._workspace.resolve()))
        write_atomically(self.folder / "waiting.json", found.model_dump_json() + "\n")

    def withdraw(self) -> None:
        """Wait no longer."""
        for name in ("waiting.json", "submission.json"):
            (self.folder / name).unlink(missing_ok=True)

    def waiting(self) -> Waiting:
        """What waits; UsageError when nothing does."""
        try:
            return Waiting.model_validate_json((self.folder / "waiting.json").read_bytes())
        except FileNotFoundError:
            raise UsageError(
                f"nothing waits for edits in {self._workspace}: start or resume its run with `--agent handoff` first"
            ) from None
        except ValidationError:
            raise InfrastructureError(f"{self.folder}/waiting.json is damaged; stop the run and resume it") from None

    def submit(self, summary: str, *, nothing: bool = False) -> Waiting:
        """Hand in what the workspace holds; UsageError when nothing waits or the summary is empty."""
        found = self.waiting()
        if not summary.strip():
            raise UsageError("say in one sentence what was changed: --summary TEXT")
        made = Submission(round=found.round, summary=summary.strip()[:LONGEST_SUMMARY], nothing=nothing)
        write_atomically(self.folder / "submission.json", made.model_dump_json() + "\n")
        return found

    def submission(self, number: int) -> Submission | None:
        """What was handed in for this round; None while nothing was."""
        try:
            found = Submission.model_validate_json((self.folder / "submission.json").read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            raise InfrastructureError(f"{self.folder / 'submission.json'} is damaged; submit again") from None
        return found if found.round == number else None
