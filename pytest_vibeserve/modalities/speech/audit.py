"""Transcripts held against what the model hears: by their tokens, by their words, partial ones on their own audio."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.agreement import agreement_checks
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.evidence import Evidence
from pytest_vibeserve.judge.examination import examined
from pytest_vibeserve.modalities.speech.calibration import DATA, transcripts
from pytest_vibeserve.modalities.speech.partials import agreeing, audited, causal, settled
from pytest_vibeserve.modalities.speech.reference import SpeechReference
from pytest_vibeserve.modalities.speech.wire import SpeechRequest, SpeechWire, StreamAnswer
from pytest_vibeserve.modalities.speech.words import excess
from pytest_vibeserve.report import Check
from pytest_vibeserve.variants import REFERENCE, honest

WORDED = {"quick": 15, "full": 60}
PARTIALS = "stream.partials"


@dataclass(frozen=True, slots=True)
class TranscriptAudit:
    """Judges transcripts by one reference; `most` is the limit of word errors above honest ones, None for no limit."""

    wire: SpeechWire
    reference: SpeechReference
    auditor: Auditor
    most: float | None
    end_ids: frozenset[int]

    def own(self, answers: Sequence[Answer], draws: random.Random, name: str) -> list[Check]:
        """Whether the answers agree with themselves, and whether each is the model's own, by its ids or its text."""
        found = self.agreeing(answers, name)
        if any(check.result == "fail" for check in found):
            return found
        evidence = self.auditor.gathered(answers, noise=False)
        held = self.auditor.single(evidence, name)
        return [*found, held if evidence else _nothing(held), *self.partials(answers, draws)]

    def judged(self, answers: Sequence[Answer], draws: random.Random, name: str) -> list[Check]:
        """Whether the answers agree with themselves, and all that tokens and words tell of them against the model."""
        found = self.agreeing(answers, name)
        if any(check.result == "fail" for check in found):
            return found
        found += examined(self.auditor, answers, draws, len(answers), name)
        return [*found, self.worded(answers, draws, name), *self.partials(answers, draws)]

    def agreeing(self, answers: Sequence[Answer], name: str) -> list[Check]:
        """Whether the answers, and the partial transcripts of streams, agree with themselves and with the clock."""
        found = agreement_checks(answers, self.wire.vocabulary, self.end_ids, name)
        streamed = _streamed(answers)
        if streamed:
            found += [causal(streamed), *agreeing(streamed, self.wire.vocabulary, self.end_ids)]
        return found

    def partials(self, answers: Sequence[Answer], draws: random.Random) -> list[Check]:
        """Whether partial transcripts are the model's own of the audio that they are of."""
        drawn = audited(_streamed(answers), self.end_ids, draws) if self.wire.target.speech.partials else []
        if not drawn:
            return []
        evidence = self._nearer(self.auditor.gathered(drawn, noise=False))
        return [self.auditor.single(evidence, PARTIALS).model_copy(update={"name": PARTIALS})]

    def _nearer(self, evidence: Sequence[Evidence]) -> list[Evidence]:
        """What the model would not have said of a clip that ends there may be of frames that had settled by then."""
        doubted = [item for item in evidence if item.worst > self.auditor.limit] if self.reference.settles else []
        again = self.auditor.gathered([settled(item.request, item.choice) for item in doubted], noise=False)
        nearer = {
            id(one): min(one, other, key=lambda item: item.worst) for one, other in zip(doubted, again, strict=True)
        }
        return [nearer.get(id(item), item) for item in evidence]

    def worded(self, answers: Sequence[Answer], draws: random.Random, name: str) -> Check:
        """Word errors against the reference's own transcripts are no more than honest computation makes.

        Of clips and of streams as many are drawn, and of whichever are more the rest.
        """
        limit = self.most
        if limit is None:
            words = f"words of this audio do not tell honest from forbidden computation; {DATA} gives it speech"
            return Check(name=f"{name}.wer", result="skip", detail=words)
        most = max(WORDED[self.auditor.depth], len(answers) // 2)
        spoken = mixed([answer for answer in answers if isinstance(answer.request, SpeechRequest)], draws)[:most]
        requests = [answer.request for answer in spoken if isinstance(answer.request, SpeechRequest)]
        truths = transcripts(self.reference, self.wire, requests, REFERENCE)
        floor = [transcripts(self.reference, self.wire, requests, variant) for variant in honest(self.reference.dtype)]
        texts = [answer.choices[0].text for answer in spoken]
        found = excess(truths, texts, floor)
        said = found.said(limit)
        if said == "undecided" and self.auditor.depth == "quick" and found.point < limit:
            said = "pass"
        worst = max(range(len(texts)), key=lambda index: texts[index] != truths[index])
        return Check(
            name=f"{name}.wer", result="inconclusive" if said == "undecided" else said, statistic=found.point,
            threshold=limit, unit="WER",
            detail=f"word errors of {len(texts)} transcripts above those of honest computation: {found.point:.3f} "
            f"[{found.low:.3f}, {found.high:.3f}]",
            example=f"{texts[worst][:60]!r} where the model says {truths[worst][:60]!r}" if said == "fail" else "",
        )  # fmt: skip


def _nothing(check: Check) -> Check:
    words = "no answer has a token or a word that could be compared with the model"
    return check.model_copy(update={"result": "inconclusive", "detail": words})


def _streamed(answers: Sequence[Answer]) -> list[StreamAnswer]:
    return [answer for answer in answers if isinstance(answer, StreamAnswer) and not answer.fault]


def mixed(answers: Sequence[Answer], draws: random.Random) -> list[Answer]:
    """Clips and streams in turn, in random order, as long as there are both."""
    kinds = [[answer for answer in answers if isinstance(answer, StreamAnswer) == kind] for kind in (True, False)]
    turns = zip_longest(*(draws.sample(kind, len(kind)) for kind in kinds))
    return [answer for turn in turns for answer in turn if answer is not None]
