"""OpenVINO GenAI's continuous batching pipeline behind the interface of the server."""

import secrets
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai
from completion import Job, Token
from graph import build

SEQUENCES = 64
STEP_TOKENS = 512
CACHE_GIB = 1


class Engine:
    """Continuous batching by GenAI: nothing quantised, bf16 where the CPU computes in it and fp32 elsewhere."""

    def __init__(self, folder: Path, context: int, eos_ids: frozenset[int]) -> None:
        """Convert the model into the private temporary folder and load it."""
        self._eos_ids = eos_ids
        self._handles: dict[int, tuple[Any, bool]] = {}
        schedule = genai.SchedulerConfig()
        schedule.max_num_seqs = SEQUENCES
        schedule.max_num_batched_tokens = STEP_TOKENS
        schedule.cache_size = CACHE_GIB
        schedule.dynamic_split_fuse = True
        native = "bf16" if "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
        # The CPU plugin keeps an 8-bit KV cache unless told otherwise, which the target's rules forbid.
        properties = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": native,
            "KV_CACHE_PRECISION": native,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        }
        with tempfile.TemporaryDirectory() as scratch:
            ov.save_model(build(folder), str(Path(scratch) / "openvino_model.xml"), compress_to_fp16=False)
            self._pipeline = genai.ContinuousBatchingPipeline(scratch, schedule, "CPU", properties)

    @staticmethod
    def refusal(job: Job) -> str | None:
        """Name the field that cannot be served, if any: logprobs of drawn tokens are not the model's own here."""
        if job.logit_bias:
            return "logit_bias"
        return "logprobs" if job.logprobs is not None and job.temperature > 0 else None

    @property
    def busy(self) -> bool:
        """Whether a step has work to do."""
        return bool(self._handles)

    def add(self, key: int, job: Job) -> None:
        """Begin a sequence."""
        config = genai.GenerationConfig()
        config.max_new_tokens = job.max_tokens
        config.ignore_eos = job.ignore_eos
        config.stop_token_ids = set(self._eos_ids)
        config.eos_token_id = min(self._eos_ids)
        if job.temperature > 0:
            config.do_sample = True
            config.temperature = job.temperature
            config.top_p = job.top_p
            if job.top_k:
                config.top_k = job.top_k
            # The pipeline's own default is one fixed seed, with which every draw of a prompt is the same.
            config.rng_seed = secrets.randbits(32) if job.seed is None else job.seed
        # One logprob a token is all that the pipeline gives: the chosen one's.
        config.logprobs = int(job.logprobs is not None)
        handle = self._pipeline.add_request(key, ov.Tensor(np.array([job.prompt])), config)
        self._handles[key] = handle, job.logprobs is not None

    def cancel(self, key: int) -> None:
        """End a sequence early; unknown keys have ended."""
        if key in self._handles:
            self._handles.pop(key)[0].cancel()

    def step(self) -> list[tuple[int, list[Token]]]:
        """Run one step of the batch and return the new tokens of each sequence that got some."""
        self._pipeline.step()
        new: list[tuple[int, list[Token]]] = []
        for key, (handle, with_logprobs) in list(self._handles.items()):
            tokens: list[Token] = []
            while handle.can_read():
                tokens += [one for output in handle.read().values() for one in _tokens(output, with_logprobs)]
            if tokens:
                new.append((key, tokens))
            if handle.get_status() != genai.GenerationStatus.RUNNING:
                del self._handles[key]
        return new

    def close(self) -> None:
        """End every sequence; the pipeline has no threads of its own that would outlive it."""
        for key in list(self._handles):
            self.cancel(key)


def _tokens(output: Any, with_logprobs: bool) -> list[Token]:
    if not with_logprobs:
        return [Token(one) for one in output.generated_ids]
    pairs = zip(output.generated_ids, output.generated_log_probs, strict=True)
    return [Token(one, value, ((one, value),)) for one, value in pairs]
