"""How a modality's judge ends: checks are recorded, the first that failed is raised; doubling while undecided."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_vibeserve.errors import ContractBroken, Inconclusive
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.report import Check

DOUBLINGS = 3


def conclude(bench: Bench, checks: Sequence[Check]) -> list[Check]:
    """Record the checks; ContractBroken for the first that failed, Inconclusive for the first left open."""
    for check in checks:
        bench.record(check)
    for check in checks:
        if check.result == "fail":
            raise ContractBroken(f"{check.name}: {check.detail}" + (f"; {check.example}" if check.example else ""))
    for check in checks:
        if check.result == "inconclusive":
            raise Inconclusive(f"{check.name}: {check.detail}; more samples would be needed than the limits allow")
    return list(checks)


def refused_at_once(bench: Bench, checks: Sequence[Check]) -> None:
    """Conclude where the first few answers break what allows no breach; say nothing of them otherwise."""
    conclude(bench, [check for check in checks if check.result == "fail"])


def decided(bench: Bench, stage: Callable[[int], list[Check]]) -> list[Check]:
    """The conclusion over `stage(0)`, `stage(1)` ..., each on twice the sample, until nothing is left open."""
    checks: list[Check] = []
    for number in range(DOUBLINGS + 1):
        checks = stage(number)
        results = {check.result for check in checks}
        if "fail" in results or "inconclusive" not in results:
            break
    return conclude(bench, checks)


def passed_over(bench: Bench, name: str, why: str) -> None:
    """Record that a property says nothing here."""
    bench.record(Check(name=name, result="skip", detail=why))


def counted(name: str, breaches: Sequence[str], total: int, what: str) -> Check:
    """A check that allows no breach; the first one is its detail."""
    return Check(
        name=name, result="fail" if breaches else "pass", statistic=len(breaches), threshold=0, unit="breaches",
        detail=breaches[0] if breaches else f"{total} {what}", example=breaches[0] if breaches else "",
    )  # fmt: skip
