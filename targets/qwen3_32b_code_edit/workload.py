"""What is asked of qwen3_32b_code_edit: code with a fault, greedily, and the answer that the client expects.

The code is the standard library's own with its names exchanged for new ones, or that of a data set:
`VIBESERVE_DATA_CODE_EDITS` names a JSONL file whose lines hold `incorrect_solutions`, as CodeEditorBench's code_debug
does.
A client expects the code that it sends; drawn weights know no code, so there the client expects what the reference
answers, with some tokens exchanged, left out or put in.  One client in five expects something else, or nothing.
"""

import json
import os
import random
import re
import sysconfig
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import imported
from pytest_vibeserve.placement import reference_device
from pytest_vibeserve.target import Target
from pytest_vibeserve.widening import is_large
from pytest_vibeserve.workload import Request, Workload

CODE_EDITS = "VIBESERVE_DATA_CODE_EDITS"
TOKENS_AN_EDIT = 24
WRONG = ("shuffled", "foreign", "empty", "none")
EVERY = 5
NAME = re.compile(r"\b[a-z_]{4,}\b")
RENAMED = 6
BEFORE, AFTER = "Mend:\n", "\nMended:\n"
AT_ONCE = 32


def shaped(requests: list[Request], workload: Workload) -> list[Request]:
    """The requests as greedy edits of code with predictions of every kind; likenesses among prompts stay as drawn."""
    draws = workload.draws
    greedy = [replace(one, temperature=0.0, top_p=1.0, top_k=0) for one in requests]
    edits = [_edit(one, workload) if one.kind == "fresh" else (one, ()) for one in greedy]
    asked = [one for one, _ in edits]
    if workload.target.model.builder:
        answers = _answers(asked, workload)
        expected = [_edited(answer, draws, workload.vocabulary.ordinary) for answer in answers]
    else:
        expected = [code or one.prompt_ids for one, code in edits]
    place = draws.randrange(EVERY)
    return [
        _predicting(one, expected, index, draws) if index % EVERY == place else replace(one, prediction=expected[index])
        for index, one in enumerate(asked)
    ]


def _predicting(request: Request, expected: Sequence[tuple[int, ...]], index: int, draws: random.Random) -> Request:
    """A client that is wrong: its words in another order, somebody else's, none at all, or no prediction."""
    kind, own = draws.choice(WRONG), expected[index]
    wrong = {
        "shuffled": tuple(draws.sample(own, len(own))), "foreign": draws.choice(expected), "empty": "", "none": None,
    }  # fmt: skip
    return replace(request, prediction=wrong[kind])


def _edit(request: Request, workload: Workload) -> tuple[Request, tuple[int, ...]]:
    """A request to mend a piece of code, as long as it was drawn or a little shorter, and the code's own ids."""
    vocabulary, length = workload.vocabulary, len(request.prompt_ids)
    pieces = _pieces(os.environ.get(CODE_EDITS))
    whole = vocabulary.encode(_renamed(workload.draws.choice(pieces), workload.draws))
    room = length - len(vocabulary.encode(BEFORE)) - len(vocabulary.encode(AFTER))
    while room > 0:
        code = vocabulary.decode(whole[:room]).rstrip("\ufffd")
        ids = vocabulary.encode(BEFORE + code + AFTER)
        if len(ids) <= length:
            return replace(request, prompt_text=BEFORE + code + AFTER, prompt_ids=ids), vocabulary.encode(code)
        room -= len(ids) - length
    return request, ()


def _renamed(code: str, draws: random.Random) -> str:
    """The code with some names exchanged for new ones: nobody has seen it before."""
    names = sorted(set(NAME.findall(code)))
    for name in draws.sample(names, min(RENAMED, len(names))):
        code = re.sub(rf"\b{name}\b", "".join(draws.choices("abcdefghijklmnopqrstuvwxyz", k=6)), code)
    return code


def _edited(answer: tuple[int, ...], draws: random.Random, ordinary: Sequence[int]) -> tuple[int, ...]:
    """An answer with one token in so many exchanged, left out or put in."""
    found: list[int] = []
    for token in answer:
        change = draws.choice(("exchanged", "left out", "put in")) if draws.randrange(TOKENS_AN_EDIT) == 0 else ""
        if change in ("exchanged", "put in"):
            found.append(draws.choice(ordinary))
        if change in ("", "put in"):
            found.append(token)
    return tuple(found)


@torch.inference_mode()
def _answers(requests: Sequence[Request], workload: Workload) -> list[tuple[int, ...]]:
    """What the model itself answers, greedily and in its own precision."""
    model = _model(workload.target, workload.vocabulary.model)
    answers: list[tuple[int, ...]] = []
    for start in range(0, len(requests), AT_ONCE):
        part = requests[start : start + AT_ONCE]
        width = max(len(one.prompt_ids) for one in part)
        ids = torch.tensor([[0] * (width - len(one.prompt_ids)) + list(one.prompt_ids) for one in part])
        mask = torch.tensor([[0] * (width - len(one.prompt_ids)) + [1] * len(one.prompt_ids) for one in part])
        said = model.generate(
            ids.to(model.device), attention_mask=mask.to(model.device), do_sample=False, eos_token_id=None,
            max_new_tokens=max(one.max_tokens for one in part), pad_token_id=0,
        )  # fmt: skip
        rows = said[:, width:].tolist()
        answers += [tuple(row[: one.max_tokens]) for row, one in zip(rows, part, strict=True)]
    return answers


def _model(target: Target, folder: Path) -> torch.nn.Module:
    """The model where the reference computes; a large one is the reference's own, and is kept for as long as that."""
    load = _loaded if is_large(folder) else _kept
    return load(target.folder, folder, target.model.dtype).to(reference_device(target.hardware.backend))


@cache
def _kept(target: Path, folder: Path, dtype: str) -> torch.nn.Module:
    return _loaded(target, folder, dtype)


def _loaded(target: Path, folder: Path, dtype: str) -> torch.nn.Module:
    model = imported(target / "reference.py").load(folder, dtype, "sdpa")
    model.generation_config.eos_token_id = None
    return model


@cache
def _pieces(path: str | None) -> tuple[str, ...]:
    """Pieces of code: those of the data set, or functions of the standard library."""
    if path:
        return _data_set(Path(path))
    modules = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    texts = (module.read_text(encoding="utf-8", errors="ignore") for module in modules[:40])
    found = [piece.strip() for text in texts for piece in re.split(r"\n(?=def |class )", text)]
    return tuple(piece for piece in found if piece.startswith(("def ", "class ")))


def _data_set(path: Path) -> tuple[str, ...]:
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        found = tuple(str(line["incorrect_solutions"]) for line in lines)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{CODE_EDITS}={path} is no JSONL file with `incorrect_solutions`: {error}") from error
    if not found:
        raise UsageError(f"{CODE_EDITS}={path} is empty")
    return found
