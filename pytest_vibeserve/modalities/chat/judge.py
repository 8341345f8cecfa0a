"""The Judge of chats: the text engine's statistics over templated prompts and grammar-masked margins."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.judge import Judge, canary
from pytest_vibeserve.judge.agreement import agreement_checks, described
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.judge.examination import FIRST_LOOK, examined, glanced, settled
from pytest_vibeserve.judge.interface import searched
from pytest_vibeserve.judge.repeats import Spoken
from pytest_vibeserve.modalities.chat.bench import ChatBench, ChatWire
from pytest_vibeserve.modalities.chat.grammar import INSTALL, Grammar, MaskedReference
from pytest_vibeserve.modalities.chat.properties import ChatConversation, chat_properties
from pytest_vibeserve.modalities.chat.recut import RecutAuditor
from pytest_vibeserve.modalities.chat.requests import numbered
from pytest_vibeserve.modalities.chat.secrets import leaked, secrets_told
from pytest_vibeserve.modalities.chat.tasks import same_schema, texts
from pytest_vibeserve.modalities.chat.wire import ChatRequest
from pytest_vibeserve.modalities.conclusion import conclude, decided, refused_at_once
from pytest_vibeserve.modalities.desertion import deserted
from pytest_vibeserve.modalities.perturbation import left_to_full
from pytest_vibeserve.report import Check
from pytest_vibeserve.workload import Request


class ChatJudge(Judge):
    """What a test asks for by the fixture `judge` where the modality is `chat-json`."""

    def __init__(self, bench: Bench, model: Path) -> None:
        """Bind to one served candidate; the reference is loaded on first use."""
        self.wire = ChatWire(bench.target, bench.vocabulary, model)
        self.chats = ChatBench(bench, self.wire)
        super().__init__(self.chats, model, self._made)

    def audit(self) -> None:
        """Chats, constrained and free, predicted or not, alone and under load, are the model's own; and valid."""
        sizes = self.chats.target.audit
        count = sizes.quick if self.chats.depth == "quick" else sizes.full
        heard = self._asked(FIRST_LOOK, "first")
        refused_at_once(self.chats, [*self._agreed(heard, "audit"), *self._valid(heard)])
        refused_at_once(self.chats, glanced(self.auditor, heard, "audit"))

        def stage(number: int) -> list[Check]:
            draws = self.chats.draws(f"audit/{number}")
            heard.extend(self._asked(len(heard) if number else count - len(heard), str(number)))
            found = [*self._agreed(heard, "audit"), *self._valid(heard)]
            if any(check.result == "fail" for check in found):
                return found
            return found + examined(self.auditor, heard, draws, len(heard), "audit")

        decided(self.chats, stage)

    def interface(self) -> None:
        """Every field of a chat means what the contract says; refusals are refusals, and the server lives on."""
        talk = ChatConversation(self.chats, self.auditor, self.end_ids)
        chat = self.chats.target.chat
        found = [
            searched(name, ((talk, wanted),))
            for name, wanted in chat_properties(chat.schemas, chat.predictions).items()
        ]
        heard = self.auditor.gathered([answer for answer in talk.heard if answer.choices], noise=False)
        audited = [self.auditor.single(heard, "interface")] if heard else []
        conclude(self.chats, [*found, *self._valid(talk.heard), *audited])

    def sessions(self) -> None:
        """Clients that leave in the middle change nobody's answer; what one was told is not told to another."""
        draws = self.chats.draws("sessions")
        heard = deserted(self.chats, self.chats.wire, draws)
        told = secrets_told(self.chats, draws)
        found = [*self._agreed([*heard, *told], "sessions"), leaked(told), *self._valid(heard)]
        greedy = [answer for answer in (*heard, *told) if answer.request.temperature == 0]
        evidence = self.auditor.gathered(greedy, noise=False)
        conclude(self.chats, [*found, *([self.auditor.single(evidence, "sessions")] if evidence else [])])

    def canary(self) -> None:
        """Relaunched on a secret perturbed copy of the weights, the server answers as the copy does.

        Chats may be short: what their margins leave open is left open, since every single token is looked at.
        """
        if left_to_full(self.chats):
            return
        draws, target = self.chats.draws("canary"), self.chats.target
        with canary.perturbed(self.auditor, target, draws) as copy:
            with self.chats.relaunched(copy.reference.folder) as bench:
                fresh = self.chats.wire.workload(draws).free(canary.REQUESTS)
                answers = bench.ask(numbered(fresh), target.limits.concurrency)
            found = settled(canary.checks(copy, self.auditor, answers))
            conclude(self.chats, [*self._agreed(answers, "canary"), *found])

    def examine(self, answers: Sequence[Answer]) -> list[Check]:
        """Audit the answers that were measured; constrained ones must be valid as well."""
        return [*conclude(self.chats, self._valid(answers)), *super().examine(answers)]

    def _routes(self) -> Mapping[str, Spoken]:
        if not self.chats.target.chat.schemas:
            return super()._routes()
        workload = self.chats.wire.workload(self.chats.draws("documents"))
        given = texts(workload.draws)

        def document(request: Request) -> Request:
            # One schema for all: whoever keeps its grammar keeps it for the fresh ones too.
            chat = workload.of_task(same_schema(given, workload.draws), request.kind, "")
            return replace(chat, id=request.id, stream=request.stream)

        return {**super()._routes(), "repeats.documents": document}

    def _asked(self, count: int, part: str) -> list[Answer]:
        """Fresh chats, an eighth of them alone, and with predictions where the target has them."""
        workload = self.chats.wire.workload(self.chats.draws(f"chats/{part}"))
        again = count // 3 if self.chats.target.chat.predictions else 0
        chats = workload.requests(max(2, count - again))
        few = max(1, len(chats) // 8)
        first = self.chats.ask(chats[:few])
        first += self.chats.ask(numbered(chats[few:]), self.chats.target.limits.concurrency)
        greedy = [answer for answer in first if answer.request.temperature == 0 and not answer.fault]
        return [*first, *self.chats.ask(workload.predicted(greedy[:again]))]

    def _valid(self, answers: Sequence[Answer]) -> list[Check]:
        """Checks `json.valid` and `json.grammar` over the constrained answers; none where none was asked."""
        asked = [answer for answer in answers if isinstance(answer.request, ChatRequest) and answer.request.schema]
        grammar = self.chats.wire.grammar
        if not asked or grammar is None:
            return []
        roomy = self.chats.target.chat.whitespace != "any"
        wrong = [(answer, fault) for answer in asked for fault in _faults(answer, roomy)]
        illegal = [(answer, fault) for answer in asked for fault in _illegal(answer, grammar)]
        return [_over(asked, wrong, "json.valid"), _over(asked, illegal, "json.grammar")]

    def _agreed(self, answers: Sequence[Answer], prefix: str) -> list[Check]:
        return agreement_checks(answers, self.chats.vocabulary, self.end_ids, prefix)

    def _made(self) -> Auditor:
        target = self.chats.target
        reference = MaskedReference(self._folder, target, self.chats.wire.grammar)
        return RecutAuditor.of(reference, self.chats.vocabulary, target, self.chats.depth)


def _over(asked: Sequence[Answer], wrong: Sequence[tuple[Answer, str]], name: str) -> Check:
    return Check(
        name=name, result="fail" if wrong else "pass", statistic=len(wrong), threshold=0, unit="answers",
        detail=wrong[0][1] if wrong else f"{len(asked)} constrained answers keep their schemas",
        example=described(wrong[0][0]) if wrong else "",
    )  # fmt: skip


def _faults(answer: Answer, roomy: bool) -> Iterator[str]:
    """Why a constrained answer is no document of its schema; `roomy` where max_tokens holds any such document."""
    assert isinstance(answer.request, ChatRequest)
    if answer.fault:
        yield answer.fault
        return
    validator = _validator(answer.request.schema)
    for choice in answer.choices:
        if choice.finish_reason == "length":
            if roomy:
                yield f"no end within max_tokens, which holds every document of the schema: {choice.text[:80]!r}"
            continue
        try:
            document = json.loads(choice.text)
        except ValueError:
            yield f"not JSON: {choice.text[:80]!r}"
            continue
        fault = next(iter(validator.iter_errors(document)), None)
        if fault is not None:
            yield f"against its schema at {'/'.join(map(str, fault.path)) or 'the top'}: {fault.message[:160]}"


def _validator(schema: str) -> Any:
    try:
        from jsonschema import Draft202012Validator
    except ImportError as error:
        raise UsageError(f"constrained answers need {error.name}: {INSTALL}") from error
    return Draft202012Validator(json.loads(schema))


def _illegal(answer: Answer, grammar: Grammar) -> Iterator[str]:
    """Where a constrained answer's tokens leave the grammar of its schema."""
    assert isinstance(answer.request, ChatRequest)
    for choice in answer.choices:
        if choice.ids and not choice.retokenised:
            place = grammar.broken(answer.request.schema, choice.ids)
            if place is not None:
                yield f"token {place} is {choice.ids[place]}, which the schema's grammar does not allow there"
