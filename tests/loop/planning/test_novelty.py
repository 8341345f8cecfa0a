from __future__ import annotations

import os
from pathlib import Path

import pytest
from round_lab import starter, worked

from vibeserve_loop.planning.novelty import Made, likeness, sketch, without_gate
from vibeserve_loop.records import AgentResult, Round

CODE = """
# serve
def step(batch):
    \"\"\"One step.\"\"\"
    return [model(token) for token in batch]

def main():
    for batch in queue:
        print(step(batch), WIDTH)
"""


def _folder(place: Path, code: str) -> Path:
    place.mkdir()
    (place / "server.py").write_text(code)
    return place


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (("# serve\n", ""), True),
        (("One step.", "A step of the model."), True),
        (("def main():\n", "\n\ndef main():  # entry\n"), True),
        (("WIDTH", "DEPTH"), False),
        (("token in batch", "token in list(batch)"), False),
    ],
)
def test_layout_and_comments_make_no_new_code(tmp_path: Path, change: tuple[str, str], same: bool) -> None:
    one, other = _folder(tmp_path / "a", CODE), _folder(tmp_path / "b", CODE.replace(*change))
    assert (sketch(one).digest == sketch(other).digest) is same


def test_likeness_falls_with_every_change(tmp_path: Path) -> None:
    lines = [f"value_{i} = compute({i}, {i * i})" for i in range(60)]
    sketches = [
        sketch(_folder(tmp_path / str(n), "\n".join([*(f"other_{i}()" for i in range(n)), *lines[n:]])))
        for n in (0, 3, 40)
    ]
    near, far = likeness(sketches[0], sketches[1]), likeness(sketches[0], sketches[2])
    assert 1 > near > 0.7 > far


def test_a_name_that_is_no_text_is_a_name_like_any_other(tmp_path: Path) -> None:
    one, other = _folder(tmp_path / "a", CODE), _folder(tmp_path / "b", CODE)
    (one / os.fsdecode(b"caf\xe9")).write_text("1")
    assert sketch(one).digest != sketch(other).digest


@pytest.mark.parametrize("code", ["x = " + "+".join(["1"] * 1000), "x = " + "-" * 5000 + "1"], ids=["sum", "signs"])
def test_code_that_is_too_deep_to_be_taken_apart_is_text_like_any_other(tmp_path: Path, code: str) -> None:
    one, other = _folder(tmp_path / "a", code), _folder(tmp_path / "b", code.replace("1", "2"))
    assert sketch(one).digest != sketch(other).digest


def _made(place: Path, code: str, **more: str) -> Made:
    values = {"tree": "new", "origin": "old", **more}
    return Made(AgentResult(summary="did it"), values["tree"], values["origin"], sketch(_folder(place, code)))


def _tried(place: Path, code: str) -> list[Round]:
    return [starter(), worked(1, 0.9, sketch=sketch(_folder(place, code)))]


def test_code_that_was_tried_is_told_before_any_gate(tmp_path: Path) -> None:
    rounds = _tried(tmp_path / "tried", CODE)
    again = without_gate(_made(tmp_path / "a", CODE.replace("# serve", "# again")), rounds, 1.0)
    assert again is not None
    assert (again.ruling, again.reason) == ("reject", "the same source as in round 1, as far as it matters")
    same = without_gate(_made(tmp_path / "b", "x = 1\n", tree="t1"), rounds, 1.0)
    assert same is not None
    assert same.reason == "the same code as in round 1"
    assert without_gate(_made(tmp_path / "c", CODE.replace("WIDTH", "9")), rounds, 1.0) is None
    near = without_gate(_made(tmp_path / "d", CODE.replace("WIDTH", "9")), rounds, 0.5)
    assert near is not None


def test_a_session_that_failed_or_changed_nothing_is_void(tmp_path: Path) -> None:
    unchanged = without_gate(_made(tmp_path / "a", CODE, tree="old"), [starter()], 1.0)
    assert unchanged is not None
    assert unchanged.ruling == "void"
    made = _made(tmp_path / "b", CODE)
    failed = Made(AgentResult(summary="", failed="the model was silent"), made.tree, made.origin, made.sketch)
    found = without_gate(failed, [starter()], 1.0)
    assert found is not None
    assert (found.ruling, found.reason) == ("void", "the model was silent")
