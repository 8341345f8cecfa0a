"""Settings come from the generation's configuration first; prompts carry what else they depend on."""

from __future__ import annotations

from pathlib import Path

from pytest_vibeserve.load_generator import Reply
from pytest_vibeserve.modalities.conditioned import Conditioned
from pytest_vibeserve.modalities.reference_file import functions
from pytest_vibeserve.modalities.refusal import unrefused
from pytest_vibeserve.model_files import end_ids, setting


def test_the_generation_configuration_comes_first(tmp_path: Path) -> None:
    assert end_ids(tmp_path) == frozenset()
    (tmp_path / "config.json").write_text('{"eos_token_id": 2, "vocab_size": 9}')
    assert (end_ids(tmp_path), setting(tmp_path, "vocab_size")) == (frozenset({2}), 9)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [3, 4]}')
    assert end_ids(tmp_path) == frozenset({3, 4})


def test_a_conditioned_prompt_is_its_ids_and_more() -> None:
    found = Conditioned((1, 2), "a schema")
    assert found == (1, 2)
    assert (found.condition, (*found, 3)) == ("a schema", (1, 2, 3))


def test_a_references_functions_are_found_by_name(tmp_path: Path) -> None:
    assert functions(tmp_path / "reference.py") == {}
    (tmp_path / "reference.py").write_text("def load(folder):\n    return folder\n\n\ndef _own():\n    return 1\n")
    found = functions(tmp_path / "reference.py")
    assert set(found) == {"load"}
    assert found["load"](7) == 7


def refusal(status: int, body: bytes) -> str:
    return unrefused("a bad request", Reply(0, status, "", 0.0, 0.0, ((0.1, body),), 0.1, ()))


def test_a_refusal_is_a_4xx_with_an_error_object() -> None:
    whole = b'{"error": {"message": "m", "type": "t", "param": null, "code": "c"}}'
    assert refusal(400, whole) == ""
    assert "not refused" in refusal(500, whole)
    assert "not refused" in refusal(200, b"{}")
    assert "without an error object" in refusal(422, b"no")
    assert "lacks ['code']" in refusal(400, b'{"error": {"message": "m", "type": "t", "param": null}}')
