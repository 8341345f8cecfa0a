"""The Judge: accepts or refuses a server's answers; what a target's accuracy tests ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.errors import ContractBroken, Inconclusive
from pytest_vibeserve.judge import canary, repeats, sampled
from pytest_vibeserve.judge.agreement import agreement_checks
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.judge.canary_words import renumber
from pytest_vibeserve.judge.conversation import Conversation
from pytest_vibeserve.judge.crowd import Crowd
from pytest_vibeserve.judge.draws import compare
from pytest_vibeserve.judge.examination import FIRST_LOOK, examined, glanced, settled
from pytest_vibeserve.judge.interface import Way, interface_checks, ways_of
from pytest_vibeserve.judge.predictions import predicted
from pytest_vibeserve.judge.probes import alone_and_together, drawn
from pytest_vibeserve.judge.relations import Prompts
from pytest_vibeserve.judge.repeats import Spoken
from pytest_vibeserve.judge.sessions import session_checks
from pytest_vibeserve.model_files import end_ids
from pytest_vibeserve.reference import Reference
from pytest_vibeserve.report import Check
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Vocabulary

__all__ = ["Bench", "ContractBroken", "Inconclusive", "Judge"]

DOUBLINGS = 3
UNSEEN = Check(
    name="sampled.retokenised", result="skip",
    detail="no token ids: sampled answers cannot be held against the distribution that was asked for",
)  # fmt: skip
FULL_PART = 160
"""Answers of a full audit that are compared with every honest computation; all are screened."""


class Judge:
    """What a test asks for by the fixture `judge`; each method records its checks and raises when one fails.

    ContractBroken says in one sentence what was broken, Inconclusive that the largest sample did not decide.
    """

    def __init__(
        self, bench: Bench, model: Path, auditor: Callable[[], Auditor] | None = None, sampling: int = 1
    ) -> None:
        """Bind to one served candidate; `auditor` gives what `prepared` has made of the model meanwhile.

        `sampling` says how many times as many answers to audit: a source that looks suspicious is asked for more.
        """
        self._bench, self._folder, self._sampling = bench, model, sampling
        self._prepared = auditor or partial(prepared, model, bench.target, bench.vocabulary, bench.depth)

    @cached_property
    def auditor(self) -> Auditor:
        """The reference with the limits of its calibration."""
        return self._prepared()

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """The ids that end an answer, as the model's configuration names them."""
        return end_ids(self._folder)

    def audit(self) -> None:
        """Answers, alone and under load, are the model's own within honest noise; asks for more while undecided."""
        sizes = self._bench.target.audit
        quick = self._bench.depth == "quick"
        count, part = (sizes.quick, sizes.quick) if quick else (sizes.full, FULL_PART)
        answers = self._first_answers(count)
        for stage in range(DOUBLINGS + 1):
            draws = self._bench.draws(f"audit/{stage}")
            wanted = len(answers) if stage else count * self._sampling - len(answers)
            answers += alone_and_together(self._bench, draws, wanted)
            found = agreement_checks(answers, self._bench.vocabulary, self.end_ids, "audit")
            if not any(check.result == "fail" for check in found):
                found += examined(self.auditor, answers, draws, part, "audit")
            if stage == DOUBLINGS or not _undecided(found):
                self._conclude(found)
                return

    def _first_answers(self, count: int) -> list[Answer]:
        """A few answers, looked at before more are asked for: what is gross is refused while it costs little."""
        few = min(FIRST_LOOK, count // 2)
        answers = self._bench.ask(drawn(self._bench, self._bench.draws("audit/first"), few), few)
        found = agreement_checks(answers, self._bench.vocabulary, self.end_ids, "audit")
        broken = [check for check in found if check.result == "fail"]
        self._conclude(broken or glanced(self.auditor, answers, "audit"))
        return answers

    def sampled(self) -> None:
        """Sampled tokens are draws from the distribution that was asked for; a soft failure is tried once more."""
        soft = {"sampled.surprisal", "sampled.ranks"}
        checks: list[Check] = []
        for attempt in range(2):
            requests = sampled.requests(self._bench, f"sampled/{attempt}")
            answers = self._bench.ask(requests, self._bench.target.limits.concurrency)
            agreed = agreement_checks(answers, self._bench.vocabulary, self.end_ids, "sampled")
            seed = self._bench.draws("sampled/ranks").getrandbits(32)
            compared = compare(self.auditor, answers, seed)
            checks = [*agreed, *sampled.checks(compared), *([] if compared else [UNSEEN])]
            checks += self.auditor.reported(answers, "sampled")
            failed = {check.name for check in checks if check.result == "fail"}
            if not failed or failed - soft:
                break
        self._conclude(checks)

    def interface(self) -> None:
        """Every field of a request means what the contract says; refusals are refusals, and the server lives on."""
        self._conclude(list(interface_checks(self._ways(), self.auditor)))

    def sessions(self) -> None:
        """Whoever else is served, each answer stays the model's own for its prompt; nothing passes between requests."""
        self._conclude(list(session_checks(self._crowd(), self.auditor, self.end_ids)))

    def predictions(self) -> None:
        """Right, likely, spoilt, foreign or empty: what a client predicts of an answer changes nothing in it."""
        answers = predicted(self._bench, self._bench.draws("predictions"), self.auditor)
        found = agreement_checks(answers, self._bench.vocabulary, self.end_ids, "predictions")
        evidence = self.auditor.gathered([answer for answer in answers if answer.choices], noise=False)
        self._conclude([*found, *([self.auditor.single(evidence, "predictions")] if evidence else [])])

    def repeats(self) -> None:
        """A prompt that comes again is computed again, unless the target allows stored answers; tried twice."""
        target = self._bench.target
        if target.rules.response_cache:
            self._bench.record(Check(name="repeats.computed", result="skip", detail="the target allows stored answers"))
            return
        checks = []
        for name, spoken in self._routes().items():
            check = self._repeated(name, spoken)
            checks.append(check if check.result == "pass" else self._repeated(name, spoken))
        drawn = self._bench.draws("repeats/sampled")
        self._conclude([*checks, repeats.same_draw(self._bench, self.auditor, drawn)])

    def canary(self) -> None:
        """Relaunched on a secret perturbed copy of the weights, the server answers as the copy does, not the original.

        The copy's tokens have other numbers too, where its tokenizer is kept in a form that can be rewritten.
        A quick gate leaves this out and says so.
        """
        if self._bench.depth == "quick":
            words = "left to the full gate: answers made from weights known beforehand would not be seen"
            self._bench.record(Check(name="canary.weights", result="skip", detail=words))
            return
        draws = self._bench.draws("canary")
        with canary.perturbed(self.auditor, self._bench.target, draws) as copy:
            if not renumber(copy.reference.folder, draws):
                words = "the model's tokenizer has a form that cannot be rewritten: its tokens keep their numbers"
                self._bench.record(Check(name="canary.words", result="skip", detail=words))
            with self._bench.relaunched(copy.reference.folder) as bench:
                answers = bench.ask(drawn(bench, draws, canary.REQUESTS), bench.target.limits.concurrency)
                agreed = agreement_checks(answers, bench.vocabulary, self.end_ids, "canary")
            self._conclude([*agreed, *settled(canary.checks(copy, self.auditor, answers))])

    def examine(self, answers: Sequence[Answer]) -> list[Check]:
        """Audit the answers that were measured: what each says of itself, then margins against the reference."""
        draws = self._bench.draws("examine")
        part = self._bench.target.audit.quick // 3 if self._bench.depth == "quick" else FULL_PART // 2
        checks = settled(examined(self.auditor, answers, draws, part, "load"))
        agreed = agreement_checks(answers, self._bench.vocabulary, self.end_ids, "load")
        return self._conclude([*agreed, *checks])

    def _ways(self) -> Mapping[str, Sequence[Way]]:
        """The properties of the interface, each with the routes that it holds on."""
        return ways_of(Conversation(self._bench, self.auditor, self.end_ids))

    def _crowd(self) -> Crowd:
        """The clients that share the server, whichever routes they take."""
        return Crowd(Prompts(self._bench, self._bench.draws("sessions")))

    def _routes(self) -> Mapping[str, Spoken]:
        """What makes a completion a request of each route, by what its repeats are reported as."""
        return {"repeats.computed": lambda request: request}

    def _repeated(self, name: str, spoken: Spoken) -> Check:
        pairs = repeats.paired(self._bench, self._bench.draws("repeats"), spoken)
        return repeats.check(pairs, self._bench.target.rules.speculation).model_copy(update={"name": name})

    def _conclude(self, checks: Sequence[Check]) -> list[Check]:
        for check in checks:
            self._bench.record(check)
        for check in checks:
            if check.result == "fail":
                raise ContractBroken(f"{check.name}: {check.detail}" + (f"; {check.example}" if check.example else ""))
        for check in checks:
            if check.result == "inconclusive":
                raise Inconclusive(f"{check.name}: {check.detail}; more samples would be needed than the limits allow")
        return list(checks)


def prepared(model: Path, target: Target, vocabulary: Vocabulary, depth: Literal["quick", "full"]) -> Auditor:
    """The auditor of a model with its weights read; seconds of work that need no server."""
    auditor = Auditor.of(Reference(model, target), vocabulary, target, depth)
    for dtype in ("float32", auditor.reference.dtype):
        auditor.reference.model(dtype, "sdpa")
    return auditor


def _undecided(checks: Sequence[Check]) -> bool:
    results = {check.result for check in checks}
    return "inconclusive" in results and "fail" not in results
