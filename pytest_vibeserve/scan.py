"""What in a candidate's source is worth a second look; it never refuses, it raises sampling and points a reviewer."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.report import Check
from pytest_vibeserve.source_tree import entries, is_binary

SHOWN = 20
LONGEST_LITERAL = 2048
LARGEST_DATA = 64 << 10
_INPUT = re.compile(r"prompt|message|request|body|text|token_ids|input_ids|audio", re.IGNORECASE)
_WATCHER = re.compile(
    r"(?<![a-z])(tests?|testing|bench(mark)?s?|judges?|graders?|audit|pytest|vibeserve|user-agent)(?![a-z])"
)
_OUTSIDE = re.compile(r"^(~|\.\./|/(etc|home|root|var|proc|mnt|opt|run|srv|tmp|dev/shm)\b)")
_ABROAD = re.compile(r"\b(system|popen|fork|ptrace|dlopen|usleep|nanosleep|localtime|gethostbyname)\s*\(")
_CALLS = {
    "starts another program": r"subprocess\.\w+|os\.(system|popen|fork|exec\w+|spawn\w+|posix_spawn)|pty\.\w+",
    "looks at who calls": r"sys\._getframe|sys\.settrace|inspect\.(stack|currentframe)|gc\.get_(objects|referrers)",
    "ends the process": r"os\._exit",
    "asks for the time of day": r"time\.(localtime|gmtime|strftime)|(datetime\.)*datetime\.(now|utcnow|today)",
    "lowers precision": r".*\b(quantize\w*|qint8|quint8|float8\w*|int8|int4|load_in_\w+)",
    "connects somewhere": r"socket\.create_connection|urllib\.request\.\w+|requests\.\w+|httpx\.\w+|http\.client\.\w+",
}
_FOREIGN = {".c", ".cc", ".cpp", ".cu", ".h", ".hpp", ".rs", ".go", ".js", ".ts", ".sh"}


@dataclass(frozen=True, slots=True)
class Flag:
    """One thing worth a look: where, and why."""

    file: str
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.why}"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """All flags of one candidate."""

    flags: tuple[Flag, ...] = ()

    @property
    def sampling(self) -> int:
        """How many times as many answers to audit: 1 where nothing was flagged, 2 for a flag or two, else 4."""
        return 1 if not self.flags else 2 if len(self.flags) < 3 else 4

    @property
    def check(self) -> Check:
        """For the report; flags decide nothing, so what is flagged is `skip`."""
        shown = "; ".join(str(flag) for flag in self.flags[:SHOWN])
        more = f"; and {len(self.flags) - SHOWN} more" if len(self.flags) > SHOWN else ""
        detail = f"worth a look, and why more was sampled: {shown}{more}" if self.flags else "nothing stands out"
        found = float(len(self.flags))
        return Check(
            name="scan", result="skip" if found else "pass", statistic=found, threshold=0.0, unit="flags", detail=detail
        )


def scan(folder: Path, build: tuple[str, ...] = ()) -> Suspicion:
    """Read what could be part of serving: not the candidate's own tests, nor the files that its build command names."""
    read = [entry for entry in entries(folder) if entry.kind == "file" and entry.name not in build]
    flags = {flag for entry in read for flag in _file(entry.name, entry.path)}
    return Suspicion(tuple(sorted(flags, key=lambda flag: (flag.file, flag.line, flag.why))))


def _file(name: str, path: Path) -> Iterator[Flag]:
    if is_binary(path) or _is_test(Path(name)):
        return
    if path.suffix == ".py":
        yield from _python(name, path.read_bytes())
    elif path.suffix in _FOREIGN:
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if found := _ABROAD.search(line):
                yield Flag(name, number, f"calls {found[1]}")
    elif path.stat().st_size > LARGEST_DATA:
        yield Flag(name, 1, f"is {path.stat().st_size >> 10} KiB of data")


def _is_test(name: Path) -> bool:
    return name.name == "conftest.py" or name.name.startswith("test_") or "tests" in name.parts[:-1]


def _python(name: str, source: bytes) -> Iterator[Flag]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        yield Flag(name, getattr(error, "lineno", 1) or 1, "cannot be parsed as Python")
        return
    words = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        for why in _reasons(node) if id(node) not in words or isinstance(node, ast.Call) else ():
            yield Flag(name, getattr(node, "lineno", 1), why)


def _reasons(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        yield from _call(node, ast.unparse(node.func))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        yield from _literal(node.value if isinstance(node.value, str) else node.value.decode("latin-1"))
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        arguments = [argument.arg for argument in node.args.args]
        cached = any("cache" in ast.unparse(decorator) for decorator in node.decorator_list)
        if cached and any(_INPUT.search(argument) for argument in arguments):
            yield "keeps what it answers by what it is asked"
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield from _condition(ast.unparse(node.test))
    elif isinstance(node, ast.Assign) and any(re.match(r"(time|pytest)\.", ast.unparse(t)) for t in node.targets):
        yield "replaces a part of another module"


def _call(node: ast.Call, function: str) -> Iterator[str]:
    given = ", ".join(ast.unparse(argument) for argument in node.args)
    yield from (why for why, pattern in _CALLS.items() if re.fullmatch(pattern, function))
    if re.fullmatch(r"hash|hashlib\.\w+|zlib\.crc32|xxhash\.\w+", function) and _INPUT.search(given):
        yield "makes a key of what it is asked"
    if re.fullmatch(r"ctypes\.(CDLL|PyDLL|cdll\.LoadLibrary)", function) and re.match(r"$|None|'libc\b", given):
        yield "reaches into the C library"
    if re.fullmatch(r"(time|asyncio)\.sleep|threading\.Timer", function) and given not in ("0", "0.0"):
        yield "waits on a timer"


def _condition(test: str) -> Iterator[str]:
    if _WATCHER.search(test.lower()):
        yield "branches on what looks like a test"
    if re.search(r"\btime\.time\(\)|\.(hour|weekday|minute)\b", test):
        yield "branches on the time"


def _literal(text: str) -> Iterator[str]:
    if len(text) > LONGEST_LITERAL:
        yield f"holds a literal of {len(text)} characters"
    elif _OUTSIDE.match(text):
        yield f"names a place outside its folder ({text[:40]})"
