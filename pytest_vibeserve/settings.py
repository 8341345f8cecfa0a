"""What the user asked for, checked before anything is started."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

from pytest_vibeserve.candidate import load_candidate
from pytest_vibeserve.errors import CandidateFailure, UsageError
from pytest_vibeserve.hardware import require_hardware, require_memory
from pytest_vibeserve.library import nearest, shelves
from pytest_vibeserve.statistics import ALPHA
from pytest_vibeserve.target import Target, load_target

LARGEST_ALPHA = 0.25
MOST_SAMPLING = 16


@dataclass(frozen=True, slots=True)
class Settings:
    """One gate: the target, what is judged by it, how deep, and where the findings go."""

    target: Target
    candidate: Path | None
    url: str
    baseline: Path | None
    depth: Literal["quick", "full"]
    report: Path
    markdown: Path | None
    server_log: Path | None
    nonce: str
    strict: bool = False
    markdown_is_shared: bool = False
    bencher: Path | None = None
    github_benchmark: Path | None = None
    alpha: float = ALPHA
    sampling: int = 1
    insight: Literal["", "yes", "no"] = ""

    @property
    def looks_inside(self) -> bool:
        """Whether a profiled pass is made: as asked, else at full depth; a running server cannot be started again."""
        return self.candidate is not None and (self.insight == "yes" or (not self.insight and self.depth == "full"))

    @property
    def command(self) -> str:
        """The command that does this again."""
        parts = ["pytest", "--vibeserve-target", _shown(self.target)]
        parts += ["--vibeserve-url", self.url] if self.url else ["--vibeserve-candidate", str(self.candidate)]
        if self.baseline:
            parts += ["--vibeserve-baseline", str(self.baseline)]
        if self.target.profile != "full":
            parts += ["--vibeserve-profile", self.target.profile]
        parts += ["--vibeserve-depth", self.depth]
        if self.baseline and self.alpha != ALPHA:
            parts += ["--vibeserve-alpha", f"{self.alpha:g}"]
        parts += ["--vibeserve-sampling", str(self.sampling)] if self.sampling > 1 else []
        parts += ["--vibeserve-insight", self.insight] if self.insight else []
        parts += ["--vibeserve-strict"] if self.strict else []
        return shlex.join(parts)


def read_settings(option: Callable[[str], str], base: Path) -> Settings:
    """Settings from the options by name; paths are relative to `base`; UsageError says what to type instead."""
    target = load_target(option("target"), option("profile") or "full")
    candidate, url = option("candidate"), option("url")
    if bool(candidate) == bool(url):
        said = "both are given" if candidate else "neither is given"
        raise UsageError(
            f"give one of --vibeserve-candidate DIR (to start and judge it) and --vibeserve-url URL; {said}"
        )
    if url and not _is_address(url):
        raise UsageError(f"--vibeserve-url {url!r} should look like http://127.0.0.1:8000")
    if url and option("baseline"):
        raise UsageError("--vibeserve-baseline needs --vibeserve-candidate: a running server cannot be put to sleep")
    depth = option("depth") or "full"
    if depth not in ("quick", "full"):
        raise UsageError(f"--vibeserve-depth takes quick or full, not {depth!r}")
    if candidate:
        require_hardware(target)
        require_memory(target, bool(option("baseline")))
    summary = os.environ.get("GITHUB_STEP_SUMMARY", "")
    markdown = option("markdown") or summary
    return Settings(
        target=target,
        candidate=_folder(base, candidate, target) if candidate else None,
        url=url,
        baseline=_baseline(base, option("baseline"), target) if option("baseline") else None,
        depth=cast("Literal['quick', 'full']", depth),
        report=base / (option("report") or "report.json"),
        markdown=base / markdown if markdown else None,
        server_log=base / option("server-log") if option("server-log") else None,
        nonce=option("nonce"),
        strict=_is_yes(option("strict")),
        markdown_is_shared=bool(summary) and base / markdown == base / summary,
        bencher=base / option("bencher") if option("bencher") else None,
        github_benchmark=base / option("github-benchmark") if option("github-benchmark") else None,
        alpha=_alpha(option("alpha")),
        sampling=_sampling(option("sampling")),
        insight=_insight(option("insight")),
    )


def _alpha(given: str) -> float:
    """A chance; UsageError for what is none, and for one so large that anything would be called better."""
    try:
        alpha = float(given or ALPHA)
    except ValueError:
        alpha = -1.0
    if not 0 < alpha <= LARGEST_ALPHA:
        raise UsageError(f"--vibeserve-alpha takes a chance above 0 and up to {LARGEST_ALPHA}, not {given!r}")
    return alpha


def _sampling(given: str) -> int:
    """How many times as much to audit, 1 unless it is said."""
    if (given or "1") not in {str(times) for times in range(1, MOST_SAMPLING + 1)}:
        raise UsageError(f"--vibeserve-sampling takes a whole number from 1 to {MOST_SAMPLING}, not {given!r}")
    return int(given or 1)


def _insight(given: str) -> Literal["", "yes", "no"]:
    if given not in ("", "yes", "no"):
        raise UsageError(f"--vibeserve-insight takes yes or no, not {given!r}")
    return cast("Literal['', 'yes', 'no']", given)


def _is_yes(said: str) -> bool:
    if said not in ("", "yes", "no", "true", "false"):
        raise UsageError(f"vibeserve_strict takes yes or no, not {said!r}")
    return said in ("yes", "true")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _folder(base: Path, given: str, target: Target) -> Path:
    """A folder by path, or by name among the target's own: its starter and its baselines."""
    own = target.own_candidates
    path = (base / Path(given).expanduser()).resolve()
    if path.is_dir():
        return path
    if given in own:
        return own[given]
    raise UsageError(f"there is no folder {given!r}; give a path, or one of {target.name}'s own: {nearest(given, own)}")


def _baseline(base: Path, given: str, target: Target) -> Path:
    """Its folder; UsageError where it cannot be started at all, minutes before anybody would start it."""
    folder = _folder(base, given, target)
    try:
        load_candidate(folder)
    except CandidateFailure as failure:
        raise UsageError(f"--vibeserve-baseline {given}: {failure.message}") from None
    return folder


def _shown(target: Target) -> str:
    """A shipped target by its name, which is known everywhere; any other by its path."""
    shipped = target.folder.parent in shelves("targets")[1:]
    return target.folder.name if shipped else str(target.folder)
