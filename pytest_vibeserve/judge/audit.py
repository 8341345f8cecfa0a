"""The audit of greedy answers: margins, logprobs, single requests and signatures against the honest noise floor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.judge.calibration import Calibration, calibrate
from pytest_vibeserve.judge.evidence import LARGEST_MARGIN, Evidence, gather
from pytest_vibeserve.judge.followed import followed
from pytest_vibeserve.judge.ratio import Bounds, Ratio, ratio
from pytest_vibeserve.judge.signature import diagnose, regress, sided, sides_with
from pytest_vibeserve.judge.strata import Part, by_certainty, by_request
from pytest_vibeserve.model_files import end_ids
from pytest_vibeserve.reference import Logits, Reference
from pytest_vibeserve.report import Check, Result
from pytest_vibeserve.target import Target
from pytest_vibeserve.variants import QUANTISERS, Variant, fine, honest
from pytest_vibeserve.workload import Vocabulary

HARD_LIMIT = 8 * math.sqrt(2)
"""Largest margin of one token in units of the honest rms logprob error: a margin is a difference of two of them."""

GROUP_CONFIDENCE = 0.9998
SMALLEST_GROUP = 6
REGRESSED_POSITIONS = {"quick": 200, "full": 480}
SIDED_POSITIONS = {"quick": 0, "full": 1000}
DIAGNOSED_REQUESTS = 4
FLOOR = 0.05
"""Share of the squared noise that is added to both sums of a ratio, for each position."""


@dataclass(frozen=True, slots=True)
class Auditor:
    """Judges evidence by the limits that the model itself gives."""

    reference: Reference
    calibration: Calibration
    forbidden: tuple[str, ...]
    depth: Literal["quick", "full"]

    @classmethod
    def of(
        cls, reference: Reference, vocabulary: Vocabulary, target: Target, depth: Literal["quick", "full"]
    ) -> Auditor:
        """The auditor of a target; calibrates its model on first use."""
        quantization = target.rules.quantization
        calibration = calibrate(reference, vocabulary, quantization)
        return cls(reference, calibration, () if quantization else QUANTISERS, depth)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The honest computations that set the noise floor."""
        return honest(self.reference.dtype)

    @property
    def limit(self) -> float:
        """The largest margin (logits) that a single token may have."""
        spread = max(1.0, self.calibration.ratios[self.calibration.allowed]) if not self.forbidden else 1.0
        return HARD_LIMIT * self.calibration.sigma * math.sqrt(spread)

    def gathered(self, answers: Sequence[Answer], noise: bool = True) -> list[Evidence]:
        """Evidence of answers, along their text where they have no ids.

        With `noise` the honest variants are computed on the same contexts.
        """
        return gather(self.reference, self.told(answers), self.variants if noise else ())

    def told(self, answers: Sequence[Answer]) -> list[Answer]:
        """The answers, those without ids with the ids of a cut of their text that the model can have made."""
        if not any(choice.retokenised for answer in answers for choice in answer.choices):
            return list(answers)
        folder = self.reference.folder
        return followed(self.reference, Vocabulary(folder), answers, end_ids(folder), self.limit)

    def redrawn(self, answer: Answer, choice: Choice) -> tuple[tuple[int, ...], tuple[Logits, ...]] | None:
        """The tokens that were drawn for a sampled choice where the reported ones cannot be those; None where they can.

        With them the logits [tokens, vocabulary] that each was drawn from, the reference's first and its variants'.
        """
        return None

    def checks(self, evidence: Sequence[Evidence], name: str = "audit") -> list[Check]:
        """Every check of the evidence, the costly ones last and only while nothing has failed."""
        found = [self.single(evidence, name), self._margins(evidence, name)]
        found += [*self._logprobs(evidence, name), *self._groups(evidence, name), *_retokenised(evidence, name)]
        if not any(check.result == "fail" for check in found):
            found += self._signatures(evidence, name)
            return found
        return self.explained(evidence, found)

    def explained(self, evidence: Sequence[Evidence], checks: Sequence[Check]) -> list[Check]:
        """The checks, of which those that failed also name the one transformation that explains it, if one does.

        A quantiser whose own errors are so small that no token can lie as far off as one does is not tried.
        """
        worst, errors = max(item.worst for item in evidence), self.calibration.ratios
        tried = [name for name in self.forbidden if worst <= self.limit * math.sqrt(errors.get(name, math.inf))]
        cause = diagnose(self.reference, _shortest(evidence, DIAGNOSED_REQUESTS), tried)
        return [
            check.model_copy(update={"detail": f"{check.detail}; {cause}"})
            if cause and check.result == "fail" else check
            for check in checks
        ]  # fmt: skip

    def single(self, evidence: Sequence[Evidence], name: str) -> Check:
        """No token of any answer lies further below the reference's best than noise can explain."""
        worst = max(evidence, key=lambda item: item.worst, default=None)
        largest = worst.worst if worst else 0.0
        broken = sum(item.worst > self.limit for item in evidence)
        return Check(
            name=f"{name}.request",
            result="fail" if broken else "pass",
            statistic=largest,
            threshold=self.limit,
            unit="logits",
            detail=f"{broken} of {len(evidence)} answers hold a token that the model itself would not have chosen",
            example=shown(worst) if worst and broken else "",
        )

    def reported(self, answers: Sequence[Answer], name: str) -> Iterator[Check]:
        """No logprob that an answer reports lies further from the model's own than noise can explain.

        However its tokens were chosen: logprobs are those before temperature, bias and truncation.
        """
        scored = [answer for answer in answers if answer.request.logprobs]
        held = [item for item in self.gathered(scored, noise=False) if item.reports and not item.choice.retokenised]
        if not held:
            return
        farthest = [float(np.nanmax(np.abs(item.errors))) for item in held]
        broken = sum(far > self.limit for far in farthest)
        worst = held[int(np.argmax(farthest))]
        yield Check(
            name=f"{name}.logprob-values", result="fail" if broken else "pass", statistic=max(farthest),
            threshold=self.limit, unit="nats", example=misreported(worst) if broken else "",
            detail=f"{broken} of {len(held)} answers report a logprob that is not the model's own",
        )  # fmt: skip

    def _margins(self, evidence: Sequence[Evidence], name: str) -> Check:
        found = self._margin_ratio(evidence)
        tokens = sum(len(item.margins) for item in evidence)
        words = f"mean margin over {tokens} greedy tokens, in units of honest noise"
        return self._ratio_check(f"{name}.margin", found, words, max(evidence, key=lambda item: item.worst))

    def _margin_ratio(self, parts: Sequence[Part], confidence: float = 0.998) -> Ratio:
        candidate = np.array([np.minimum(part.margins, LARGEST_MARGIN).sum() for part in parts])
        noise = np.array([np.minimum(part.honest_margins, LARGEST_MARGIN).sum(axis=1) for part in parts])
        tokens = sum(len(part.margins) for part in parts)
        return ratio(candidate, noise, FLOOR * tokens * self.calibration.sigma**2, confidence)

    def _logprobs(self, evidence: Sequence[Evidence], name: str) -> Iterator[Check]:
        reporting = [item for item in evidence if item.reports]
        if len(reporting) < 2:
            return
        candidate = np.array([np.nansum(np.square(item.errors)) for item in reporting])
        noise = np.array(
            [np.where(np.isfinite(i.errors), np.square(i.honest_errors), 0).sum(axis=(1, 2)) for i in reporting]
        )
        count = sum(int(np.isfinite(item.errors).sum()) for item in reporting)
        found = ratio(candidate, noise, FLOOR * count * self.calibration.sigma**2)
        worst = max(reporting, key=lambda item: float(np.nanmax(np.abs(item.errors))))
        words = f"mean squared error of {count} reported logprobs, in units of honest noise"
        yield self._ratio_check(f"{name}.logprobs", found, words, worst)

    def _ratio_check(self, name: str, found: Ratio, words: str, worst: Evidence) -> Check:
        bounds = self.calibration.bounds
        said = found.said(bounds)
        if said == "undecided" and self.depth == "quick" and found.point < bounds.rejected_above:
            said = "pass"
        result: Result = "inconclusive" if said == "undecided" else said
        return Check(
            name=name,
            result=result,
            statistic=found.point,
            threshold=bounds.limit,
            unit="x",
            detail=f"{words}: {found.point:.2f} [{found.low:.2f}, {found.high:.2f}], {_bounds_in_words(self, bounds)}",
            example=shown(worst) if said == "fail" else "",
        )

    def _groups(self, evidence: Sequence[Evidence], name: str) -> Iterator[Check]:
        """A server may not be exact where it is looked at and careless elsewhere."""
        kinds = {group: parts for group, parts in by_request(evidence).items() if len(parts) >= SMALLEST_GROUP}
        yield self._each(kinds, f"{name}.groups", "by kind of request; the largest is that of requests")
        yield self._each(by_certainty(evidence), f"{name}.strata", "by certainty; the largest is that of tokens")

    def _each(self, groups: Mapping[str, Sequence[Part]], name: str, words: str) -> Check:
        bounds = self.calibration.bounds
        found = {group: self._margin_ratio(parts, GROUP_CONFIDENCE) for group, parts in groups.items()}
        failed = [group for group, one in found.items() if one.said(bounds) == "fail"]
        which = max(failed or found, key=lambda group: found[group].point, default="none")
        return Check(
            name=name,
            result="fail" if failed else "pass",
            statistic=found[which].point if found else 0.0,
            threshold=bounds.limit,
            unit="x",
            detail=f"mean margin {words} {which}",
        )

    def _signatures(self, evidence: Sequence[Evidence], name: str) -> Iterator[Check]:
        kinds = fine(self.forbidden)
        positions = REGRESSED_POSITIONS[self.depth]
        subset = _up_to([item for item in evidence if item.reports], positions)
        if kinds and sum(len(item.margins) for item in subset) >= positions / 4:
            found = max(regress(self.reference, subset, kinds), key=lambda item: item.coefficient)
            yield Check(
                name=f"{name}.signature",
                result="fail" if found.found else "pass",
                statistic=found.coefficient,
                threshold=0.25,
                unit="share",
                detail=f"most like {found.name} weights: coefficient {found.coefficient:.2f}, z {found.z:.1f}",
                example=shown(subset[0]) if found.found else "",
            )
        silent = _up_to([item for item in evidence if not item.reports], SIDED_POSITIONS[self.depth])
        if kinds and silent:
            counts = {kind.name: sided(self.reference, silent, kind) for kind in kinds[::2]}
            quantiser, (ours, either) = max(counts.items(), key=lambda item: item[1][0] / max(1, item[1][1]))
            yield Check(
                name=f"{name}.siding",
                result="fail" if sides_with(ours, either) else "pass",
                statistic=ours / max(1, either),
                threshold=0.5,
                unit="share",
                detail=f"{ours} of {either} parted tokens side with {quantiser} weights",
                example=shown(silent[0]) if sides_with(ours, either) else "",
            )


def _retokenised(evidence: Sequence[Evidence], name: str) -> Iterator[Check]:
    """Says that a server reports no token ids, where it does not."""
    silent = sum(item.choice.retokenised for item in evidence)
    if silent:
        yield Check(
            name=f"{name}.retokenised", result="pass", statistic=silent, threshold=len(evidence), unit="answers",
            detail=f"no token ids: {silent} of {len(evidence)} answers were followed along their text",
        )  # fmt: skip


def shown(item: Evidence) -> str:
    """One burned example: the prompt, the token with the largest margin, and what the model would have said."""
    position, prompt = int(item.margins.argmax()), item.context.prompt
    return (
        f"prompt {list(prompt[:12])}{'...' if len(prompt) > 12 else ''} ({len(prompt)} tokens), "
        f"answer token {position} is {item.context.output[position]}, the model says "
        f"{int(item.best[position])}, {float(item.margins[position]):.2f} logits above it"
    )


def misreported(item: Evidence) -> str:
    """One burned example: the prompt, the logprob that lies furthest off, and the model's own."""
    position, place = np.unravel_index(int(np.nanargmax(np.abs(item.errors))), item.errors.shape)
    own, prompt = float(item.truth[position, place]), item.context.prompt
    return (
        f"prompt {list(prompt[:12])}{'...' if len(prompt) > 12 else ''} ({len(prompt)} tokens), at answer token "
        f"{position} id {int(item.top[position, place])} has logprob {own + float(item.errors[position, place]):.2f} "
        f"in the answer, {own:.2f} by the model"
    )


def _bounds_in_words(auditor: Auditor, bounds: Bounds) -> str:
    calibration = auditor.calibration
    return (
        f"limit {bounds.limit:.2f} between {calibration.allowed} ({bounds.honest:.2f}) "
        f"and {calibration.nearest} ({bounds.forbidden:.2f})"
    )


def _shortest(evidence: Sequence[Evidence], count: int) -> list[Evidence]:
    ordered = sorted(evidence, key=lambda item: (not item.reports, len(item.context.prompt)))
    return ordered[:count]


def _up_to(evidence: Sequence[Evidence], positions: int) -> list[Evidence]:
    """The evidence with the shortest contexts for their answers, up to a number of positions."""
    kept: list[Evidence] = []
    total = 0
    for item in sorted(evidence, key=lambda item: len(item.context.prompt) / len(item.context.output)):
        if total >= positions:
            break
        kept.append(item)
        total += len(item.margins)
    return kept
