"""Sessions: an honest server keeps every relation; each way of mixing up those who share it is found by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from engine import Body, Bound, running
from starter_edits import edited

from pytest_vibeserve.bench import Bench, Contract, Depth
from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.errors import ContractBroken
from pytest_vibeserve.judge import Judge
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.crowd import MOVES, Crowd, Heard
from pytest_vibeserve.judge.relations import Ask, Prompts
from pytest_vibeserve.judge.sessions import COUNTS, LONGEST_RUN, leaked, longest_run, room
from pytest_vibeserve.modalities import wire_of
from pytest_vibeserve.modalities.text import TextWire
from pytest_vibeserve.report import Check
from pytest_vibeserve.server import ExternalServer
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Request, Secret, Vocabulary

Edit = tuple[str, str, str]
STARTER = Path("targets", "tiny_llama", "starter")
QUICK = {f"sessions.{name}" for name in (*MOVES, "leak") if COUNTS["quick"].get(name, 1)}
PROMPT = "        prompt = torch.tensor([sequence.tokens])\n"
BEFORE = "        self._cancelled: set[str] = set()\n"
LEFT = "        self._cancelled.add(request.id)\n"
SAMPLER = "        self.sampler = Sampler(request, index)\n"


def test_a_server_in_the_same_process_keeps_every_relation(bound: Callable[[int], Bound]) -> None:
    server = bound(0)
    server.judge.sessions()
    assert {check.name: check.result for check in server.engine.checks} == dict.fromkeys(QUICK, "pass")


def test_another_requests_tokens_are_found_in_the_relation_that_they_broke(bound: Callable[[int], Bound]) -> None:
    server = bound(1)

    def blind_to_the_middle(body: Body) -> Body:
        ids = body["prompt"]
        whole = isinstance(ids, list) and len(ids) > 6
        return body | {"prompt": [*ids[: len(ids) // 2], ids[1], *ids[len(ids) // 2 + 1 :]]} if whole else body

    server.engine.faults.asked = blind_to_the_middle
    with pytest.raises(ContractBroken, match=r"sessions\."):
        server.judge.sessions()
    assert {"sessions.twins", "sessions.cuts"} <= server.failed()


@contextmanager
def benched(
    candidate: Path, target: Target, vocabulary: Vocabulary, auditor: Auditor, depth: Depth
) -> Iterator[tuple[Bench, list[Check]]]:
    """A bench with a server that runs by itself, and what is recorded there."""
    checks: list[Check] = []
    model = auditor.reference.folder
    with running(candidate, model) as address, ExternalServer(address) as server:
        contract = Contract(target, model, vocabulary, Secret(), TextWire(target, vocabulary), depth, 1e12, wire_of)
        with closing(Bench(contract, server, checks.append)) as bench:
            yield bench, checks


def judged(candidate: Path, target: Target, vocabulary: Vocabulary, auditor: Auditor, depth: Depth) -> dict[str, Check]:
    """The checks of one session."""
    with benched(candidate, target, vocabulary, auditor, depth) as (bench, checks), suppress(ContractBroken):
        Judge(bench, auditor.reference.folder, lambda: auditor).sessions()
    return {check.name: check for check in checks}


@pytest.mark.parametrize("depth", ["quick", "full"])
def test_the_starter_keeps_every_relation(
    depth: Depth, root: Path, tiny: Target, vocabulary: Vocabulary, auditor: Auditor
) -> None:
    found = judged(root / STARTER, tiny, vocabulary, auditor, depth)
    assert {name for name, check in found.items() if check.result == "fail"} == set()
    assert found.keys() >= QUICK


CHEATS: dict[str, tuple[str, tuple[Edit, ...]]] = {
    "prefixes are used again one token short": (
        "sessions.cuts",
        (
            ("generation.py", BEFORE, BEFORE + "        self._seen: list[list[int]] = []\n"),
            ("generation.py", PROMPT, """
        tokens = list(sequence.tokens)
        shared = max((_common(tokens, other) for other in self._seen), default=0) // 16 * 16
        self._seen.append(list(tokens))
        if shared:
            del tokens[shared - 1]
        prompt = torch.tensor([tokens])
"""),
            ("generation.py", "class _Choice(", """def _common(one: list[int], other: list[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))


class _Choice("""),
        ),
    ),
    "prompts are told apart by their ends": (
        "sessions.twins",
        (
            ("generation.py", BEFORE, BEFORE + "        self._known: dict[Any, list[int]] = {}\n"),
            ("generation.py", PROMPT, """
        key = (len(sequence.tokens), *sequence.tokens[:3], *sequence.tokens[-3:])
        tokens = self._known.setdefault(key, list(sequence.tokens))
        prompt = torch.tensor([tokens])
"""),
        ),
    ),
    "whoever comes after one who left is given a block of the other's": (
        "sessions.cancel",
        (
            ("generation.py", BEFORE, BEFORE + "        self._freed: list[int] = []\n"),
            ("generation.py", LEFT, LEFT + "        self._freed += [request.prompts[0]] * 2\n"),
            ("generation.py", PROMPT, """
        tokens = list(sequence.tokens)
        if self._freed:
            block = self._freed.pop()
            tokens[1 : 1 + len(tokens) // 2] = block[1 : 1 + len(tokens) // 2]
        prompt = torch.tensor([tokens])
"""),
        ),
    ),
    "a bias stays on for the next request": (
        "sessions.secrets",
        (
            ("sequence.py", SAMPLER,
             "        bias = request.logit_bias or Sequence.last_bias\n"
             "        Sequence.last_bias = request.logit_bias\n"
             "        self.sampler = Sampler(replace(request, logit_bias=bias), index)\n"),
            ("sequence.py", "from dataclasses import dataclass\n", "from dataclasses import dataclass, replace\n"),
            ("sequence.py", '    """Prompt and answer of one choice; `tokens` holds both."""\n',
             '    """Prompt and answer of one choice; `tokens` holds both."""\n\n    last_bias = ()\n'),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHEATS)
def test_what_passes_between_requests_is_found_by_name(
    name: str, root: Path, tmp_path: Path, tiny: Target, vocabulary: Vocabulary, auditor: Auditor
) -> None:
    check, edits = CHEATS[name]
    edited(root / STARTER, tmp_path / "candidate", *edits)
    found = judged(tmp_path / "candidate", tiny, vocabulary, auditor, "quick")
    assert found[check].result == "fail", {name: one.detail for name, one in found.items()}
    assert found[check].statistic is not None
    assert found[check].threshold is not None


def test_a_server_that_loses_a_little_with_each_who_leaves_has_less_room(
    root: Path, tmp_path: Path, tiny: Target, vocabulary: Vocabulary, auditor: Auditor
) -> None:
    lost = "        self._lost = getattr(self, '_lost', 0.0) + 0.001\n"
    slept = "        time.sleep(getattr(self, '_lost', 0.0))\n"
    imported = "import threading\n"
    leaking: list[Edit] = [
        ("generation.py", LEFT, LEFT + lost),
        ("generation.py", PROMPT, slept + PROMPT),
        ("generation.py", imported, imported + "import time\n"),
    ]
    edited(root / STARTER, tmp_path / "candidate", *leaking)
    results = []
    for candidate in (root / STARTER, tmp_path / "candidate"):
        with benched(candidate, tiny, vocabulary, auditor, "full") as (bench, _):
            results.append(room(Crowd(Prompts(bench, bench.draws("room")))).result)
    assert results == ["pass", "fail"]


def test_a_piece_of_a_secret_is_measured_in_consecutive_tokens() -> None:
    secret = (11, 12, 13, 14, 15)
    assert longest_run(secret, (1, 12, 13, 14, 2, 11)) == LONGEST_RUN
    assert longest_run(secret, (11, 13, 15, 12, 14)) == 1
    assert longest_run(secret, ()) == 0


def test_a_prompt_that_was_given_is_no_leak_of_what_it_shares_by_chance() -> None:
    secret, own = tuple(range(11, 19)), (0, 13, 14, 15, 16, 2)

    def heard(prompt: tuple[int, ...], told: tuple[int, ...], said: tuple[int, ...]) -> Heard:
        request = Request(id=1, prompt_ids=prompt, max_tokens=4)
        answer = Answer(request, 200, "", (Choice(0, said, "", "length"),), prompt_ids=told)
        return Heard(Ask(request, secret=() if prompt == own else secret), answer, gone=False)

    owner = heard(secret, secret, (1,))
    assert leaked([owner, heard(own, own, (1,))]).result == "pass"
    assert leaked([owner, heard(own, secret, (1,))]).result == "fail"
    assert leaked([owner, heard(own, own, secret[:4])]).result == "fail"
