"""Honest image servers are accepted; every cheaper image is refused by the check that is about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from wired import judged, refused_by

from pytest_vibeserve.modalities.image.audit import traced
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Vocabulary

SERVER = "show_o2_h100"
SLOW = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["honest", "float32", "narrow-noise", "branches-apart"])
def test_an_honest_server_is_accepted(
    image_model: Path, image_target: Target, vocabulary: Vocabulary, kind: str
) -> None:
    with judged(SERVER, image_model, kind, image_target, vocabulary) as (bench, judge):
        judge.audit()
        judge.interface()
    assert {"audit.noise-ratio", "audit.request", "interface.errors"} <= {check.name for check in bench.checks}
    assert {check.result for check in bench.checks} == {"pass"}


@pytest.mark.parametrize(
    ("kind", "check", "cause"),
    [
        ("fewer-steps", "audit.request", "one step fewer"),
        pytest.param("constant", "audit.request", "a constant image", marks=SLOW),
        pytest.param("unguided", "audit.request", "without guidance", marks=SLOW),
        pytest.param("half-size", "audit.request", "half the size", marks=SLOW),
        pytest.param("own-noise", "audit.request", "", marks=SLOW),
        pytest.param("by-words", "audit.request", "", marks=SLOW),
    ],
)
def test_a_cheaper_image_is_refused_and_its_cause_is_named(
    image_model: Path, image_target: Target, vocabulary: Vocabulary, kind: str, check: str, cause: str
) -> None:
    with judged(SERVER, image_model, kind, image_target, vocabulary) as (bench, judge):
        assert check in refused_by(bench, judge.audit)
    assert cause in " ".join(found.detail for found in bench.checks if found.result == "fail")


@SLOW
def test_stored_images_are_told_by_their_time(image_model: Path, image_target: Target, vocabulary: Vocabulary) -> None:
    with judged(SERVER, image_model, "memoised", image_target, vocabulary) as (bench, judge):
        assert refused_by(bench, judge.repeats) == {"repeats.computed"}


@SLOW
def test_images_drawn_afresh_take_their_time_again(
    image_model: Path, image_target: Target, vocabulary: Vocabulary
) -> None:
    with judged(SERVER, image_model, "honest", image_target, vocabulary) as (bench, judge):
        judge.repeats()
        judge.sampled()
    assert {check.name: check.result for check in bench.checks} == {
        "repeats.computed": "pass", "sampled.images": "skip",
    }  # fmt: skip


@SLOW
def test_rounded_weights_are_told_from_honest_noise(
    image_model: Path, image_target: Target, vocabulary: Vocabulary
) -> None:
    with judged(SERVER, image_model, "eight-bit", image_target, vocabulary) as (bench, judge):
        assert refused_by(bench, judge.audit) & {"audit.noise-ratio", "audit.groups"}


@pytest.mark.parametrize(
    "kind", [pytest.param("eight-bit-in-groups", marks=SLOW), "words-in-eight-bit"], ids=["all weights", "some"]
)
def test_rounded_weights_that_err_less_than_honest_noise_are_told_by_where_their_errors_point(
    image_model: Path, image_target: Target, vocabulary: Vocabulary, kind: str
) -> None:
    with judged(SERVER, image_model, kind, image_target, vocabulary) as (bench, judge):
        assert "audit.signature" in refused_by(bench, judge.audit)


@SLOW
@pytest.mark.parametrize("kind", ["guidance-kept", "velocity-foretold", "meaning-kept", "words-by-their-beginning"])
def test_what_a_step_takes_from_another_or_from_other_words_is_refused(
    image_model: Path, image_target: Target, vocabulary: Vocabulary, kind: str
) -> None:
    with judged(SERVER, image_model, kind, image_target, vocabulary) as (bench, judge):
        assert refused_by(bench, judge.audit) & {"audit.request", "audit.noise-ratio", "audit.groups"}


def test_a_trace_is_the_share_of_one_deviation_in_another() -> None:
    draws = np.random.default_rng(0)
    truth, deviation, noise = (draws.standard_normal((64, 64, 3)).astype(np.float32) for _ in range(3))
    assert traced(truth + deviation, truth + deviation, truth) == pytest.approx(1.0)
    assert traced(truth + 0.4 * deviation + noise, truth + deviation, truth) == pytest.approx(0.4, abs=0.05)
    assert traced(truth + noise, truth + deviation, truth) == pytest.approx(0.0, abs=0.05)
    assert traced(truth + noise, truth, truth) == 0.0
