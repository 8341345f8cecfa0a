"""The three kinds of failure, and the exit code that each of them ends with."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How the gate and the loop end; the numbers are part of the contract."""

    ACCEPTED = 0
    REJECTED = 1
    INTERRUPTED = 2
    INFRASTRUCTURE = 3
    USAGE = 4
    NOTHING = 5
    INCONCLUSIVE = 6


class VibeserveError(Exception):
    """Something that ends a command with an exit code of its own."""

    exit_code = ExitCode.INFRASTRUCTURE


class UsageError(VibeserveError):
    """The user erred; the message says what to type instead."""

    exit_code = ExitCode.USAGE


class InfrastructureError(VibeserveError):
    """The machine or the gate itself failed; nothing is said about the candidate."""


class ContractBroken(AssertionError):
    """The candidate failed a check; the message is one readable sentence."""


class Inconclusive(Exception):
    """More samples would be needed than the limits allow; neither accepted nor rejected."""


class CandidateFailure(Exception):
    """The candidate failed before it could be judged; becomes a failed check in the report.

    `check` names the property, `message` says what was wanted and what was found, `example` is the evidence.
    """

    def __init__(self, check: str, message: str, example: str = "") -> None:
        """Keep the three parts apart, so that the report can show them apart."""
        super().__init__(f"{check}: {message}")
        self.check = check
        self.message = message
        self.example = example
