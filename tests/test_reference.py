"""The reference says the same as a plain forward pass, and its models are made once and kept whole."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch

from pytest_vibeserve.errors import InfrastructureError, UsageError
from pytest_vibeserve.reference import Context, Reference, model_folder
from pytest_vibeserve.target import Target
from pytest_vibeserve.variants import REFERENCE, Variant, honest, round_weights, structural, worst_honest

BUILDER = """
import pathlib
def build(folder, *, size, fault=""):
    with open(pathlib.Path(__file__).with_name("runs"), "a") as runs:
        runs.write("x")
    if fault:
        raise OSError(28, fault)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(size))
"""


@pytest.fixture(scope="module")
def reference(tiny: Target) -> Reference:
    return Reference(model_folder(tiny), tiny)


@pytest.fixture(scope="module")
def contexts() -> list[Context]:
    draws = np.random.default_rng(4)
    shapes = [(3, 5), (40, 20), (17, 1), (1, 30), (25, 25)]
    return [
        Context(tuple(draws.integers(2, 512, p).tolist()), tuple(draws.integers(2, 512, o).tolist())) for p, o in shapes
    ]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIBESERVE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _built(tiny: Target, folder: Path, **parameters: int | str) -> Target:
    folder.mkdir(exist_ok=True)
    (folder / "maker.py").write_text(BUILDER)
    model = tiny.model.model_copy(update={"builder": "maker:build", "parameters": {"size": 100, **parameters}})
    return tiny.model_copy(update={"model": model, "folder": folder})


def test_packed_logits_equal_those_of_one_plain_pass(reference: Reference, contexts: list[Context]) -> None:
    model = reference.model("float32", "sdpa")
    found = dict(reference.walk(contexts, (REFERENCE,)))
    assert sorted(found) == list(range(len(contexts)))
    for index, context in enumerate(contexts):
        with torch.inference_mode():
            plain = model(torch.tensor([context.inputs])).logits[0, len(context.prompt) - 1 :].numpy()
        np.testing.assert_allclose(found[index][0], plain, atol=2e-4)


def test_variants_leave_the_model_as_they_found_it(reference: Reference, contexts: list[Context]) -> None:
    before = [logits.copy() for _, (logits,) in reference.walk(contexts, (REFERENCE,))]
    changes = [*structural(reference.layers), Variant("q", weights="fp8"), Variant("s", splits=4)]
    for variant in changes:
        changed = [logits.copy() for _, (logits,) in reference.walk(contexts, (variant,))]
        assert max(float(np.abs(a - b).max()) for a, b in zip(before, changed, strict=True)) > 1e-7
    after = [logits for _, (logits,) in reference.walk(contexts, (REFERENCE,))]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_honest_variants_differ_from_the_reference_and_from_each_other(
    reference: Reference, contexts: list[Context]
) -> None:
    variants = (REFERENCE, *honest("bfloat16"), worst_honest("bfloat16"))
    blocks = next(iter(reference.walk(contexts, variants)))[1]
    spread = [float(np.abs(block - blocks[0]).mean()) for block in blocks[1:]]
    assert min(spread) > 0
    assert max(spread) < 0.5
    assert len({round(value, 9) for value in spread}) == len(spread)


def test_positions_off_by_one_change_only_what_was_generated(reference: Reference, contexts: list[Context]) -> None:
    shifted = dict(reference.walk(contexts, (REFERENCE, Variant("shift", shift=1))))[1]
    assert np.allclose(shifted[0][0], shifted[1][0], atol=2e-4)
    assert np.abs(shifted[0][1:] - shifted[1][1:]).max() > 0.05


def test_rounded_weights_lie_within_half_a_step_of_the_given_ones() -> None:
    weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(1))
    for quantiser, step in (
        ("int8 per channel", 1 / 127),
        ("int8 in groups of 32", 1 / 127),
        ("int4 in groups of 32", 1 / 7),
    ):
        error = (round_weights(weight, quantiser) - weight).abs().max()
        assert 0 < error <= weight.abs().max() * step / 2 + 1e-6


def test_continuations_are_the_models_own(reference: Reference) -> None:
    made = reference.continued([(0, 5, 9), (0, 7, 7)], 6)
    for index, (logits,) in reference.walk(made, (Variant("own", "bfloat16"),)):
        margins = logits.max(axis=1) - logits[range(6), list(made[index].output)]
        assert margins.max() < 0.3


def test_a_built_model_is_made_once_even_by_two_at_the_same_time(tiny: Target, cache: Path, tmp_path: Path) -> None:
    target = _built(tiny, tmp_path / "target")
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(model_folder, [target, target])
    assert first == second == model_folder(target)
    assert (tmp_path / "target" / "runs").read_text() == "x"
    assert cache in first.parents


def test_a_damaged_model_is_made_again(tiny: Target, cache: Path, tmp_path: Path) -> None:
    target = _built(tiny, tmp_path / "target")
    weights = model_folder(target) / "model.safetensors"
    weights.write_bytes(bytes(99) + b"x")
    assert (model_folder(target) / "model.safetensors").read_bytes() == bytes(100)
    weights.unlink()
    assert (model_folder(target) / "model.safetensors").read_bytes() == bytes(100)


def test_models_of_other_parameters_or_another_builder_lie_apart(tiny: Target, cache: Path, tmp_path: Path) -> None:
    first = model_folder(_built(tiny, tmp_path / "target"))
    assert model_folder(_built(tiny, tmp_path / "target", size=7)) != first
    target = _built(tiny, tmp_path / "target")
    (tmp_path / "target" / "maker.py").write_text(BUILDER + "\n# another\n")
    assert model_folder(target) != first


def test_any_user_may_read_a_built_model(tiny: Target, cache: Path, tmp_path: Path) -> None:
    earlier = os.umask(0o077)
    try:
        folder = model_folder(_built(tiny, tmp_path / "target"))
    finally:
        os.umask(earlier)
    assert stat.S_IMODE(folder.stat().st_mode) & 0o055 == 0o055
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o044 == 0o044 for path in folder.iterdir())


def test_a_full_disk_is_nobodys_fault_and_says_how_much_is_needed(tiny: Target, cache: Path, tmp_path: Path) -> None:
    target = _built(tiny, tmp_path / "target", fault="No space left on device")
    with pytest.raises(InfrastructureError, match=r"needs \d+ bytes at .*free some space"):
        model_folder(target)
    assert [path.name for path in (cache / "models").iterdir() if path.is_dir()] == []


def test_a_builder_that_fails_is_reported_with_its_last_words(tiny: Target, cache: Path, tmp_path: Path) -> None:
    target = _built(tiny, tmp_path / "target", fault="a fault of its own")
    with pytest.raises(InfrastructureError, match="a fault of its own"):
        model_folder(target)


MISTAKEN = {
    "a function by another name": ("def biuld(folder, **_):\n    pass\n", r"has no such function; did you mean biuld"),
    "a parameter that it does not take": ("def build(folder):\n    pass\n", r"of \[model\.parameters\]: .*'size'"),
    "something that is not there": ("def build(folder, **_):\n    {}['x']\n", r"maker\.py:2: KeyError: 'x'; mend it"),
    "no Python": ("def build(:\n", r"maker\.py:1: SyntaxError"),
    "no model": ("def build(folder, **_):\n    pass\n", r"wrote no config\.json and no weights \(\*\.safetensors\)"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKEN)
def test_a_builder_that_is_written_wrongly_is_the_users_to_mend(
    mistake: str, tiny: Target, cache: Path, tmp_path: Path
) -> None:
    program, told = MISTAKEN[mistake]
    target = _built(tiny, tmp_path / "target")
    (tmp_path / "target" / "maker.py").write_text(program)
    with pytest.raises(UsageError, match=told) as raised:
        model_folder(target)
    assert "\n" not in str(raised.value)
    assert [path.name for path in (cache / "models").iterdir() if path.is_dir()] == []


def test_a_builder_that_does_not_exist_is_the_users_to_mend(tiny: Target, cache: Path, tmp_path: Path) -> None:
    model = tiny.model.model_copy(update={"builder": "absent:build"})
    with pytest.raises(UsageError, match=r"absent\.py in the target's folder"):
        model_folder(tiny.model_copy(update={"model": model, "folder": tmp_path}))


def test_a_model_that_the_hub_does_not_give_is_a_matter_of_usage(
    tiny: Target, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = tiny.model.model_copy(update={"id": "nobody/nothing", "revision": "0" * 40, "builder": ""})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="cannot be fetched from the hub"):
        model_folder(tiny.model_copy(update={"model": model}))


def test_the_commit_that_a_branch_of_the_hub_stood_for_is_told(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "models--somebody--something"
    (folder / "snapshots" / commit).mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    asked = (
        "from pytest_vibeserve.target import load_target; from pytest_vibeserve.weights import fetched_commit; "
        "drawn = load_target('tiny_llama'); "
        "hub = {'id': 'somebody/something', 'revision': 'main', 'builder': ''}; "
        "fetched = drawn.model_copy(update={'model': drawn.model.model_copy(update=hub)}); "
        "print([fetched_commit(fetched), fetched_commit(drawn)])"
    )
    told = []
    for place in (tmp_path, tmp_path / "empty"):
        environment = {**os.environ, "HF_HUB_CACHE": str(place), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-c", asked]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        told.append(done.stdout.strip())
    assert told == [f"['{commit}', '']", "['', '']"]


class Hub(BaseHTTPRequestHandler):
    """A hub with one repository, whose branch stands for whatever commit its server has now."""

    def do_GET(self) -> None:
        """Say what the branch stands for; there are no files."""
        said = {"id": "somebody/something", "sha": self.server.commit, "siblings": []}  # type: ignore[attr-defined]
        raw = json.dumps(said if "/revision/" in self.path else [] if "/tree/" in self.path else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


MADE = """
import json, pathlib, sys
from pytest_vibeserve.target import load_target
from pytest_vibeserve.weights import fetched_commit, model_digest, model_folder
target = load_target("tiny_llama", "tiny")
model = target.model.model_copy(
    update={"id": "fetched", "builder": "reference:fetch", "parameters": {"sources": "somebody/something@main"}}
)
target = target.model_copy(update={"model": model, "folder": pathlib.Path(sys.argv[1])})
folder = model_folder(target)
print(json.dumps([(folder / "made").read_text(), fetched_commit(target), model_digest(folder)]))
"""
FETCH = """
def fetch(folder, *, sources):
    for name in ("made", "config.json", "model.safetensors"):
        (folder / name).write_text(sources)
"""


def test_a_branch_that_moved_is_fetched_again_and_told(tmp_path: Path) -> None:
    (tmp_path / "reference.py").write_text(FETCH)
    hub = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=hub.serve_forever, daemon=True).start()
    environment = {
        **os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HUB_CACHE": str(tmp_path / "hub"),
        "VIBESERVE_CACHE": str(tmp_path / "cache"),
    }  # fmt: skip

    def made(**changes: str) -> list[str]:
        command = [sys.executable, "-c", MADE, str(tmp_path)]
        done = subprocess.run(
            command, env=environment | changes, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout.splitlines()[-1]))

    with closing(hub.socket):
        hub.commit = "a" * 40  # type: ignore[attr-defined]
        first = made()
        assert first[:2] == [f"somebody/something@{'a' * 40}"] * 2
        assert made() == first
        hub.commit = "b" * 40  # type: ignore[attr-defined]
        second = made()
        assert second[:2] == [f"somebody/something@{'b' * 40}"] * 2
        assert second[2] != first[2]
        hub.shutdown()
    assert made(HF_HUB_OFFLINE="1") == second
