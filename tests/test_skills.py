"""Every skill is valid, its recipe applies where it says, and all recipes together keep the contract."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from completion_contract import PROMPT, CompletionContract, Served, served
from skills_ref import read_properties, validate
from skills_ref.models import SkillProperties

from pytest_vibeserve.target import Target
from pytest_vibeserve.weights import model_folder

ROOT = Path(__file__).resolve().parents[1]
SKILLS = sorted(path.parent for path in (ROOT / "skills").glob("*/SKILL.md"))
HINTS = {
    "serial-service",
    "step-overhead",
    "queueing",
    "prefill-stall",
    "idle-cores",
    "host-overhead",
    "batch-efficiency",
    "sampling-overhead",
    "http-overhead",
    "foretold-answers",
    "shared-beginnings",
}
COMPILED = "compiled-step"
BY_COMPILER = (COMPILED, "compiled-flow-step", "compiled-image")
BY_MLX = "mlx-flow-step"
CAPTURED = "captured-decode"
STARTERS = {
    "text": "tiny_llama", "speech": "moonshine_streaming", "image": "show_o2_h100", "chat-json": "llama_mlx_json",
}  # fmt: skip
# Skills that need something of a starter that the smallest target's has not, and whose it is.
ELSEWHERE = {
    "predicted-output": "qwen3_32b_code_edit",
    "hybrid-decode": "olmo_hybrid_prefix_cache",
    "hybrid-prefix-cache": "olmo_hybrid_prefix_cache",
}
# An order in which a person would apply them; another one must serve as well.
STACK = [
    "static-kv-decode",
    "thread-layout",
    "fused-projections",
    "continuous-batching",
    "chunked-prefill",
    "prefix-cache",
    "prompt-lookup-speculation",
    "fast-sampling",
    "lean-http",
]
ANOTHER_ORDER = [
    "fast-sampling",
    "lean-http",
    "static-kv-decode",
    "prompt-lookup-speculation",
    "prefix-cache",
    "continuous-batching",
    "chunked-prefill",
    "fused-projections",
    "thread-layout",
]


def properties(skill: Path) -> SkillProperties:
    return read_properties(skill)


def metadata(skill: Path, field: str) -> list[str]:
    return (properties(skill).metadata or {}).get(field, "").split()


def workspace(folder: Path, skill: str = "") -> Path:
    """A copy of a starter to edit: of the target that a skill is for, or of its modality's."""
    modality = metadata(ROOT / "skills" / skill, "modality")[0] if skill else "text"
    starter = ROOT / "targets" / ELSEWHERE.get(skill, STARTERS[modality]) / "starter"
    shutil.copytree(starter, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def apply(name: str, folder: Path, variant: str = "") -> subprocess.CompletedProcess[str]:
    skill = ROOT / "skills" / name
    recipe = skill / metadata(skill, "recipe")[0]
    chosen = ["--variant", variant] if variant else []
    command = [sys.executable, "-I", str(recipe), str(folder), *chosen]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def required(name: str) -> list[str]:
    """What must be applied first, in order."""
    before: list[str] = []
    for one in metadata(ROOT / "skills" / name, "requires"):
        before += [*required(one), one]
    return list(dict.fromkeys(before))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("skill", SKILLS, ids=lambda path: path.name)
def test_a_skill_is_valid_and_says_what_it_is_for(skill: Path) -> None:
    assert validate(skill) == []
    assert metadata(skill, "modality")[0] in STARTERS
    assert {"cpu", "cuda", "metal"} >= set(metadata(skill, "backend")) > set()
    assert "cpu" in metadata(skill, "backend") or skill.name in (BY_MLX, CAPTURED)
    assert (skill / metadata(skill, "recipe")[0]).is_file()
    assert set(metadata(skill, "relieves")) <= HINTS
    assert metadata(skill, "relieves")
    assert all((ROOT / "skills" / name / "SKILL.md").is_file() for name in metadata(skill, "requires"))


@pytest.mark.parametrize(
    ("name", "variant"),
    [(skill.name, one) for skill in SKILLS for one in metadata(skill, "variants") or [""]],
)
def test_a_recipe_applies_once_after_what_it_requires(name: str, variant: str, tmp_path: Path) -> None:
    if name in BY_COMPILER and shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    if name == BY_MLX and find_spec("mlx") is None:
        pytest.skip("MLX is not installed")
    folder = workspace(tmp_path / "candidate", name)
    for before in required(name):
        assert apply(before, folder).returncode == 0
    untouched = contents(folder)
    done = apply(name, folder, variant)
    if done.returncode == 3 and variant:
        # A variant may be what the code does already.
        assert contents(folder) == untouched
        return
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    edited = contents(folder)
    assert edited != untouched
    for path in folder.rglob("*.py"):
        compile(path.read_text(encoding="utf-8"), str(path), "exec")
    again = apply(name, folder, variant)
    assert (again.returncode, len(again.stderr.splitlines())) == (3, 1)
    assert contents(folder) == edited


@pytest.mark.parametrize("name", [skill.name for skill in SKILLS if required(skill.name)])
def test_a_recipe_refuses_code_without_what_it_requires(name: str, tmp_path: Path) -> None:
    folder = workspace(tmp_path / "candidate", name)
    untouched = contents(folder)
    assert apply(name, folder).returncode == 3
    assert contents(folder) == untouched


def test_recipes_give_the_same_code_in_any_order(tmp_path: Path) -> None:
    made = []
    for order in (STACK, ANOTHER_ORDER):
        folder = workspace(tmp_path / str(len(made)))
        for name in order:
            done = apply(name, folder)
            assert done.returncode == 0, done.stderr
        made.append({name: sorted(text.splitlines()) for name, text in contents(folder).items()})
    assert made[0] == made[1]


def test_every_skill_is_in_the_stack() -> None:
    text = {skill.name for skill in SKILLS if metadata(skill, "modality") == ["text"]}
    assert {*STACK, COMPILED, CAPTURED, *ELSEWHERE} >= text


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_a_recipe_for_another_starter_leaves_this_one_alone(name: str, tmp_path: Path) -> None:
    folder = workspace(tmp_path / "candidate")
    for before in required(name):
        apply(before, folder)
    untouched = contents(folder)
    assert apply(name, folder).returncode == 3
    assert contents(folder) == untouched


def test_what_two_skills_bring_along_is_one_text() -> None:
    for file in ("generation.py", "scheduler.py"):
        texts = {
            (ROOT / "skills" / skill / "assets" / file).read_text() for skill in ("static-kv-decode", "hybrid-decode")
        }
        assert len(texts) == 1


def test_a_server_with_a_route_for_chats_keeps_it(tmp_path: Path) -> None:
    folder = tmp_path / "candidate"
    shutil.copytree(ROOT / "targets" / "llama_3_8b" / "starter", folder)
    done = apply("lean-http", folder)
    assert (done.returncode, "chats" in done.stderr) == (3, True)


@pytest.fixture(scope="module")
def server(tiny: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """All recipes together, serving the smallest model."""
    folder = workspace(tmp_path_factory.mktemp("stack") / "candidate")
    for name in STACK:
        assert apply(name, folder).returncode == 0
    with served(folder, model_folder(tiny)) as running:
        yield running


class TestWholeStack(CompletionContract):
    """Every test of the contract, asked of the starter with all recipes that edit Python."""

    def test_a_shared_prefix_does_not_change_what_follows(self, server: Served) -> None:
        """Prompts that part at every place of a long prefix answer as they do when nothing is remembered."""
        prefix = list(itertools.islice(itertools.cycle(PROMPT), 40))
        for kept in range(1, 40, 3):
            prompt = [*prefix[:kept], 7, 9]
            first = server.whole(prompt=prompt, max_tokens=4, logprobs=1, ignore_eos=True)["choices"][0]
            again = server.whole(prompt=prompt, max_tokens=4, logprobs=1, ignore_eos=True)["choices"][0]
            assert first["token_ids"] == again["token_ids"]

    def test_a_repetitive_prompt_is_drafted_without_a_change_of_the_answer(self, server: Served) -> None:
        prompt = PROMPT * 6
        greedy = server.whole(prompt=prompt, max_tokens=32, ignore_eos=True)["choices"][0]["token_ids"]
        drawn = server.whole(prompt=prompt, max_tokens=32, ignore_eos=True, temperature=0.5, top_k=1)
        assert greedy == drawn["choices"][0]["token_ids"]

    def test_requests_on_one_connection_are_answered_in_order(self, server: Served) -> None:
        import http.client
        import json

        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        for length in (1, 3, 2):
            body = json.dumps({"prompt": PROMPT, "max_tokens": length, "ignore_eos": True, "return_token_ids": True})
            connection.request("POST", "/v1/completions", iter([body[:9].encode(), body[9:].encode()]))
            answer = json.loads(connection.getresponse().read())
            assert len(answer["choices"][0]["token_ids"]) == length
        connection.close()
