"""A run as the loop would have recorded it, for whoever shows runs."""

from __future__ import annotations

import math
from pathlib import Path

from pytest_vibeserve.distributions import distribution
from pytest_vibeserve.insight import Insight
from pytest_vibeserve.report import (
    CandidatePart,
    Ceiling,
    Check,
    Comparison,
    Distribution,
    Environment,
    Gain,
    Hint,
    Measurement,
    Report,
    Seed,
    TargetPart,
    Verdict,
    write_report,
)
from vibeserve_loop.ledger.runs import RunFolder, create
from vibeserve_loop.records import AgentResult, Assessment, Decision, Round, Settings, Spend, Task
from vibeserve_loop.workspace import Workspace


def measurements(value: float) -> tuple[Measurement, ...]:
    rate = Measurement(
        metric="output_throughput", load="c16", value=value, low=value * 0.98, high=value * 1.02, unit="tok/s",
        direction="max", headline=True, samples=(value * 0.99, value * 1.01), ceiling_share=value / 1000,
    )  # fmt: skip
    wait = Measurement(
        metric="ttft_p50", load="c16", value=9000 / value, low=8800 / value, high=9200 / value, unit="ms",
        direction="min", samples=(8900 / value, 9100 / value),
    )  # fmt: skip
    return rate, wait


def distributions(value: float) -> tuple[Distribution, ...]:
    found = []
    for load in ("c1", "c16", "poisson"):
        for latency in ("ttft", "tpot", "itl", "e2e_latency"):
            times = [9000 / value * 1.05 ** (n % 37 - 18) for n in range(400)]
            found.append(distribution(latency, load, [*times, math.inf] if latency == "ttft" else times))
    return tuple(found)


def compared(value: float, base: float) -> Comparison:
    gain = value / base
    return Comparison(
        baseline="base", baseline_tree="t", metric="output_throughput", load="c16", gain=gain, low=gain * 0.97,
        high=gain * 1.03, pairs=8, conclusion="better" if gain > 1 else "worse", baseline_value=base,
        candidate_value=value, unit="tok/s",
        objectives=tuple(
            Gain(metric=metric, load="c16", gain=gain, low=gain * 0.97, high=gain * 1.03, conclusion="better")
            for metric in ("output_throughput", "ttft_p50")
        ),
    )  # fmt: skip


def gate_report(number: int, value: float, text: str) -> Report:
    return Report(
        schema=1, target=TargetPart(name="lab", profile="full", digest="d", suite_digest="s"),
        candidate=CandidatePart(path="c", tree="t"), depth="quick", seed=Seed(commitment="c", reveal="r"),
        environment=Environment(
            isolation="none", platform="p", cpu=text or "cpu", cores=2, memory_gib=8, python="3",
            packages={"numpy": "2"},
        ),
        verdict=Verdict(outcome="accepted", reason="every check passed"), measurements=measurements(value),
        distributions=distributions(value),
        ceilings=(Ceiling(metric="rate", load="c16", value=1000, unit="tok/s", derivation="10 MB at 10 GB/s"),),
        command=f"pytest --vibeserve-candidate {number}",
    )  # fmt: skip


class Sample:
    """Writes a recorded run as the loop would: a starter, rounds of work, and a final gate."""

    def __init__(self, runs: Path, name: str, text: str = "") -> None:
        settings = Settings(schema=1, id=name, created=1.0, target=str(runs / "targets" / "lab"))
        self.folder, self.text = create(settings, runs), text
        self.history = self.folder.history()
        self.workspace = Workspace(self.folder.workspace)
        starter = runs / f"starter-{name}"
        starter.mkdir()
        (starter / "server.py").write_text("print('serving')\n")
        self.commit = self.workspace.begin(starter, 1.0).sha
        self.base, self.value = 0, 100.0
        self.add("starter", 100.0, None)

    def add(self, kind: str, value: float, comparison: Comparison | None, patch: str = "") -> None:
        number = len(self.history.rounds)
        commit = self.commit
        if kind == "work":
            (self.folder.workspace / "server.py").write_text(f"print('serving')\n{patch or f'# round {number}'}\n")
            commit = self.workspace.commit(f"round {number}", self.commit, float(number)).sha
        kept = comparison is None or comparison.conclusion == "better"
        text = self.text or f"text {number}"
        assessment = Assessment(
            outcome="accepted", reason=text, measurements=measurements(value), comparison=comparison,
            failed=() if kept else (Check(name="some.check", result="fail", detail=text, example=text),),
            hints=(Hint(name="idle-cores", value=1.5, text=text),),
            insight=Insight(load="c16", seconds=1, decode=value / 400, idle=0.1, notes=(text,)),
            command=f"pytest --vibeserve-candidate {number} {text}",
        )  # fmt: skip
        work = AgentResult(summary=text, techniques=(text,), spend=Spend(seconds=3, usd=0.25, tokens_in=10))
        record = Round(
            schema=1, round=number, task=Task(kind=kind, base=self.base, hypothesis=text), commit=commit,
            work=work if kind == "work" else None, assessment=assessment,
            decision=Decision(ruling="accept" if kept else "reject", reason=text), started=1.0, wall_s=20.0,
        )  # fmt: skip
        self.history.append(record)
        write_report(gate_report(number, value, self.text), self.folder.round(number) / "report.json")
        if kind == "work" and kept:
            self.base, self.value, self.commit = number, value, commit

    def work(self, value: float, patch: str = "") -> None:
        self.add("work", value, compared(value, self.value), patch)

    def final(self) -> None:
        self.add("final", self.value, compared(self.value, 100.0))


def sample(runs: Path, name: str = "amber", text: str = "") -> RunFolder:
    made = Sample(runs, name, text)
    for value in (150.0, 140.0, 300.0):
        made.work(value, text)
    made.final()
    return made.folder
