"""Holds load clients against one loopback stub with known delays, in one run.

    python tests/benchmarks/load_clients/compare.py [--client NAME ...] [--part NAME ...] [--results FILE]
    python tests/benchmarks/load_clients/compare.py --table [--results FILE]

Told `--seconds N` it begins nothing new after that time; called again with the same results it goes on where it ended.

Every client is pinned to one core and the stub to another.  Rates come from the stub's own record (first arrival to
last write), so start-up counts for nobody, and stand beside the CPU time that the client took meanwhile, which no
neighbour can take away; errors are what the client reports minus what the stub really did.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from clients import CLIENTS, ROOT, Believed, Client, Level, Place
from metered import Metered

STUB = Path(__file__).with_name("stub_server.py")
REPEATS = 3


@dataclass(frozen=True)
class Part:
    """One question: the stub's delays in seconds and the levels of load."""

    ttft: float
    itl: float
    levels: tuple[Level, ...]


PARTS = {
    "tokens": Part(0, 0, (Level(16, 0, 4000, 256),)),
    "requests": Part(0, 0, (Level(64, 0, 8000, 1),)),
    "latency": Part(0.05, 0.01, tuple(Level(c, 0, max(8, 4 * c), 64) for c in (1, 16, 64, 256))),
    "open": Part(0.02, 0.005, (Level(0, 300, 1500, 8),)),
    "beyond": Part(0.02, 0.005, (Level(0, 600, 3000, 8),)),
}
SLOW = {"tokens": Level(16, 0, 400, 256), "requests": Level(64, 0, 1500, 1)}
SLOW_CLIENTS = ("guidellm", "aiperf", "vllm")
"""Clients that would take minutes over the full count, and are asked for a rate once."""


@contextmanager
def stub(part: Part, core: int) -> Iterator[str]:
    """The URL of a stub that is pinned to a core."""
    command = [*pinned(core), sys.executable, str(STUB), "--ttft", str(part.ttft), "--itl", str(part.itl)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(core)]


def truth(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/truth", timeout=60) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def held(client: Client, level: Level, url: str, model: Path, cores: tuple[int, int]) -> dict[str, Any]:
    """One client at one level: what it believes, what is true, and what CPU time it took."""
    truth(url)
    with tempfile.TemporaryDirectory() as folder:
        place = Place(url, model, Path(folder))
        try:
            done = client.run([*pinned(cores[1]), *client.command(level, place)], place.folder)
        except subprocess.TimeoutExpired as late:
            return {"failure": f"did not end within {late.timeout:.0f} s"}
        if done.status:
            return {"failure": (done.errors or done.output).strip()[-600:]}
        believed = client.believed(done.output, place)
    return {"believed": asdict(believed), **happened(truth(url), level, done)}


def happened(record: dict[str, Any], level: Level, done: Metered) -> dict[str, Any]:
    """Rates and latencies as the stub wrote them down; the first requests, warm-up included, are left out."""
    streams = sorted(record["streams"])[-level.requests :]
    first, last = streams[0][0], max(written[-1] for _, written in streams)
    ttft = sorted(1000 * (written[0] - at) for at, written in streams)
    itl = sorted(1000 * (b - a) for _, written in streams for a, b in pairwise(written))
    actual = Believed(fmean(ttft), share(ttft, 0.5), share(ttft, 0.99), fmean(itl or [0]), share(itl or [0], 0.99))
    arrived = sorted(at for at, _ in streams)
    return {
        "true": asdict(actual),
        "streams": len(streams),
        "cpu_s": (cpu_s := max(done.cpu_s(first, last), 1e-3)),
        "requests_per_cpu_s": len(streams) / cpu_s,
        "tokens_per_cpu_s": level.tokens * len(streams) / cpu_s,
        "requests_per_s": len(streams) / max(last - first, 1e-9),
        "tokens_per_s": level.tokens * len(streams) / max(last - first, 1e-9),
        "arrivals_per_s": (len(arrived) - 1) / max(arrived[-1] - arrived[0], 1e-9),
    }


def share(ascending: list[float], part: float) -> float:
    return ascending[min(len(ascending) - 1, int(part * len(ascending)))]


def tokenizer() -> Path:
    """A folder with a small tokenizer, made when it is not there yet."""
    sys.path.insert(0, str(ROOT))
    from pytest_vibeserve.reference import model_folder
    from pytest_vibeserve.target import load_target

    return model_folder(load_target(str(ROOT / "targets" / "tiny_llama"), "tiny"))


def levels_of(part: str, client: Client) -> tuple[Level, ...]:
    return (SLOW[part],) if client.name in SLOW_CLIENTS and part in SLOW else PARTS[part].levels


def measure(options: argparse.Namespace) -> None:
    """Go through parts and clients; each result is one line appended to the results."""
    cores = (0, (os.cpu_count() or 2) - 1)
    model = options.model or tokenizer()
    until = time.monotonic() + options.seconds
    done = Counter(_key(json.loads(line)) for line in read_lines(options.results))
    for client, name, level in planned(options):
        done[_key(plan := {"client": client.name, "part": name, **asdict(level)})] -= 1
        if done[_key(plan)] >= 0:
            continue
        if time.monotonic() > until:
            print("the time is over: the same command goes on from here", file=sys.stderr)
            return
        with stub(PARTS[name], cores[0]) as url:
            found = held(client, level, url, model, cores)
        now = datetime.datetime.now()
        stated = {"date": now.date().isoformat(), "at": now.strftime("%H:%M:%S"), "load_average": os.getloadavg()[0]}
        with options.results.open("a") as stream:
            stream.write(json.dumps(plan | {"version": client.version()} | found | stated) + "\n")


def planned(options: argparse.Namespace) -> Iterator[tuple[Client, str, Level]]:
    """All that is to be measured, one level a time; a client that does not install is left out, which is said."""
    chosen = [client for client in CLIENTS if not options.client or client.name in options.client]
    for client in list(chosen):
        if why := client.installed():
            print(f"{client.name}: skipped, it does not install: {why}", file=sys.stderr)
            chosen.remove(client)
    for name in options.part or PARTS:
        for client in chosen:
            for level in levels_of(name, client):
                for _ in range(REPEATS if name in SLOW and client.name not in SLOW_CLIENTS else 1):
                    yield client, name, level


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("client", "part", "concurrency", "rate"))


def read_lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--client", action="append", choices=[client.name for client in CLIENTS])
    parser.add_argument("--part", action="append", choices=list(PARTS))
    parser.add_argument("--results", type=Path, default=Path("load_clients.jsonl"))
    parser.add_argument("--model", type=Path, help="folder with a tokenizer")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing new after so long")
    parser.add_argument("--table", action="store_true", help="print the results as Markdown")
    options = parser.parse_args()
    if options.table:
        from table import table

        print(table(options.results))
    else:
        measure(options)


if __name__ == "__main__":
    main()
