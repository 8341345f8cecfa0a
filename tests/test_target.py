"""target.toml is checked once, and every error names the field and what to write instead."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmarks.target_page import PAGE, page
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.target import load_target

TARGETS = Path(__file__).resolve().parents[1] / "targets"
PLAIN = """
schema = 1
name = "mine"
modality = "text"

[model]
id = "some/model"
revision = "0123abc"
dtype = "bfloat16"

[hardware]
backend = "cpu"
tuned_on = "2 cores"

[[mix]]
name = "chat"
weight = 1
prompt_tokens = [16, 96]
output_tokens = [8, 32]

[[load]]
name = "c1"

[[objective]]
metric = "output_throughput"
load = "c1"
direction = "max"
unit = "tok/s"

[profiles.tiny.limits]
concurrency = 2
"""

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a target.toml and return the name by which it is loaded."""

    def written(text: str) -> str:
        (tmp_path / "target.toml").write_text(text, encoding="utf-8")
        return str(tmp_path)

    return written


def changed(before: str, after: str) -> str:
    assert PLAIN.count(before) == 1, before
    return PLAIN.replace(before, after)


def test_the_least_target_is_enough(write: Write) -> None:
    target = load_target(write(PLAIN))
    assert target.headline.metric == "output_throughput"
    assert target.load_named("c1").arrival == "closed"
    assert not target.rules.quantization


def test_a_profile_lies_over_the_full_target(write: Write) -> None:
    name = write(PLAIN)
    assert load_target(name, "tiny").limits.concurrency == 2
    assert load_target(name).limits.concurrency == 16
    assert load_target(name, "tiny").model == load_target(name).model


IMAGES = changed('modality = "text"', 'modality = "image"').replace('"max"\nunit = "tok/s"', '"min"\nunit = "ms"')
IMAGES = IMAGES.replace("output_throughput", "e2e_latency_p50")
MISTAKES = {
    "a missing table": (changed('[hardware]\nbackend = "cpu"\ntuned_on = "2 cores"\n', ""),
                        "hardware is missing: write [hardware] with backend and tuned_on"),
    "a missing field": (changed('dtype = "bfloat16"\n', ""), "model.dtype is missing: precision of the weights"),
    "a misspelt field": (changed("tuned_on", "tunedon"), "hardware.tunedon is no field; did you mean tuned_on?"),
    "a misspelt table": (changed("[hardware]", "[hardwar]"), "hardwar is no field; did you mean hardware?"),
    "an unknown choice": (changed('"bfloat16"', '"int8"'), "model.dtype: Input should be 'float32', 'bfloat16' or"),
    "a wrong type": (changed("weight = 1", 'weight = "heavy"'), "mix.0.weight: Input should be a valid number"),
    "another schema": (changed("schema = 1", "schema = 2"), "schema: Input should be 1, found 2"),
    "a range upside down": (changed("[16, 96]", "[96, 16]"), "mix.0.prompt_tokens: should be [least, most]"),
    "an empty answer": (changed("[8, 32]", "[0, 32]"), "mix.0.output_tokens: should be [least, most]"),
    "no objective": (PLAIN[: PLAIN.index("[[objective]]")], "objective is missing: write [[objective]]"),
    "an objective elsewhere": (changed('load = "c1"', 'load = "c2"'), "has no load 'c2'; did you mean c1?"),
    "an unknown metric": (changed('"output_throughput"', '"throughput"'), "did you mean output_throughput"),
    "two models": (changed("revision =", 'builder = "a:b"\nrevision ='), "give either `builder` or `revision`"),
    "no model": (changed('revision = "0123abc"\n', ""), "give either `builder` or `revision`"),
    "another unit": (changed('"tok/s"', '"s"'), 'output_throughput at c1: write direction = "max" and unit = "tok/s"'),
    "the wrong way": (changed('"max"', '"min"'), 'write direction = "max" and unit = "tok/s"'),
    "a bound below nothing": (changed('"tok/s"', '"tok/s"\nbound = -5'), "objective.0.bound: Input should be"),
    "a bound that is no number": (changed('"tok/s"', '"tok/s"\nbound = nan'), "objective.0.bound: Input should be"),
    "an objective twice": (PLAIN + PLAIN[PLAIN.index("[[objective]]") : PLAIN.index("[profiles")], "stated twice"),
    "what no image has": (IMAGES.replace("e2e_latency", "ttft"), "ttft_p50 at c1: answers come whole there"),
    "noise without columns": (IMAGES + "[image]\nnoise = [4, 8]\n", "image.noise.2 is missing"),
    "an image of negative size": (IMAGES + "[image]\nsize = [-64, 64]\n", "image.size.0: Input should be greater than"),
    "clips upside down": (PLAIN + "[speech]\nseconds = [2.0, 1.0]\n", "speech.seconds: should be [least, most]"),
    "clips of negative length": (PLAIN + "[speech]\nseconds = [-2.0, 1.0]\n", "speech.seconds.0: Input should be"),
    "lengths beyond the context": (changed("[16, 96]", "[16, 9000]"), "up to 9032 tokens, but limits.context is 1024"),
    "two loads of one name": (PLAIN + '\n[[load]]\nname = "c1"\n', "two loads have one name"),
    "a profile that is no table": (changed("[profiles.tiny.limits]\nconcurrency = 2", "[profiles]\ntiny = 2"),
                                   "write tables such as [profiles.tiny.model]"),
    "no TOML": ("schema = ", "not valid TOML"),
    "nothing": ("", "schema is missing: write schema = 1"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_the_file_and_the_field_and_what_to_write(mistake: str, write: Write) -> None:
    text, told = MISTAKES[mistake]
    with pytest.raises(UsageError) as raised:
        load_target(write(text))
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_every_mistake_is_told_at_once(write: Write) -> None:
    text = changed('"bfloat16"', '"int8"').replace('backend = "cpu"', 'backend = "abacus"')
    with pytest.raises(UsageError, match=r"model\.dtype: .*; hardware\.backend: "):
        load_target(write(text))


def test_an_unknown_profile_is_answered_with_the_nearest(write: Write) -> None:
    with pytest.raises(UsageError, match="no profile 'tinny'; did you mean tiny"):
        load_target(write(PLAIN), "tinny")


def test_a_file_that_is_not_utf_8_is_not_valid(tmp_path: Path) -> None:
    (tmp_path / "target.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(UsageError, match="not valid TOML"):
        load_target(str(tmp_path))


@given(data=st.data())
def test_no_single_wrong_value_is_anything_but_a_usage_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = PLAIN.splitlines()
    at = data.draw(st.sampled_from([number for number, line in enumerate(lines) if " = " in line]))
    value = data.draw(st.sampled_from(["-1", "0", "nan", "inf", "''", "[]", "{}", "[1]", "true", "1979-05-27", "'x'"]))
    lines[at] = f"{lines[at].split(' = ')[0]} = {value}"
    folder = tmp_path_factory.mktemp("target")
    (folder / "target.toml").write_text("\n".join(lines))
    for profile in ("full", "tiny"):
        assert told(str(folder), profile).startswith(f"{folder}/target.toml: ")


def told(folder: str, profile: str) -> str:
    """What loading says: of the mistake that it found, or that there is none."""
    try:
        load_target(folder, profile)
    except UsageError as error:
        return str(error)
    return f"{folder}/target.toml: as it should be"


def fields_of(part: type[BaseModel]) -> list[tuple[str, Any]]:
    return [(f"{part.__name__}.{name}", info) for name, info in part.model_fields.items()]


def test_every_field_of_a_target_is_documented() -> None:
    from pytest_vibeserve import target

    parts = [part for part in vars(target).values() if isinstance(part, type) and issubclass(part, BaseModel)]
    undocumented = [name for part in parts for name, info in fields_of(part) if not info.description]
    assert undocumented == []


def test_the_page_about_targets_lists_every_field() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_shipped_target_loads_in_every_profile(root: Path) -> None:
    files = sorted((root / "targets").glob("*/target.toml"))
    assert files
    for file in files:
        profiles = tomllib.loads(file.read_text()).get("profiles", {})
        assert "tiny" in profiles, f"{file} has no [profiles.tiny]"
        for profile in ("full", *profiles):
            assert load_target(str(file.parent), profile).name == file.parent.name


@pytest.mark.parametrize("name", sorted(path.parent.name for path in TARGETS.glob("*/target.toml")))
def test_every_target_has_a_starter_and_baselines(name: str) -> None:
    target = load_target(name, "tiny")
    assert (target.folder / "starter" / "candidate.toml").is_file()
    assert len(target.own_candidates) > 1


def test_a_target_may_link_to_anothers_starter_and_baselines() -> None:
    laptop, card = load_target("show_o2_macbook", "tiny"), load_target("show_o2_h100", "tiny")
    assert laptop.starter_folder.samefile(card.starter_folder)
    assert {"starter", "torch-compile"} <= set(laptop.own_candidates) == set(card.own_candidates)


def test_only_speech_with_streams_has_loads_of_them() -> None:
    target = load_target("moonshine_streaming", "tiny")
    assert [load.arrival for load in target.load] == ["streams", "closed"]
    assert not target.load[0].is_open
