"""Schemas of others are narrowed to what has an end, read from a public set, and what is wrong with a set is said."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.modalities.chat.bounded import LONGEST, Unbounded, bounded, task_of
from pytest_vibeserve.modalities.chat.grammar import Grammar
from pytest_vibeserve.modalities.chat.requests import ChatWorkload
from pytest_vibeserve.modalities.chat.template import Template
from pytest_vibeserve.target import load_target
from pytest_vibeserve.workload import Vocabulary

END = 1
GITHUB: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "a widget",
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "any"},
        "size": {"type": "number", "minimum": 1},
        "kind": {"enum": ["round", "flat", 3, None]},
        "parts": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "integer"}}}},
        "link": {"type": "string", "format": "uri"},
        "on": {"type": "boolean", "default": True},
    },
    "required": ["name", "kind"],
}
FIELD: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "boolean"}}}


def row(schema: object, name: str = "o1") -> str:
    return json.dumps({"json_schema": schema, "unique_id": name}) + "\n"


def chats(model: Path, count: int = 40) -> list[Any]:
    target, vocabulary = load_target("llama_mlx_json", "tiny"), Vocabulary(model)
    return ChatWorkload(target, vocabulary, Template(model, vocabulary), random.Random(2)).requests(count)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bench.jsonl"
    monkeypatch.setenv("VIBESERVE_DATA_SCHEMAS", str(path))
    return path


@pytest.mark.parametrize("seed", range(4))
def test_what_a_narrowed_schema_allows_is_a_document_of_the_given_one_and_no_longer_than_said(
    chat_model: Path, chat_vocabulary: Vocabulary, seed: int
) -> None:
    found, draws = bounded(GITHUB), random.Random(seed)
    grammar, schema, ids = Grammar(chat_model, [END], 512, "compact"), json.dumps(found.schema), list[int]()
    while not grammar.complete(schema, ids):
        ids.append(int(draws.choice(list(np.flatnonzero(grammar.next_allowed(schema, ids))))))
    text = chat_vocabulary.decode(ids)
    Draft202012Validator(GITHUB).validate(json.loads(text))
    assert len(text.encode()) <= found.longest <= LONGEST
    assert set(json.loads(text)) == {"name", "size", "kind", "parts", "on"}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"$ref": "#/x"}, "$ref"),
        ({"anyOf": [FIELD]}, "anyOf"),
        ({"type": ["object", "null"]}, "type"),
        ({"type": "array", "items": {"type": "null"}}, "no object"),
        ({**FIELD, "patternProperties": {}}, "patternProperties"),
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "x+"}}, "required": ["a"]}, "pattern"),
        ({"type": "object", "properties": {"a": {"type": "string", "minLength": 99}}, "required": ["a"]}, "minLength"),
        ({"type": "object", "properties": {"a": {"type": "string", "format": "uri"}}}, "properties"),
        ({"type": "object", "required": ["b"], "properties": {}}, "required"),
        (True, "no object of keywords"),
    ],
)
def test_what_cannot_be_narrowed_is_named(schema: object, reason: str) -> None:
    with pytest.raises(Unbounded) as found:
        bounded(schema)
    assert str(found.value) == reason


def test_a_task_names_every_field_and_is_never_twice_the_same() -> None:
    draws, narrowed = random.Random(1), bounded(GITHUB)
    one, other = task_of(narrowed, draws), task_of(narrowed, draws)
    assert one.schema == other.schema
    assert one.words != other.words
    assert all(f"{name} " in one.words for name in narrowed.schema["properties"])


def test_a_third_of_the_constrained_chats_keep_a_schema_of_the_set_and_the_rest_is_counted(
    given: Path, chat_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given.write_text(row(json.dumps(GITHUB)) + "\n" + row(FIELD, "o2") + row({"anyOf": []}, "o3") + row(True, "o4"))
    with caplog.at_level(logging.WARNING):
        found = [chat for chat in chats(chat_model) if chat.schema]
    public = [chat for chat in found if chat.kind.startswith("public")]
    # Two of the six kinds, which are drawn in turns.
    assert len(public) == 2 * (len(found) // 6) + min(2, len(found) % 6)
    assert {chat.schema for chat in public} == {json.dumps(bounded(one).schema) for one in (GITHUB, FIELD)}
    assert all(getattr(chat.prompt_ids, "condition", "") == chat.schema for chat in public)
    assert [chat.id for chat in chats(chat_model)] == list(range(40))
    assert "2 of 4 schemas are asked for; the others are skipped (anyOf 1, no object of keywords 1)" in caplog.text


def test_a_folder_of_tables_is_read_as_the_published_set_has_it(
    chat_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (tmp_path / "Github_easy").mkdir()
    table = pyarrow.table({"json_schema": [json.dumps(FIELD)], "unique_id": ["Github_easy---o1"]})
    parquet.write_table(table, tmp_path / "Github_easy" / "test.parquet")
    monkeypatch.setenv("VIBESERVE_DATA_SCHEMAS", str(tmp_path))
    assert json.dumps(bounded(FIELD).schema) in {chat.schema for chat in chats(chat_model)}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (row(FIELD) + '{"json_schema"\n', r"bench\.jsonl, line 2: no JSON"),
        (row(FIELD) + "[]\n", r"line 2: not an object with fields json_schema and unique_id"),
        ('{"unique_id": "o1"}\n', r"line 1: field json_schema is missing"),
        ('{"json_schema": {}}\n', r"line 1: field unique_id is missing"),
        (row(FIELD) + row("{]"), r"line 2: field json_schema is no JSON"),
        (row(FIELD) + row("7"), r"line 2: field json_schema is no schema, found '7'"),
        (row({"anyOf": []}), r"0 of 1 schemas are asked for; the others are skipped \(anyOf 1\)"),
    ],
)
def test_a_set_that_is_wrong_is_named_with_its_file_line_and_field(
    text: str, wrong: str, given: Path, chat_model: Path
) -> None:
    given.write_text(text)
    with pytest.raises(UsageError, match=wrong):
        chats(chat_model)


def test_a_file_of_another_kind_is_refused(given: Path, chat_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIBESERVE_DATA_SCHEMAS", str(given.with_suffix(".csv")))
    with pytest.raises(UsageError, match=r"a \.jsonl or \.parquet file is asked for"):
        chats(chat_model)
