"""The Judge: accepts or refuses a server's answers; what a target's accuracy tests ask for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge import repeats, sampled
from pytest_vibeserve.judge.agreement import agreement_checks
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.bench import Bench, ContractBroken, Inconclusive
from pytest_vibeserve.judge.evidence import Evidence
from pytest_vibeserve.judge.examination import examined
from pytest_vibeserve.judge.interface import interface_checks
from pytest_vibeserve.judge.probes import alone_and_together
from pytest_vibeserve.reference import Reference, model_folder
from pytest_vibeserve.report import Check

__all__ = ["Bench", "ContractBroken", "Inconclusive", "Judge"]

DOUBLINGS = 3


class Judge:
    """What a test asks for by the fixture `judge`; each method records its checks and raises when one fails.

    ContractBroken says in one sentence what was broken, Inconclusive that the largest sample did not decide.
    """

    def __init__(self, bench: Bench, model: Path | None = None) -> None:
        """Bind to one served candidate; the reference is loaded on first use."""
        self._bench = bench
        self._model = model

    @cached_property
    def auditor(self) -> Auditor:
        """The reference with the limits of its calibration."""
        target = self._bench.target
        reference = Reference(self._folder, target)
        return Auditor.of(reference, self._bench.vocabulary, target, self._bench.depth)

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """The ids that end an answer, as the model's configuration names them."""
        for name in ("generation_config.json", "config.json"):
            path = self._folder / name
            found = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.is_file() else None
            if found is not None:
                return frozenset([found] if isinstance(found, int) else found)
        return frozenset()

    def audit(self) -> None:
        """Greedy answers, alone and under load, are the model's own within honest noise; doubles while undecided."""
        count = self._bench.target.audit.quick if self._bench.depth == "quick" else self._bench.target.audit.full
        evidence: list[Evidence] = []
        for stage in range(DOUBLINGS + 1):
            draws = self._bench.draws(f"audit/{stage}")
            answers = alone_and_together(self._bench, draws, count if stage == 0 else count * 2 ** (stage - 1))
            agreed = agreement_checks(answers, self._bench.vocabulary, self.end_ids, "audit")
            if any(check.result == "fail" for check in agreed):
                self._conclude(agreed)
            evidence += self.auditor.gathered(answers)
            found = [*agreed, *self.auditor.checks(evidence)]
            if stage == DOUBLINGS or not _undecided(found):
                self._conclude(found)
                return

    def sampled(self) -> None:
        """Sampled tokens are draws from the distribution that was asked for; a soft failure is tried once more."""
        soft = {"sampled.surprisal", "sampled.ranks"}
        checks: list[Check] = []
        for attempt in range(2):
            requests = sampled.requests(self._bench, f"sampled/{attempt}")
            answers = self._bench.ask(requests, self._bench.target.limits.concurrency)
            agreed = agreement_checks(answers, self._bench.vocabulary, self.end_ids, "sampled")
            seed = self._bench.draws("sampled/ranks").getrandbits(32)
            checks = [*agreed, *sampled.checks(sampled.compare(self.auditor, answers, seed))]
            failed = {check.name for check in checks if check.result == "fail"}
            if not failed or failed - soft:
                break
        self._conclude(checks)

    def interface(self) -> None:
        """Every field of a request means what the contract says; refusals are refusals, and the server lives on."""
        self._conclude(list(interface_checks(self._bench, self.auditor, self.end_ids)))

    def repeats(self) -> None:
        """A prompt that comes again is computed again, unless the target allows stored answers; tried twice."""
        target = self._bench.target
        if target.rules.response_cache:
            self._bench.record(Check(name="repeats.computed", result="skip", detail="the target allows stored answers"))
            return
        check = self._repeated(target.rules.speculation)
        if check.result == "fail":
            check = self._repeated(target.rules.speculation)
        self._conclude([check, repeats.same_draw(self._bench, self.auditor, self._bench.draws("repeats/sampled"))])

    def examine(self, answers: Sequence[Answer]) -> list[Check]:
        """Audit the answers that were measured: what each says of itself, then margins against the reference."""
        draws = self._bench.draws("examine")
        checks = examined(self.auditor, answers, draws, self._bench.target.audit)
        agreed = agreement_checks(answers, self._bench.vocabulary, self.end_ids, "load")
        return self._conclude([*agreed, *checks])

    def _repeated(self, speculation: bool) -> Check:
        return repeats.check(repeats.paired(self._bench, self._bench.draws("repeats")), speculation)

    @cached_property
    def _folder(self) -> Path:
        return self._model or model_folder(self._bench.target)

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


def _undecided(checks: Sequence[Check]) -> bool:
    results = {check.result for check in checks}
    return "inconclusive" in results and "fail" not in results
