"""The servers that the gate is tried on: one program for each cheat and for each honest variant.

A program in `servers/` is laid over the target's starter, whose engine is replaced by the zoo's own in numpy, and says
in `GROUP` which cheat of the catalogue it is, in `CHECK` how the check begins that must see it (one, or any of
several), and in `DEPTH` that a quick gate cannot see it.  A module with `make` edits the starter itself.  Another
target's members are those of the `zoo.toml` in its folder.
"""

from __future__ import annotations

import ast
import importlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gates import Gates
from starter_edits import LEFT_OUT, ONE_THREAD, altered

from pytest_vibeserve.target import load_target
from vibeserve_loop.validation.own_faults import ZOO, made, read_zoo

FOLDER = Path(__file__).resolve().parent / "servers"
TARGETS = Path(__file__).resolve().parents[1] / "targets"
STARTER = TARGETS / "tiny_llama" / "starter"
NOT_MEMBERS = {"stub"}
CORE = frozenset(
    {
        "memoised_answers", "constant_text", "draft_unverified", "int8_weights", "layer_skipped_under_load",
        "precise_when_watched", "prompt_middle_cut", "max_tokens_cut", "usage_inflated", "greedy_for_sampled",
        "nucleus_ignored", "seed_ignored", "logprobs_fabricated", "fake_first_token", "released_in_a_burst",
        "refuses_under_load", "positions_shifted_after_reuse", "rare_wrong_token",
        "honest_numpy", "honest_split_sums", "honest_prefix_cache", "honest_prompt_lookup",
        "honest_speculative_sampling", "honest_eager_attention",
    }
)  # fmt: skip
"""The members that every run of the suite judges; `python tests/benchmarks/zoo_table.py` judges all of them."""


@dataclass(frozen=True, slots=True)
class Member:
    """One server: what it is, the checks one of which must see it (none if honest), and how deep a gate it needs."""

    name: str
    words: str
    group: str
    checks: tuple[str, ...]
    depth: str
    edits_starter: bool
    target: str = "tiny_llama"

    @property
    def honest(self) -> bool:
        """Whether it must be accepted."""
        return not self.checks

    @property
    def timed(self) -> bool:
        """Whether what it does is seen by the clock, which wants the machine for itself."""
        return any(check.startswith(("stream.", "repeats.")) for check in self.checks)

    def seen_by(self, check: str) -> bool:
        """Whether a failed check of that name, in whichever part of the gate, is one that must see it."""
        return any(f".{stated}" in f".{check}" for stated in self.checks)

    def make(self, into: Path) -> None:
        """Write it as a candidate."""
        if self.target != "tiny_llama":
            starter = starter_of(self.target)
            made(next(one for one in read_zoo(starter.parent / ZOO) if one.name == self.name), starter, into)
            if ONE_THREAD[1] in (into / ONE_THREAD[0]).read_text(encoding="utf-8"):
                altered(into, ONE_THREAD)
            return
        if self.edits_starter:
            importlib.import_module(f"servers.{self.name}").make(STARTER, into)
            return
        laid(FOLDER / f"{self.name}.py", into)


def laid(program: Path, into: Path) -> None:
    """Write a program as a candidate: over the starter, with the zoo's engine and the neighbours that it imports."""
    shutil.copytree(STARTER, into, ignore=LEFT_OUT)
    for source in [*(FOLDER / "base").glob("*.py"), *_used(program)]:
        shutil.copy2(source, into / source.name)
    command = ["python", program.name]
    for option in ("model", "host", "port"):
        command += [f"--{option}", f"{{{option}}}"]
    stated = f'schema = 1\n[serve]\ncommand = {json.dumps(command)}\nready = "/health"\n'
    (into / "candidate.toml").write_text(stated, encoding="utf-8")


def members() -> dict[str, Member]:
    """Every server of the zoo, by name."""
    names = sorted({path.stem for path in FOLDER.glob("*.py")} - NOT_MEMBERS)
    return {name: _read(name) for name in names}


def members_of(target: str) -> dict[str, Member]:
    """The servers that another target's gate is tried on, by name: those of its own zoo."""
    stated = read_zoo(starter_of(target).parent / ZOO)
    return {
        one.name: Member(one.name, one.words, one.group, one.check, "quick", edits_starter=True, target=target)
        for one in stated
    }


def starter_of(target: str) -> Path:
    """The folder of the starter that a target begins with."""
    return load_target(str(TARGETS / target), "tiny").starter_folder


def cheats() -> dict[str, Member]:
    """The servers that must be refused."""
    return {name: member for name, member in members().items() if not member.honest}


def honest() -> dict[str, Member]:
    """The servers that must be accepted."""
    return {name: member for name, member in members().items() if member.honest}


def begin_all(request: pytest.FixtureRequest, gates: Gates, *arguments: str) -> None:
    """Begin the gates of all servers whose tests were selected: one is judged while another is waited for."""
    for item in request.session.items:
        parameters = getattr(item, "callspec", None)
        if isinstance(item, pytest.Function) and item.module is request.module and parameters is not None:
            member = members()[parameters.params["name"]]
            gates.begin(member.name, member.make, *arguments, alone=member.timed)


def _read(name: str) -> Member:
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    stated = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if node.targets[0].id in ("GROUP", "CHECK", "DEPTH")
    }
    check = stated.get("CHECK", ())
    return Member(
        name=name,
        words=(ast.get_docstring(tree) or "").split("\n")[0],
        group=stated.get("GROUP", ""),
        checks=(check,) if isinstance(check, str) else tuple(check),
        depth=stated.get("DEPTH", "quick"),
        edits_starter=any(isinstance(node, ast.FunctionDef) and node.name == "make" for node in tree.body),
    )


def _used(program: Path) -> Iterator[Path]:
    """The program and those of its neighbours that it imports."""
    yield program
    for node in ast.walk(ast.parse(program.read_text(encoding="utf-8"))):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [one.name for one in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            neighbour = program.with_name(f"{module}.py")
            if neighbour != program and neighbour.is_file():
                yield from _used(neighbour)
