"""Candidates of known worth, made from a target's own starter: a gate must refuse the faults and accept the others."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.report import write_atomically

PROXY, PASSING = (Path(__file__).with_name(name) for name in ("fault_proxy.py", "fault_kinds.py"))
PACKAGE = Path("vibeserve_loop", "validation")
HONEST = "honest"
AUDIT, SAMPLED, INTERFACE = "judge.audit()", "judge.sampled()", "judge.interface()"
REPEATS, MEASURE = "judge.repeats()", "evaluator.measure(...)"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a candidate does, how the name of the check begins that should notice it, and what in a contract makes it.

    Several beginnings stand for any of them.  An honest kind has neither.
    """

    words: str
    check: str | tuple[str, ...] = ""
    seen_by: str = ""

    @property
    def checks(self) -> tuple[str, ...]:
        """The beginnings of the names of checks one of which should notice it."""
        return self.check if isinstance(self.check, tuple) else (self.check,)

    def noticed_by(self, check: str) -> bool:
        """Whether a failed check of that name, in whichever part of the gate, is one that should notice it."""
        return any(f".{stated}" in f".{check}" for stated in self.checks)

    @property
    def remedy(self) -> str:
        """What would see it."""
        if self.seen_by:
            return f"{self.seen_by} in a test would see it"
        return f"the check {' or '.join(self.checks)} should see it"


KINDS = {
    "cut": Kind("gives three quarters of the tokens asked for", "audit.max-tokens", AUDIT),
    "usage": Kind("claims twice the tokens in its usage", "audit.usage", AUDIT),
    "constant": Kind("answers every prompt as if it were one and the same", "audit", AUDIT),
    "shortened": Kind("reads only the last tokens of a prompt", "audit", AUDIT),
    "wrong-token": Kind("gives another token now and then", "audit", AUDIT),
    "fabricated": Kind("makes up the logprobs that it reports", "audit.logprobs", AUDIT),
    "greedy": Kind("ignores sampling", "sampled", SAMPLED),
    "copied": Kind("gives one draw for each of n choices", "sampled.copies", SAMPLED),
    "unstopped": Kind("ignores stop strings", "interface.stop", INTERFACE),
    "seedless": Kind("ignores the seed", "interface.seed", INTERFACE),
    "unbiased": Kind("ignores logit_bias", "interface.logit-bias", INTERFACE),
    "memoised": Kind("answers a prompt that came before from a store", "repeats", REPEATS),
    "buffered": Kind("holds a stream back until it is complete", "stream", MEASURE),
    "overloaded": Kind("refuses requests beyond four at a time", "audit.answered", f"{AUDIT} or {MEASURE}"),
    "passed-on": Kind("passes everything on as it is"),
    "paired": Kind("tells of two tokens in one event, as a draft that was verified does"),
    "queued": Kind("serves one request after the other"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One candidate of known worth: its name, its folder, and its kind."""

    name: str
    folder: Path
    kind: Kind

    @property
    def honest(self) -> bool:
        """Whether the gate must accept it."""
        return not self.kind.check


def built_in_faults(starter: Path, into: Path) -> list[Fault]:
    """Write every kind as a candidate below `into`: a proxy in front of a copy of a text target's starter."""
    try:
        table = tomllib.loads((starter / "candidate.toml").read_text(encoding="utf-8"))
        serve = table["serve"]
        honest = json.dumps({"command": serve["command"], "ready": serve["ready"]})
        build = [str(word) for word in table["build"]["command"]] if "build" in table else []
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{starter}/candidate.toml cannot be read: {error}; the starter must be a candidate") from None
    return [_written(name, into / name, starter, honest, build) for name in KINDS]


def _written(name: str, folder: Path, starter: Path, honest: str, build: Sequence[str]) -> Fault:
    shutil.copytree(starter, folder / HONEST, ignore=shutil.ignore_patterns("__pycache__", ".git"))
    (folder / HONEST / "candidate.toml").unlink()
    shutil.copy2(PROXY, folder / "server.py")
    package = folder / PACKAGE
    package.mkdir(parents=True)
    for place in (package, package.parent):
        (place / "__init__.py").touch()
    shutil.copy2(PASSING, package / PASSING.name)
    write_atomically(folder / "honest-serve.json", honest)
    words = ["python", "server.py", "--kind", name]
    for option in ("model", "host", "port"):
        words += [f"--{option}", f"{{{option}}}"]
    lines = ["schema = 1", "[serve]", f"command = {json.dumps(words)}", 'ready = "/v1/models"']
    if build:
        inside = json.dumps(["sh", "-c", f'cd {HONEST} && exec "$@"', "sh", *build])
        lines += ["[build]", f"command = {inside}"]
    write_atomically(folder / "candidate.toml", "\n".join(lines) + "\n")
    return Fault(name, folder, KINDS[name])
