"""The Judge of speech: transcripts audited token by token on their own audio, by word errors, and by the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.canary import FAR
from pytest_vibeserve.judge.examination import FIRST_LOOK, settled
from pytest_vibeserve.judge.repeats import Pair
from pytest_vibeserve.judge.repeats import check as repeated
from pytest_vibeserve.load_generator import Exchange
from pytest_vibeserve.modalities.conclusion import conclude, counted, decided, passed_over, refused_at_once
from pytest_vibeserve.modalities.desertion import deserted
from pytest_vibeserve.modalities.perturbation import left_to_full, perturbed
from pytest_vibeserve.modalities.refusal import unrefused
from pytest_vibeserve.modalities.speech import audio
from pytest_vibeserve.modalities.speech.audit import TranscriptAudit
from pytest_vibeserve.modalities.speech.calibration import SpeechCalibration, calibrate, distance
from pytest_vibeserve.modalities.speech.leaving import left
from pytest_vibeserve.modalities.speech.reference import SpeechReference
from pytest_vibeserve.modalities.speech.spoken import spoken
from pytest_vibeserve.modalities.speech.wire import BOUNDARY, PATH, SpeechRequest, SpeechWire, form
from pytest_vibeserve.modalities.wire import ServedBench, asked
from pytest_vibeserve.model_files import end_ids
from pytest_vibeserve.report import Check
from pytest_vibeserve.variants import QUANTISERS

PROBES = 4
PAIRS = {"quick": 6, "full": 24}
FEWEST_STREAMS = 4


class SpeechJudge:
    """What a test asks for by the fixture `judge` where the modality is `speech`; methods as the text Judge's."""

    def __init__(self, bench: ServedBench, model: Path) -> None:
        """Bind to one served candidate; the reference is loaded on first use."""
        self._bench, self._model = bench, model
        self._wire = SpeechWire.of(bench.target, bench.vocabulary, model)

    @cached_property
    def reference(self) -> SpeechReference:
        """The target's reference."""
        return SpeechReference(self._model, self._bench.target)

    @cached_property
    def calibration(self) -> SpeechCalibration:
        """The limits that the model itself gives."""
        return calibrate(self.reference, self._wire)

    @cached_property
    def auditor(self) -> Auditor:
        """The text engine's auditor over this reference."""
        forbidden = () if self._bench.target.rules.quantization else QUANTISERS
        return Auditor(self.reference, self.calibration.tokens, forbidden, self._bench.depth)

    @cached_property
    def transcript_audit(self) -> TranscriptAudit:
        """What transcripts are held against."""
        return self._audit_of(self.reference, self.auditor)

    def audit(self) -> None:
        """Transcripts of clips and of streams, alone and under load, are the model's own of their own audio."""
        sizes = self._bench.target.audit
        count = sizes.quick if self._bench.depth == "quick" else sizes.full
        heard = asked(self._bench, self._wire, self._drawn(FIRST_LOOK, "audit/first"), FIRST_LOOK)
        refused_at_once(self._bench, self.transcript_audit.own(heard, self._bench.draws("audit/first part"), "audit"))

        def stage(number: int) -> list[Check]:
            heard.extend(self._asked(len(heard) if number else count - len(heard), f"audit/{number}"))
            return self.transcript_audit.judged(heard, self._bench.draws(f"audit/{number} part"), "audit")

        decided(self._bench, stage)

    def interface(self) -> None:
        """Requests that cannot be served are refused as the contract says, and the server goes on listening."""
        draws, limit = self._bench.draws("interface"), self._bench.target.limits.longest_wait_s
        fields, kind = {"response_format": "json", "max_tokens": "4"}, f"multipart/form-data; boundary={BOUNDARY}"
        wav = audio.spoken(draws, 1.0, self._bench.target.speech.sample_rate).wav
        bad = {
            "a file that is no audio": form(fields, b"not audio"), "an empty file": form(fields, b""),
            "a torn header": form(fields, wav[:20]), "no file": form(fields, b"").replace(b'name="file"', b'name="x"'),
            "a negative max_tokens": form(fields | {"max_tokens": "-1"}, wav),
        }  # fmt: skip
        exchanges = [
            Exchange(id=i, method="POST", path=PATH, body=raw, timeout_s=limit, content_type=kind)
            for i, raw in enumerate(bad.values())
        ]
        wrong = [unrefused(what, reply) for what, reply in zip(bad, self._bench.exchange(exchanges), strict=True)]
        faults = [fault for fault in wrong if fault]
        answers = asked(self._bench, self._wire, self._drawn(4, "interface after"))
        found = [counted("interface.errors", faults, len(bad), "bad requests were refused")]
        conclude(self._bench, [*found, *self.transcript_audit.own(answers, draws, "interface")])

    def repeats(self) -> None:
        """A clip that comes again is transcribed again, unless the target allows stored answers; tried twice."""
        if self._bench.target.rules.response_cache:
            passed_over(self._bench, "repeats.computed", "the target allows stored answers")
            return
        check = repeated(self._pairs(), self._bench.target.rules.speculation)
        if check.result == "fail":
            check = repeated(self._pairs(), self._bench.target.rules.speculation)
        conclude(self._bench, [check])

    def sessions(self) -> None:
        """Clients that leave a clip or a stream change nobody's transcript, and what they left can be had again."""
        draws = self._bench.draws("sessions")
        answers = deserted(self._bench, self._wire, draws)
        if self._bench.target.speech.streams:
            answers += left(self._bench, self._wire, draws)
        conclude(self._bench, self.transcript_audit.own(answers, draws, "sessions"))

    def canary(self) -> None:
        """Relaunched on a secret perturbed copy of the weights, the server hears as the copy does."""
        if left_to_full(self._bench):
            return
        draws, target = self._bench.draws("canary"), self._bench.target
        probes = self._drawn(PROBES, "canary probes")

        def far(folder: Path) -> bool:
            return (
                distance(self.reference, SpeechReference(folder, target), probes)
                > FAR * self.auditor.calibration.sigma**2
            )

        with perturbed(self._model, draws, far) as folder, self._bench.relaunched(folder) as bench:
            own = self.auditor
            reference = SpeechReference(folder, target)
            copy = self._audit_of(reference, Auditor(reference, own.calibration, own.forbidden, own.depth))
            answers = asked(bench, self._wire, self._wire.fresh(draws, 4 * PROBES), target.limits.concurrency)
            conclude(self._bench, copy.own(answers, draws, "canary"))

    def sampled(self) -> None:
        """Nothing is sampled: transcripts are greedy."""
        passed_over(self._bench, "sampled.transcripts", "transcripts are greedy: nothing is sampled")

    def examine(self, answers: Sequence[Answer]) -> list[Check]:
        """Audit transcripts that were measured."""
        return conclude(
            self._bench, settled(self.transcript_audit.judged(answers, self._bench.draws("examine part"), "load"))
        )

    def _audit_of(self, reference: SpeechReference, auditor: Auditor) -> TranscriptAudit:
        return TranscriptAudit(self._wire, reference, auditor, self.calibration.excess, end_ids(self._model))

    def _asked(self, count: int, purpose: str) -> list[Answer]:
        """Fresh clips, an eighth alone, and where the target streams a third of them in real time."""
        drawn = self._drawn(count, purpose)
        streams = self._bench.target.speech.streams
        spoken = drawn[: max(FEWEST_STREAMS, count // 3)] if streams else []
        whole = [replace(request, id=index) for index, request in enumerate(drawn[len(spoken) :])]
        few = max(1, len(whole) // 8)
        answers = asked(self._bench, self._wire, whole[:few])
        answers += asked(self._bench, self._wire, whole[few:], self._bench.target.limits.concurrency)
        for start in range(0, len(spoken), max(1, streams)):
            answers += self._speak(spoken[start : start + streams])
        return answers

    def _drawn(self, count: int, purpose: str) -> list[SpeechRequest]:
        drawn = self._wire.fresh(self._bench.draws(purpose), count)
        return [request for request in drawn if isinstance(request, SpeechRequest)]

    def _speak(self, requests: Sequence[SpeechRequest]) -> list[Answer]:
        named = [replace(request, id=index, kind=f"{request.kind} stream") for index, request in enumerate(requests)]
        return list(spoken(self._bench.server, self._wire, named, self._bench.draws("starts"))[1])

    def _pairs(self) -> list[Pair]:
        """Clips together at first, then each again beside a fresh one as long, in random order."""
        draws, count = self._bench.draws("repeats"), PAIRS[self._bench.depth]
        speech, tokens = self._bench.target.speech, max(mix.output_tokens[1] for mix in self._bench.target.mix)
        drawn = []
        for index in range(2 * count):
            clip = audio.spoken(draws, speech.seconds[1], speech.sample_rate)
            drawn.append(replace(self._wire.request(clip, draws, "repeat"), id=index, max_tokens=tokens))
        asked(self._bench, self._wire, drawn[:count], self._bench.target.limits.concurrency)
        order = [index for pair in range(count) for index in draws.sample([pair, pair + count], 2)]
        second = dict(zip(order, asked(self._bench, self._wire, [drawn[index] for index in order]), strict=True))
        return [Pair(_seconds(second[i + count]), _seconds(second[i]), second[i]) for i in range(count)]


def _seconds(answer: Answer) -> float:
    return max(answer.done_s - answer.sent_s, 1e-6)
