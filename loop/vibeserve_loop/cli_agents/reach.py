"""What a program may reach: its model's endpoint, by doors; the machine's network only where nobody knows that."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.report import write_atomically
from vibeserve_loop.walls.relay import Endpoint, endpoint_of, relayed

TLS = 443
ANY = "any"
PRIVILEGED = 1024


@dataclass(frozen=True, slots=True)
class Door:
    """A way out: connections to `address` inside go through the socket to the endpoint, and to no other."""

    socket: Path
    address: str
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Reach:
    """The doors of a program, and a table of hosts that leads the endpoints' names to them; no door is no limit."""

    doors: tuple[Door, ...] = ()
    hosts: Path | None = None

    @property
    def is_privileged(self) -> bool:
        """Whether a door has a port that not everybody may listen at."""
        return any(door.endpoint.port < PRIVILEGED for door in self.doors)


def endpoints_named(text: str) -> tuple[Endpoint, ...]:
    """The endpoints of `HOST[:PORT],...`, at the port of TLS unless said; UsageError for what names none."""
    words = [word.strip() for word in text.split(",") if word.strip() and word.strip() != ANY]
    return tuple(endpoint_of(word if "://" in word or ":" in word else f"{word}:{TLS}") for word in words)


def is_number(endpoint: Endpoint) -> bool:
    """Whether an endpoint elsewhere is given by its address: no table of hosts leads that to a door."""
    try:
        ipaddress.ip_address(endpoint.host)
    except ValueError:
        return False
    return not endpoint.is_here


def check_doors(endpoints: tuple[Endpoint, ...]) -> None:
    """UsageError for an endpoint that no door can be made to."""
    for found in filter(is_number, endpoints):
        why = "behind walls an endpoint elsewhere is reached by its name"
        raise UsageError(f"{found.host}: {why}: give a name for it (/etc/hosts), or endpoints={ANY}")


@contextlib.contextmanager
def reaching(endpoints: tuple[Endpoint, ...], hosts: Path) -> Iterator[Reach]:
    """Doors to the endpoints while this lasts; the table of hosts is written to a file that the program cannot."""
    check_doors(endpoints)
    with contextlib.ExitStack() as open_for_now:
        doors, lines = [], ["127.0.0.1 localhost", "::1 localhost"]
        elsewhere = sorted({found.host for found in endpoints if not found.is_here})
        for endpoint in dict.fromkeys(endpoints):
            address = "127.0.0.1" if endpoint.is_here else f"127.0.1.{elsewhere.index(endpoint.host) + 1}"
            doors.append(Door(open_for_now.enter_context(relayed(endpoint)), address, endpoint))
        lines += [f"127.0.1.{number} {host}" for number, host in enumerate(elsewhere, 1)]
        write_atomically(hosts, "\n".join(lines) + "\n")
        yield Reach(tuple(doors), hosts)
