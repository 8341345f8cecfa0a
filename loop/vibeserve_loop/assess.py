"""Ask the gate: one isolated pytest process, whose report counts only when everything about it fits."""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_vibeserve.errors import ExitCode, InfrastructureError, UsageError
from pytest_vibeserve.report import Report, read_report, write_atomically
from pytest_vibeserve.target import Target
from vibeserve_loop.machine.devices import Device
from vibeserve_loop.machine.processes import Finished, Place, run_tethered
from vibeserve_loop.records import Assessment
from vibeserve_loop.review import TIMES, look_over

GRACE_S = 60.0
PYTEST = (sys.executable, "-I", "-B", "-m", "pytest")
UNISOLATED = "unisolated"
KEPT = (
    "PATH", "HOME", "TMPDIR", "VIBESERVE_CACHE", "XDG_CACHE_HOME", "DOCKER_HOST", "VIBESERVE_REFERENCE_DEVICE",
    "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE",
)  # fmt: skip
KEPT_FROM = ("VIBESERVE_DATA_", "HF_")
"""How variables begin that say where a data set lies, or where and by whose right (HF_TOKEN) the hub is asked.

Whatever a gate is given, a candidate gets an environment of its own, with nothing of this but its accelerators.
"""

SHOWN_FAILURES = 5
SHOWN_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class Case:
    """What to judge: a candidate's folder, its rival if any, and the folder that gets report and logs.

    `alpha` is the chance of a wrong "better" against the rival, None is the gate's own; `device` is what it may
    measure on, None is the machine as it is.
    """

    candidate: Path
    baseline: Path | None
    depth: Literal["quick", "full"]
    folder: Path
    alpha: float | None = None
    device: Device | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate for one target; `home`, outside every workspace, gets gate.ini and is where the process runs.

    `strict` accepts nothing that ran unisolated.  A `reviewer` reads the change first, and may only have more audited
    or ask for a person.  `insight` asks a quick gate too for a profiled pass of what is kept.  `waits_s` is what
    an executor may take beside the gate itself, which keeps its own limit there.
    """

    target: Target
    home: Path
    command: tuple[str, ...] = ()
    strict: bool = False
    reviewer: tuple[str, ...] = ()
    insight: bool = False
    waits_s: float = 0.0

    def assess(self, case: Case) -> Assessment:
        """Judge and measure; UsageError when the gate was asked wrongly, an `infrastructure` outcome when it failed."""
        case.folder.mkdir(parents=True, exist_ok=True)
        if not self.reviewer:
            return self._assess(case, 1)
        said = look_over(self.reviewer, case.baseline, case.candidate, case.folder)
        found = self._assess(case, 1 if said.ask == "nothing" else TIMES)
        return found.model_copy(update={"opinion": said})

    def _assess(self, case: Case, sampling: int) -> Assessment:
        report = case.folder / "report.json"
        report.unlink(missing_ok=True)
        nonce = secrets.token_hex(16)
        limit_s = limit_of(self.target) + self.waits_s
        where = case.device or Device()
        place = Place(self.home.resolve(), gate_environment(where), limit_s, case.folder / "gate.log", where.cores)
        finished = run_tethered([*self._launcher(), *self._options(case, nonce, sampling)], place)
        if finished.timed_out:
            return _void(f"the gate took longer than {limit_s:.0f} s and was stopped", finished)
        if finished.code == ExitCode.USAGE:
            raise UsageError(_complaint(finished))
        try:
            found = read_report(report)
        except InfrastructureError as error:
            return _void(f"{error}; it ended with {finished.code}: {_complaint(finished)}", finished)
        why = _misfit(found, nonce, finished.code) or (_shortfall(found, self.strict) if not finished.code else "")
        return _void(why, finished) if why else summary_of(found)

    def _launcher(self) -> tuple[str, ...]:
        return self.command or PYTEST

    def _options(self, case: Case, nonce: str, sampling: int) -> list[str]:
        ini = self.home / "gate.ini"
        write_atomically(ini, "[pytest]\n")
        folder = str(self.target.folder)
        options = ["-p", "pytest_benchmark.plugin", "-p", "pytest_vibeserve.plugin", "-p", "no:cacheprovider"]
        options += ["-c", str(ini.resolve()), "--rootdir", folder, "--confcutdir", folder]
        values = {
            "target": folder,
            "candidate": str(case.candidate.resolve()),
            "baseline": str(case.baseline.resolve()) if case.baseline else "",
            "depth": case.depth,
            "profile": self.target.profile,
            "report": str((case.folder / "report.json").resolve()),
            "server-log": str((case.folder / "server.log").resolve()),
            "nonce": nonce,
            "sampling": str(sampling) if sampling > 1 else "",
            "insight": "yes" if self.insight else "",
            "alpha": f"{case.alpha:.6g}" if case.alpha and case.baseline else "",
        }
        for name, value in values.items():
            options += [f"--vibeserve-{name}", value] if value else []
        return [*options, *(["--vibeserve-strict"] if self.strict else [])]


def limit_of(target: Target) -> float:
    """Seconds after which a gate for the target is stopped."""
    return target.limits.wall_s + GRACE_S


def summary_of(report: Report) -> Assessment:
    """The part of a report that later rounds need."""
    failed = [check for check in report.verdict.checks if check.result == "fail"][:SHOWN_FAILURES]
    return Assessment(
        outcome=report.verdict.outcome,
        reason=report.verdict.reason,
        depth=report.depth,
        failed=tuple(c.model_copy(update={"example": c.example[:SHOWN_CHARACTERS]}) for c in failed),
        measurements=tuple(m.model_copy(update={"samples": ()}) for m in report.measurements),
        comparison=report.comparison,
        hints=report.hints,
        insight=report.insight,
        target_digest=report.target.digest + report.target.suite_digest,
        tree=report.candidate.tree,
        command=report.command,
        wall_s=report.wall_s,
    )


def _misfit(report: Report, nonce: str, code: int) -> str:
    if report.nonce != nonce:
        return "the report is not from this gate: its nonce differs"
    if report.verdict.exit_code != code:
        return f"the gate ended with {code}, its report says {report.verdict.outcome}: {report.verdict.reason}"
    return ""


def _shortfall(report: Report, strict: bool) -> str:
    """What an acceptance lacks, in words: it needs every collected test to have run, once, and where it should."""
    if not report.expected or sorted(report.expected) != sorted(report.tests):
        missing = sorted({*report.expected} ^ {*report.tests})
        counts = f"{len(report.tests)} tests ran of {len(report.expected)} that were collected"
        return f"the gate accepted, but {counts}{f', not {missing[0]}' if missing else ''}"
    if strict and report.environment.isolation == UNISOLATED:
        return "the gate accepted what ran unisolated; `vibeserve-loop doctor` says what this machine lacks"
    return ""


def _void(reason: str, finished: Finished) -> Assessment:
    return Assessment(outcome="infrastructure", reason=reason, wall_s=finished.wall_s)


def _complaint(finished: Finished) -> str:
    """The line of the gate's output that says what went wrong: its last error, else its last line."""
    lines = [line.strip() for line in finished.output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "usageerror", "importerror", "e  "))]
    said = (errors or lines or ["it said nothing"])[-1]
    return said.removeprefix("ERROR: ").removeprefix("error: ")[:SHOWN_CHARACTERS]


def gate_environment(device: Device | None = None) -> dict[str, str]:
    """Nothing that Python or pytest obeys: where programs, caches, data, the hub, GPUs and the container engine are."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith(KEPT_FROM)}
    if device is not None and device.gpus:
        kept["CUDA_VISIBLE_DEVICES"] = ",".join(device.gpus)
    return {**kept, "LC_ALL": "C.UTF-8", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
