"""The Judge of images: each is drawn again from the same noise, and its error is measured in units of honest noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.judge.canary import FAR
from pytest_vibeserve.judge.examination import FIRST_LOOK
from pytest_vibeserve.judge.repeats import Pair
from pytest_vibeserve.judge.repeats import check as repeated
from pytest_vibeserve.load_generator import Exchange
from pytest_vibeserve.modalities.conclusion import conclude, counted, decided, passed_over, refused_at_once
from pytest_vibeserve.modalities.desertion import deserted
from pytest_vibeserve.modalities.image.audit import ImageAuditor
from pytest_vibeserve.modalities.image.calibration import calibrate
from pytest_vibeserve.modalities.image.reference import ImageReference, squared
from pytest_vibeserve.modalities.image.wire import PATH, ImageAnswer, ImageRequest, ImageWire
from pytest_vibeserve.modalities.perturbation import left_to_full, perturbed
from pytest_vibeserve.modalities.refusal import unrefused
from pytest_vibeserve.modalities.wire import asked
from pytest_vibeserve.report import Check

PROBES = 6
PAIRS = {"quick": 6, "full": 24}
BAD_BODIES = (
    b'{"prompt": "a fox"', b'{"n": 1}', b'{"prompt": 7, "seed": 1}', b'{"prompt": "a fox", "seed": 1, "steps": 0}',
    b'{"prompt": "a fox", "seed": 1, "size": "0x7"}', b'{"prompt": "a fox", "noise": "AAAA"}',
)  # fmt: skip


class ImageJudge:
    """What a test asks for by the fixture `judge` where the modality is `image`; methods as the text Judge's."""

    def __init__(self, bench: Bench, model: Path) -> None:
        """Bind to one served candidate; the reference is loaded on first use."""
        self._bench, self._model, self._wire = bench, model, ImageWire(bench.target, bench.vocabulary)

    @cached_property
    def reference(self) -> ImageReference:
        """The target's reference."""
        return ImageReference(self._model, self._bench.target)

    @cached_property
    def auditor(self) -> ImageAuditor:
        """The reference with the limits that the model itself gives."""
        calibration, quantization = calibrate(self.reference, self._wire), self._bench.target.rules.quantization
        return ImageAuditor(self.reference, calibration, quantization, self._bench.depth)

    def audit(self) -> None:
        """Images, alone and under load, are the model's own of the same noise; twins differ in noise or in words."""
        sizes = self._bench.target.audit
        count = sizes.quick if self._bench.depth == "quick" else sizes.full
        first = self._asked(FIRST_LOOK, "audit/first")
        seen = [self.auditor.seen(answer) for answer in first if not answer.fault]
        refused_at_once(self._bench, [_came(first, "audit"), *self.auditor.glanced(seen, "audit")])

        def stage(number: int) -> list[Check]:
            answers = self._asked(len(seen) if number else count - len(seen), f"audit/{number}")
            faults = [f"{a.request.prompt_text!r}: {a.fault}" for a in answers if a.fault]
            if faults:
                return [counted("audit.answered", faults, len(answers), "images came")]
            seen.extend(self.auditor.seen(answer) for answer in answers)
            return [counted("audit.answered", [], len(seen), "images came"), *self.auditor.checks(seen, "audit")]

        decided(self._bench, stage)

    def interface(self) -> None:
        """Requests that cannot be served are refused as the contract says, and the server goes on drawing."""
        limit = self._bench.target.limits.longest_wait_s
        bad = [Exchange(id=i, method="POST", path=PATH, body=raw, timeout_s=limit) for i, raw in enumerate(BAD_BODIES)]
        replies = self._bench.exchange(bad)
        wrong = [unrefused(raw.decode(), reply) for raw, reply in zip(BAD_BODIES, replies, strict=True)]
        faults = [fault for fault in wrong if fault]
        found = [counted("interface.errors", faults, len(BAD_BODIES), "bad requests were refused")]
        conclude(self._bench, [*found, *_judged(self.auditor, self._asked(4, "interface"), "interface")])

    def repeats(self) -> None:
        """An image that is asked for again is drawn again, unless the target allows stored answers; tried twice."""
        if self._bench.target.rules.response_cache:
            passed_over(self._bench, "repeats.computed", "the target allows stored answers")
            return
        check = repeated(self._pairs(), False)
        conclude(self._bench, [check if check.result == "pass" else repeated(self._pairs(), False)])

    def sessions(self) -> None:
        """Clients that leave in the middle change nobody's image, and their own can be asked for again."""
        answers = deserted(self._bench, self._wire, self._bench.draws("sessions"))
        conclude(self._bench, _judged(self.auditor, answers, "sessions"))

    def canary(self) -> None:
        """Relaunched on a secret perturbed copy of the weights, the server draws as the copy does."""
        if left_to_full(self._bench):
            return
        draws, target = self._bench.draws("canary"), self._bench.target
        probes = self._wire.fresh(draws, PROBES)

        def far(folder: Path) -> bool:
            copy, errors = ImageReference(folder, target), []
            for probe in probes:
                assert isinstance(probe, ImageRequest)
                errors.append(squared(copy.draw(probe), self.reference.draw(probe)))
            return min(errors) > FAR * self.auditor.calibration.noise

        with perturbed(self._model, draws, far) as folder, self._bench.relaunched(folder) as bench:
            copy = replace(self.auditor, reference=ImageReference(folder, target))
            answers = asked(bench, self._wire, self._wire.fresh(draws, 2 * PROBES), target.limits.concurrency)
            conclude(self._bench, _judged(copy, answers, "canary"))

    def sampled(self) -> None:
        """Nothing is sampled: the gate gives the noise."""
        passed_over(self._bench, "sampled.images", "the gate gives the noise: nothing is sampled")

    def examine(self, answers: Sequence[Answer]) -> list[Check]:
        """Audit images that were measured, as many of them as an audit looks at."""
        whole = [answer for answer in answers if isinstance(answer, ImageAnswer) and not answer.fault]
        sizes = self._bench.target.audit
        most = sizes.quick // 3 if self._bench.depth == "quick" else sizes.full // 2
        part = self._bench.draws("examine").sample(whole, min(len(whole), most))
        faults = [answer.fault for answer in answers if answer.fault]
        found = [counted("load.answered", faults, len(answers), f"images came, {len(part)} of them audited")]
        return conclude(
            self._bench, found + (self.auditor.checks([self.auditor.seen(a) for a in part], "load") if part else [])
        )

    def _asked(self, count: int, purpose: str) -> list[ImageAnswer]:
        """Fresh images, an eighth alone; a quarter are twins: the same words and other noise, or the reverse."""
        draws = self._bench.draws(purpose)
        drawn = [request for request in self._wire.fresh(draws, count) if isinstance(request, ImageRequest)]
        twins = max(1, count // 4)
        first, last = drawn[:-twins], drawn[-twins:]
        for index, request in enumerate(last):
            like = draws.choice(first)
            words = index % 2 == 0
            last[index] = replace(
                like, id=request.id, kind="words twin" if words else "noise twin", given=request.given,
                **({"seed": request.seed} if words else {"prompt_text": request.prompt_text}),
            )  # fmt: skip
        few = max(1, count // 8)
        alone = self._ask([replace(request, kind="alone") for request in first[:few]], 1)
        return alone + self._ask([*first[few:], *last], self._bench.target.limits.concurrency)

    def _ask(self, requests: Sequence[ImageRequest], concurrency: int) -> list[ImageAnswer]:
        limit = self._bench.target.limits.longest_wait_s
        replies = self._bench.exchange([self._wire.exchange(request, limit) for request in requests], concurrency)
        return [self._wire.answer(request, reply) for request, reply in zip(requests, replies, strict=True)]

    def _pairs(self) -> list[Pair]:
        """Images together at first, then each again beside a fresh one with as many steps, in random order."""
        draws, count = self._bench.draws("repeats"), PAIRS[self._bench.depth]
        drawn = [request for request in self._wire.fresh(draws, 2 * count) if isinstance(request, ImageRequest)]
        for index in range(count):
            known = drawn[index]
            drawn[index + count] = replace(drawn[index + count], steps=known.steps, guidance=known.guidance)
        self._ask(drawn[:count], self._bench.target.limits.concurrency)
        order = [index for pair in range(count) for index in draws.sample([pair, pair + count], 2)]
        second = dict(zip(order, self._ask([drawn[index] for index in order], 1), strict=True))
        return [Pair(_seconds(second[i + count]), _seconds(second[i]), second[i]) for i in range(count)]


def _seconds(answer: Answer) -> float:
    return max(answer.done_s - answer.sent_s, 1e-6)


def _judged(auditor: ImageAuditor, answers: Sequence[Answer], name: str) -> list[Check]:
    """Whether all images came, and whether each is the model's own."""
    seen = [auditor.seen(answer) for answer in answers if isinstance(answer, ImageAnswer) and not answer.fault]
    return [_came(answers, name), *([auditor.single(seen, name)] if seen else [])]


def _came(answers: Sequence[Answer], name: str) -> Check:
    faults = [f"{answer.request.prompt_text!r}: {answer.fault}" for answer in answers if answer.fault]
    return counted(f"{name}.answered", faults, len(answers), "images came")
