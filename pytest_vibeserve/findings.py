"""What the tests of a session found, and whose each failure is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from pytest_vibeserve.errors import CandidateFailure, Inconclusive, InfrastructureError, UsageError
from pytest_vibeserve.insight import Insight
from pytest_vibeserve.report import Ceiling, Check, Comparison, Distribution, Hint, Measurement

PROPERTY = "vibeserve"
INFRASTRUCTURE = "vibeserve-infrastructure"
USAGE = "vibeserve-usage"
KINDS = {kind.__name__: kind for kind in (Check, Measurement, Comparison, Hint, Ceiling, Distribution, Insight)}
Record = Check | Measurement | Comparison | Hint | Ceiling | Distribution | Insight


def pack(record: Record) -> str:
    """A record as text that crosses processes."""
    return f"{type(record).__name__} {record.model_dump_json()}"


def unpack(text: str) -> Record:
    """The record of such a text."""
    kind, _, data = text.partition(" ")
    return KINDS[kind].model_validate_json(data)


Kind = TypeVar("Kind", Check, Measurement, Comparison, Hint, Ceiling, Distribution, Insight)


@dataclass(slots=True)
class Findings:
    """All that came in from the tests of one session, in order."""

    records: list[Record] = field(default_factory=list)
    infrastructure: list[str] = field(default_factory=list)
    usage: list[str] = field(default_factory=list)
    passed_accuracy: set[str] = field(default_factory=set)
    expected: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    deselected: int = 0
    interrupted: bool = False

    def of(self, kind: type[Kind]) -> list[Kind]:
        """The records of one kind."""
        return [record for record in self.records if isinstance(record, kind)]

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every check, a failed one first."""
        order = {"fail": 0, "inconclusive": 1, "skip": 2, "pass": 3}
        return tuple(sorted(self.of(Check), key=lambda check: order[check.result]))

    @property
    def unmatched(self) -> list[str]:
        """The tests that were collected and not run, or run more or less often than they were collected."""
        wanted, ran = Counter(self.expected), Counter(self.ran)
        return sorted({*(wanted - ran), *(ran - wanted)})

    def take(self, name: str, value: str) -> None:
        """Take in one property of a test's report; properties of others are passed over."""
        if name == PROPERTY:
            self.records.append(unpack(value))
        elif name == INFRASTRUCTURE:
            self.infrastructure.append(value)
        elif name == USAGE:
            self.usage.append(value)

    @property
    def rejected(self) -> bool:
        """Whether some check has failed."""
        return any(check.result == "fail" for check in self.checks)


def blame(item: pytest.Item, error: BaseException) -> Iterator[tuple[str, str]]:
    """Whose failure it is, as properties of the test; an error that nobody expected is never the candidate's."""
    if isinstance(error, UsageError):
        yield USAGE, str(error)
    elif isinstance(error, InfrastructureError) or _timed_out(error):
        yield INFRASTRUCTURE, str(error)
    elif isinstance(error, CandidateFailure):
        yield PROPERTY, pack(Check(name=error.check, result="fail", detail=error.message, example=error.example))
    elif isinstance(error, Inconclusive):
        if not _recorded(item, "inconclusive"):
            yield PROPERTY, pack(Check(name=item.name, result="inconclusive", detail=str(error)))
    elif isinstance(error, pytest.skip.Exception):
        yield PROPERTY, pack(Check(name=item.name, result="skip", detail=str(error)))
    elif isinstance(error, (AssertionError, pytest.fail.Exception)):
        if not _recorded(item, "fail"):
            yield PROPERTY, pack(Check(name=item.name, result="fail", detail=str(error).split("\n", 1)[0]))
    elif isinstance(error, Exception):
        yield INFRASTRUCTURE, f"{item.nodeid}: {type(error).__name__}: {error}"


def _timed_out(error: BaseException) -> bool:
    """Whether pytest-timeout ended the test, which says nothing about the candidate."""
    return isinstance(error, pytest.fail.Exception) and "pytest-timeout" in str(error)


def _recorded(item: pytest.Item, result: str) -> bool:
    records = [unpack(str(value)) for name, value in item.user_properties if name == PROPERTY]
    return any(isinstance(record, Check) and record.result == result for record in records)
