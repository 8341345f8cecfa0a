"""The summary is understood at a glance, and its Markdown cannot be broken by what a candidate says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_vibeserve.report import (
    SCHEMA,
    CandidatePart,
    Ceiling,
    Check,
    Comparison,
    Environment,
    Gain,
    Hint,
    Measurement,
    Report,
    Seed,
    TargetPart,
    Verdict,
)
from pytest_vibeserve.terminal import WORDS, lines, markdown, title

PASSED = Check(name="greedy.ratio", result="pass", statistic=1.1, threshold=1.9, detail="like the honest")
FAILED = Check(name="length.max-tokens", result="fail", statistic=3, threshold=0, unit="requests", detail="too short",
               example="request 7: 12 tokens where max_tokens is 40")  # fmt: skip
HEADLINE = Measurement(metric="output_throughput", load="c16", value=1234.5, low=1200, high=1270, unit="tok/s",
                       direction="max", headline=True, ceiling_share=0.31)  # fmt: skip
TTFT = Measurement(metric="ttft_p50", load="c1", value=12.3, low=11, high=14, unit="ms", direction="min")


def a_report(*checks: Check, outcome: str = "accepted", provisional: bool = False, **parts: object) -> Report:
    verdict = Verdict.model_validate(
        {"outcome": outcome, "reason": "the reason", "provisional": provisional, "checks": checks}
    )
    whole = Report(
        schema=SCHEMA,
        target=TargetPart(name="tiny_llama", profile="tiny", digest="d", suite_digest="s"),
        candidate=CandidatePart(path="/a/candidate", tree="0123456789abcdef"),
        depth="quick",
        seed=Seed(commitment="c" * 64, reveal="r"),
        environment=Environment(isolation="bubblewrap", platform="x", cpu="x", cores=2, memory_gib=4, python="3"),
        verdict=verdict,
        command="pytest --vibeserve-target tiny_llama",
    )
    return whole.model_copy(update=parts)


def text(report: Report) -> str:
    return "\n".join(lines(report))


@pytest.mark.parametrize("outcome", WORDS)
def test_the_title_is_the_verdict_in_capitals_and_its_reason(outcome: str) -> None:
    told = title(a_report(outcome=outcome))
    assert told == f"{WORDS[outcome]}: the reason"
    assert told.isprintable()


def test_a_provisional_acceptance_says_so() -> None:
    assert title(a_report(provisional=True)) == "ACCEPTED (provisional): the reason"


def test_a_failed_check_is_shown_with_numbers_and_example_and_a_passed_one_is_not() -> None:
    told = text(a_report(FAILED, PASSED, outcome="rejected"))
    assert "fail       length.max-tokens: too short [3 against a limit of 0 requests]" in told
    assert "for example: request 7: 12 tokens where max_tokens is 40" in told
    assert "greedy.ratio" not in told


def test_the_headline_comes_before_other_measurements() -> None:
    told = text(a_report(measurements=(TTFT, HEADLINE)))
    headline = "headline   output_throughput at c16: 1,234 tok/s [1,200, 1,270], 31% of the ceiling"
    assert headline in told
    assert told.index(headline) < told.index("ttft_p50 at c1: 12.3 ms [11, 14]")


def test_a_small_share_of_the_ceiling_is_not_rounded_away() -> None:
    report = a_report(measurements=(HEADLINE.model_copy(update={"ceiling_share": 0.00066}),))
    assert "0.066% of the ceiling" in text(report)
    assert "| 0.066% |" in markdown(report)


def test_the_three_largest_hints_are_shown() -> None:
    hints = tuple(Hint(name=f"hint-{value}", value=value, text="text") for value in (1.0, 4.0, 2.0, 3.0))
    told = text(a_report(hints=hints))
    assert [line.split()[1] for line in told.splitlines() if line.startswith("hint")] == [
        "hint-4.0:", "hint-3.0:", "hint-2.0:",
    ]  # fmt: skip


def test_a_comparison_says_how_many_times_and_what_may_be_concluded() -> None:
    comparison = Comparison(
        baseline="starter", baseline_tree="t", metric="output_throughput", load="c16", gain=2.5, low=2.3, high=2.7,
        pairs=4, conclusion="better", baseline_value=400, candidate_value=1000, unit="tok/s",
    )  # fmt: skip
    told = text(a_report(comparison=comparison))
    assert "2.50 times [2.30, 2.70] its output_throughput at c16 (1,000 to 400 tok/s), better, 4 interleaved" in told
    assert "not compared" not in told


def test_a_comparison_says_at_which_loads_it_holds() -> None:
    gains = tuple(
        Gain(metric=metric, load="c16", gain=2, low=1.9, high=2.1, conclusion="better") for metric in ("a", "b")
    )
    comparison = Comparison(
        baseline="starter", baseline_tree="t", metric="a", load="c16", gain=2, low=1.9, high=2.1, pairs=6,
        conclusion="better", baseline_value=1, candidate_value=2, unit="tok/s", objectives=gains,
        relation="dominates", not_compared=("c1", "poisson"),
    )  # fmt: skip
    report = a_report(comparison=comparison)
    said = "dominates at c16 (2 objectives); c1, poisson not compared"
    assert said in text(report)
    assert said in markdown(report)
    assert "| b | c16 | x2.00 | 1.90 to 2.10 | better |" in markdown(report)


def test_the_ceiling_of_the_headline_is_shown_with_its_derivation() -> None:
    ceilings = tuple(
        Ceiling(metric="output_throughput", load=load, value=9000, unit="tok/s", derivation=f"of {load}")
        for load in ("c1", "c16")
    )
    told = text(a_report(measurements=(HEADLINE,), ceilings=ceilings))
    assert "ceiling    9,000 tok/s: of c16" in told
    assert "of c1\n" not in told


def test_the_summary_ends_with_the_command_that_does_it_again() -> None:
    assert text(a_report()).splitlines()[-1] == "again      pytest --vibeserve-target tiny_llama"


def test_an_open_interval_is_shown_as_one() -> None:
    assert "[90, inf]" in text(a_report(measurements=(TTFT.model_copy(update={"low": 90.0, "high": math.inf}),)))


@given(said=st.text())
def test_nothing_that_a_candidate_says_commands_the_terminal(said: str) -> None:
    check = FAILED.model_copy(update={"detail": said, "example": said})
    verdict = Verdict(outcome="rejected", reason=said, checks=(check,))
    report = a_report().model_copy(update={"verdict": verdict})
    assert title(report).isprintable()
    assert all(line.isprintable() for line in lines(report))


def tables(told: str) -> list[list[str]]:
    """The rows of each table of a Markdown text."""
    blocks = [block.splitlines() for block in told.split("\n\n")]
    return [[line for line in block if line.startswith("|")] for block in blocks if block[0].startswith("|")]


@given(detail=st.text(), example=st.text())
def test_a_candidates_words_stay_in_their_cell(detail: str, example: str) -> None:
    check = FAILED.model_copy(update={"detail": detail, "example": example})
    told = markdown(a_report(check, PASSED, outcome="rejected", measurements=(HEADLINE,)))
    measured, judged = tables(told)
    assert (len(measured), len(judged)) == (3, 4)
    for row in judged:
        assert row.replace("\\|", "").count("|") == 6, row


def test_markdown_names_verdict_headline_checks_and_command() -> None:
    told = markdown(a_report(FAILED, outcome="rejected", measurements=(TTFT, HEADLINE)))
    assert told.startswith("## REJECTED: the reason\n")
    assert "| **output_throughput** | c16 | 1,234 tok/s | 1,200 to 1,270 | 31% |" in told
    assert "| length.max-tokens | fail | 3 requests | 0 | too short |" in told
    assert "`pytest --vibeserve-target tiny_llama`" in told
