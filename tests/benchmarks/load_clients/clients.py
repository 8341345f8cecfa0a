"""The load clients that are compared: how each is installed, asked for one level of load, and read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metered import Metered, metered

ROOT = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pytest-vibeserve" / "load-clients"
INSTALL_S = 1800


@dataclass(frozen=True)
class Level:
    """One level of load: in flight at once (0: open loop at `rate` a second), requests, and tokens of each."""

    concurrency: int
    rate: float
    requests: int
    tokens: int


@dataclass(frozen=True)
class Believed:
    """What a client reports, in milliseconds."""

    ttft_mean: float
    ttft_p50: float
    ttft_p99: float
    itl_mean: float
    itl_p99: float


@dataclass(frozen=True)
class Place:
    """Where one run happens: the stub's URL, a folder with a tokenizer, and a folder for results."""

    url: str
    model: Path
    folder: Path


class Client(ABC):
    """One load client in an environment of its own."""

    name: str
    packages: tuple[str, ...]
    unwanted: tuple[str, ...] = ()
    offline = True

    @property
    def home(self) -> Path:
        return CACHE / self.name

    def installed(self) -> str:
        """Install where it is not there yet; "" or why it cannot be."""
        if (self.home / "installed").exists():
            return ""
        pip = [str(self.home / "bin" / "python"), "-m", "pip", "-q"]
        steps = [[sys.executable, "-m", "venv", "--clear", str(self.home)], [*pip, "install", *self.packages]]
        steps += [[*pip, "uninstall", "-y", *self.unwanted]] if self.unwanted else []
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, timeout=INSTALL_S)
            if done.returncode:
                return done.stderr.strip().splitlines()[-1][:200]
        (self.home / "installed").touch()
        return ""

    def version(self) -> str:
        code = f"import importlib.metadata as m; print(m.version({self.name!r}))"
        command = [str(self.home / "bin" / "python"), "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def run(self, command: list[str], folder: Path, timeout_s: float = 200) -> Metered:
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if self.offline else {}
        return metered(command, {**os.environ, **offline, "PYTHONWARNINGS": "ignore"}, folder, timeout_s)

    @abstractmethod
    def command(self, level: Level, place: Place) -> list[str]:
        """The command line of one level."""

    @abstractmethod
    def believed(self, output: str, place: Place) -> Believed:
        """What it reported."""


class Ours(Client):
    """The load generator of this repository."""

    name, packages = "pytest-vibeserve", ()

    def installed(self) -> str:
        return ""

    def version(self) -> str:
        return "this commit"

    def command(self, level: Level, place: Place) -> list[str]:
        how = ["--rate", str(level.rate)] if level.rate else ["--concurrency", str(level.concurrency)]
        length = ["--requests", str(level.requests), "--tokens", str(level.tokens), "--words", "8"]
        return [sys.executable, "-m", "pytest_vibeserve.load_command", place.url, *how, *length]

    def run(self, command: list[str], folder: Path, timeout_s: float = 200) -> Metered:
        return super().run(command, ROOT, timeout_s)

    def believed(self, output: str, place: Place) -> Believed:
        told = json.loads(output)
        ttft, itl = told["ttft"], told["itl"]
        if told["failed"]:
            raise ValueError(f"{told['failed']} requests failed: {told['first_failure']}")
        gaps = (float("nan") if itl[name] is None else itl[name] for name in ("mean", "p99"))
        return Believed(ttft["mean"], ttft["p50"], ttft["p99"], *gaps)


class Vllm(Client):
    """`vllm bench serve`."""

    name, packages = "vllm", ("vllm==0.32.0",)
    # A build of torch without CUDA and these wheels do not go together, and the bench client needs none of them.
    unwanted = ("torchvision", "torchaudio", "torchcodec")

    def command(self, level: Level, place: Place) -> list[str]:
        how = ["--request-rate", str(level.rate)] if level.rate else ["--max-concurrency", str(level.concurrency)]
        return [
            str(self.home / "bin" / "vllm"), "bench", "serve", "--backend", "openai", "--base-url", place.url,
            "--endpoint", "/v1/completions", "--model", "stub", "--tokenizer", str(place.model),
            "--dataset-name", "random", "--random-input-len", "8", "--random-output-len", str(level.tokens),
            "--num-prompts", str(level.requests), *how, "--ignore-eos",
            "--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles", "50,99",
            "--save-result", "--result-dir", str(place.folder), "--result-filename", "vllm.json", "--disable-tqdm",
        ]  # fmt: skip

    def believed(self, output: str, place: Place) -> Believed:
        told = json.loads((place.folder / "vllm.json").read_text())
        names = ("mean_ttft_ms", "median_ttft_ms", "p99_ttft_ms", "mean_itl_ms", "p99_itl_ms")
        return Believed(*(told[name] for name in names))


class Sglang(Client):
    """SGLang's Rust client, one worker thread for one core."""

    name, packages = "sglang", ("--no-deps", "sglang==0.5.23")
    START = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("_bench", sys.argv.pop(1))
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.run_argv(["sglang-bench", *sys.argv[1:]])
"""

    def command(self, level: Level, place: Place) -> list[str]:
        library = next(self.home.glob("lib/python3*/site-packages/sglang/srt/rust_extensions/_bench*.so"))
        how = ["--request-rate", str(level.rate)] if level.rate else ["--max-concurrency", str(level.concurrency)]
        return [
            str(self.home / "bin" / "python"), "-c", self.START, str(library), "--backend", "sglang-oai",
            "--base-url", place.url, "--model", "stub", "--tokenizer", str(place.model), "--dataset-name", "random-ids",
            "--random-input-len", "8", "--random-output-len", str(level.tokens), "--random-range-ratio", "1",
            "--num-prompts", str(level.requests), *how, "--worker-threads", "1", "--disable-tqdm",
            "--disable-retokenize", "--output-file", str(place.folder / "sglang.jsonl"),
        ]  # fmt: skip

    def believed(self, output: str, place: Place) -> Believed:
        told = json.loads((place.folder / "sglang.jsonl").read_text().splitlines()[-1])
        names = ("mean_ttft_ms", "median_ttft_ms", "p99_ttft_ms", "mean_itl_ms", "p99_itl_ms")
        return Believed(*(told[name] for name in names))


class Guidellm(Client):
    """`guidellm run`."""

    name, packages = "guidellm", ("guidellm==0.8.1",)

    def command(self, level: Level, place: Place) -> list[str]:
        how = f"kind=poisson,rate={level.rate}" if level.rate else f"kind=concurrent,streams={level.concurrency}"
        return [
            str(self.home / "bin" / "guidellm"), "run", "--backend",
            f"kind=openai_http,target={place.url},model=stub,request_format=/v1/completions",
            "--profile", how, "--constraint", f"kind=max_requests,count={level.requests}",
            "--tokenizer", f"kind=huggingface_auto,model={place.model}",
            "--data", f"kind=synthetic_text,prompt_tokens=8,output_tokens={level.tokens}",
            "--output", f"kind=json,path={place.folder / 'guidellm.json'}", "--disable-console",
        ]  # fmt: skip

    def believed(self, output: str, place: Place) -> Believed:
        told = json.loads((place.folder / "guidellm.json").read_text())["benchmarks"][0]["metrics"]
        ttft = told["time_to_first_token_ms"]["successful"]
        itl = told["inter_token_latency_ms"]["successful"]
        return Believed(
            ttft["mean"], ttft["median"], ttft["percentiles"]["p99"], itl["mean"], itl["percentiles"]["p99"]
        )


class Aiperf(Client):
    """`aiperf profile`."""

    name, packages = "aiperf", ("aiperf==0.13.0",)
    # Told to stay offline it takes a tokenizer's folder for the name of a repository.
    offline = False

    def command(self, level: Level, place: Place) -> list[str]:
        how = ["--request-rate", str(level.rate)] if level.rate else ["--concurrency", str(level.concurrency)]
        return [
            str(self.home / "bin" / "aiperf"), "profile", "--model", "stub", "--url", place.url,
            "--endpoint-type", "completions", "--streaming", "--tokenizer", str(place.model), "--isl", "8",
            "--osl", str(level.tokens), "--extra-inputs", "ignore_eos:true", "--request-count", str(level.requests),
            *how,            "--artifact-dir", str(place.folder / "aiperf"), "--ui", "none",
        ]  # fmt: skip

    def believed(self, output: str, place: Place) -> Believed:
        told: dict[str, Any] = json.loads(next((place.folder / "aiperf").rglob("*aiperf.json")).read_text())
        ttft, itl = told["time_to_first_token"], told.get("inter_token_latency") or {}
        nothing = float("nan")
        return Believed(ttft["avg"], ttft["p50"], ttft["p99"], itl.get("avg", nothing), itl.get("p99", nothing))


CLIENTS: tuple[Client, ...] = (Ours(), Sglang(), Vllm(), Aiperf(), Guidellm())
