"""Whether a command was begun at all: what ends before that is the sandbox's failure, what ends after it never is."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from pytest_vibeserve.errors import InfrastructureError
from vibeserve_loop.machine.processes import Finished

SHELL = "/bin/sh"
LONGEST_COMPLAINT = 10_000


@dataclass(frozen=True, slots=True)
class Mark:
    """A word that nobody knows before; the first that the inside says on its standard error."""

    word: str

    def before(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """The command, which begins once the word is said and cannot take it back."""
        return (SHELL, "-c", 'printf "%s\\n" "$0" >&2; exec "$@"', self.word, *command)

    def told(self, done: Finished, sandbox: str) -> Finished:
        """How the command ended, the word taken out; InfrastructureError when it was never begun."""
        head, found, rest = done.errors.partition(f"{self.word}\n")
        if found:
            return replace(done, errors=head + rest)
        # Only the last part of a long complaint is kept, and no sandbox complains at such length.
        if len(done.errors) > LONGEST_COMPLAINT:
            return done
        said = " ".join(done.errors.split()) or ("it took too long" if done.timed_out else f"it ended with {done.code}")
        raise InfrastructureError(f"{sandbox} began no command: {said[:500]}; `vibeserve-loop doctor` tells more")


def new_mark() -> Mark:
    """A mark for one command."""
    return Mark(f"begun-{secrets.token_hex(12)}")
