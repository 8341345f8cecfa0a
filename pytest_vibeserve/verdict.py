"""From the findings of one session to its verdict and its report."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pytest_vibeserve.candidate import tree_digest
from pytest_vibeserve.comparison import whole
from pytest_vibeserve.findings import Findings
from pytest_vibeserve.insight import Insight
from pytest_vibeserve.report import (
    SCHEMA,
    CandidatePart,
    Ceiling,
    Comparison,
    Distribution,
    Environment,
    Hint,
    Measurement,
    Report,
    Seed,
    TargetPart,
    Verdict,
)
from pytest_vibeserve.settings import Settings
from pytest_vibeserve.target import Target
from pytest_vibeserve.weights import fetched_commit
from pytest_vibeserve.workload import Secret

ABOUT_ITSELF = ("scan", "residue")
PACKAGES = ("pytest-vibeserve", "pytest", "torch", "transformers", "numpy", "hypothesis", "pytest-benchmark")


def verdict(findings: Findings, depth: Literal["quick", "full"], loads: Sequence[str] = ()) -> Verdict:
    """Accepted only on positive evidence: something was judged, nothing failed, nothing stayed open.

    An acceptance names those of the `loads`, which objectives are stated at, that no test has asked for.
    """
    checks = findings.checks
    failed = [check for check in checks if check.result == "fail"]
    undecided = [check for check in checks if check.result == "inconclusive"]
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return Verdict(outcome="rejected", reason=f"{failed[0].name}: {failed[0].detail}{more}", checks=checks)
    if findings.infrastructure:
        return Verdict(outcome="infrastructure", reason=findings.infrastructure[0], checks=checks)
    if findings.interrupted:
        return Verdict(outcome="nothing", reason="interrupted before the end", checks=checks)
    if undecided:
        return Verdict(outcome="inconclusive", reason=f"{undecided[0].name}: {undecided[0].detail}", checks=checks)
    if not findings.passed_accuracy or not any(c.result == "pass" and c.name not in ABOUT_ITSELF for c in checks):
        return Verdict(outcome="nothing", reason="no accuracy test has judged an answer", checks=checks)
    if findings.unmatched:
        ran = f"{len(findings.ran)} of {len(findings.expected)} collected tests ran"
        reason = f"{ran}, which is not an acceptance: {findings.unmatched[0]}"
        return Verdict(outcome="infrastructure", reason=reason, checks=checks)
    provisional = _provisional(findings, depth)
    reason = _acceptance(findings, depth) + _unmeasured(findings, loads)
    return Verdict(outcome="accepted", reason=reason, provisional=provisional, checks=checks)


@dataclass(frozen=True, slots=True)
class Run:
    """When a session began (ISO 8601, UTC), how long it took, and how its candidate was kept apart."""

    started: str
    wall_s: float
    isolation: str


def assemble(settings: Settings, findings: Findings, secret: Secret, candidate: CandidatePart, run: Run) -> Report:
    """The whole report of one session."""
    comparison, beside = compared(findings, settings.target)
    insights = findings.of(Insight)
    return Report(
        schema=SCHEMA,
        target=TargetPart(
            name=settings.target.name,
            profile=settings.target.profile,
            digest=tree_digest(settings.target.folder, linked=True),
            suite_digest=tree_digest(Path(__file__).parent),
            model_commit=fetched_commit(settings.target),
        ),
        candidate=candidate,
        depth=settings.depth,
        seed=Seed(commitment=secret.commitment, reveal=secret.value),
        environment=environment(run.isolation),
        verdict=verdict(findings, settings.depth, [objective.load for objective in settings.target.objective]),
        measurements=tuple(findings.of(Measurement)),
        comparison=comparison,
        beside=beside,
        distributions=tuple(findings.of(Distribution)),
        hints=tuple(findings.of(Hint)),
        insight=insights[-1] if insights else None,
        ceilings=tuple(dict.fromkeys(findings.of(Ceiling))),
        tests=tuple(findings.ran),
        expected=tuple(findings.expected),
        skipped=tuple(findings.skipped),
        wall_s=round(run.wall_s, 2),
        started=run.started,
        command=settings.command,
        nonce=settings.nonce,
    )


def compared(findings: Findings, target: Target) -> tuple[Comparison | None, tuple[Comparison, ...]]:
    """The headline's comparison, which tells of all objectives, and those at other loads by themselves."""
    found = findings.of(Comparison)
    beside = tuple(one for one in found if one.load != target.headline.load)
    main = next((one for one in reversed(found) if one.load == target.headline.load), None)
    return (whole(main, beside, [one.load for one in target.objective]) if main else None), beside


def _provisional(findings: Findings, depth: str) -> bool:
    return depth == "quick" or bool(findings.deselected) or bool(findings.skipped)


def _acceptance(findings: Findings, depth: str) -> str:
    passed = sum(check.result == "pass" for check in findings.checks)
    parts = [f"{passed} checks passed"]
    if depth == "quick":
        parts.append("quick samples only")
    if findings.deselected:
        parts.append(f"{findings.deselected} tests deselected")
    if findings.skipped:
        parts.append(f"{len(findings.skipped)} tests skipped")
    return ", ".join(parts)


def _unmeasured(findings: Findings, loads: Sequence[str]) -> str:
    measured = {found.load for found in findings.of(Measurement)}
    lacking = [load for load in dict.fromkeys(loads) if load not in measured]
    if not lacking or findings.deselected or findings.skipped:
        return ""
    return f"; nothing was measured at {', '.join(lacking)}: write a test that calls evaluator.measure({lacking[0]!r})"


def environment(isolation: str) -> Environment:
    """What this gate ran on."""
    return Environment(
        isolation=isolation,
        platform=platform.platform(),
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        python=platform.python_version(),
        packages=dict(_versions()),
        gate=sys.executable,
    )


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, "missing"


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
