"""Transformers' continuous batching managers behind the interface of the server."""

from pathlib import Path
from typing import Any, cast

import torch
from completion import Job, Token
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

SEQUENCES = 16
PAGE_TOKENS = 64
STEP_TOKENS = 512
CARD_SHARE = 0.4
"""Share of a card's free memory for the cache: whatever is measured beside it has the rest."""

WAIT_S = 0.05


class Engine:
    """Managers step on threads of their own; `step` here waits for what they have made."""

    def __init__(self, folder: Path, context: int, eos_ids: frozenset[int]) -> None:
        """Load the model in its own dtype and start the manager of the greedy sequences."""
        self._eos_ids = sorted(eos_ids)
        self._blocks = SEQUENCES * -(-context // PAGE_TOKENS)
        self._seen: dict[int, int] = {}
        self._with_logprobs: set[int] = set()
        # Measured with 16 streams on two cores: eager attention is a third cheaper than SDPA over the paged cache.
        self._card = torch.cuda.is_available()
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", attn_implementation="sdpa" if self._card else "eager", local_files_only=True
        )
        self._model = model.to("cuda" if self._card else "cpu")
        self._vocabulary: int = self._model.config.vocab_size
        self._results: Any = None
        self._greedy = self._start(do_sample=False)
        self._sampling: Any = None

    @staticmethod
    def refusal(job: Job) -> str | None:
        """Name the field that this engine cannot serve, if any.

        The draws of a batch share one seed, and the logprobs of drawn tokens are not of the model's own distribution.
        """
        if job.logit_bias:
            return "logit_bias"
        if job.temperature == 0:
            return None
        return "seed" if job.seed is not None else "logprobs" if job.logprobs is not None else None

    @property
    def busy(self) -> bool:
        """Whether a step has work to do."""
        return bool(self._seen)

    def add(self, key: int, job: Job) -> None:
        """Begin a sequence."""
        self._seen[key] = 0
        if job.logprobs is not None:
            self._with_logprobs.add(key)
        manager, drawn = self._greedy, {}
        if job.temperature > 0:
            top_k = min(job.top_k or self._vocabulary, self._vocabulary)
            drawn = {"temperature": float(job.temperature), "top_k": top_k, "top_p": float(job.top_p)}
            manager = self._sampling = self._sampling or self._start_sampling()
        manager.add_request(
            list(job.prompt),
            request_id=str(key),
            max_new_tokens=job.max_tokens,
            streaming=True,
            eos_token_id=-1 if job.ignore_eos else self._eos_ids,
            **drawn,
        )

    def cancel(self, key: int) -> None:
        """End a sequence early; unknown keys have ended."""
        self._with_logprobs.discard(key)
        if self._seen.pop(key, None) is not None:
            for manager in filter(None, (self._greedy, self._sampling)):
                manager.cancel_request(str(key))

    def step(self) -> list[tuple[int, list[Token]]]:
        """Wait a moment for new tokens and return them by sequence; RuntimeError when one failed."""
        new: list[tuple[int, list[Token]]] = []
        result = self._greedy.get_result(timeout=WAIT_S)
        while result is not None:
            new += self._read(result)
            result = None if self._results.output_queue.empty() else self._greedy.get_result(timeout=0)
        if not self._greedy.is_running():
            raise RuntimeError("the continuous batching manager has stopped")
        return new

    def close(self) -> None:
        """Stop the threads of the managers, which would keep the process alive."""
        for manager in filter(None, (self._greedy, self._sampling)):
            manager.stop(block=True, hard_stop=True)

    def _read(self, result: Any) -> list[tuple[int, list[Token]]]:
        key = int(result.request_id)
        if key not in self._seen:
            return []
        if result.error is not None:
            raise RuntimeError(f"continuous batching failed: {result.error}")
        ids, values = (part[self._seen[key] :] for part in (result.generated_tokens, result.logprobs))
        self._seen[key] += len(ids)
        tokens = [Token(one) for one in ids]
        if key in self._with_logprobs:
            tokens = [Token(one, value, ((one, value),)) for one, value in zip(ids, values, strict=True)]
        if result.is_finished():
            del self._seen[key]
            self._with_logprobs.discard(key)
        return [(key, tokens)] if tokens else []

    def _start_sampling(self) -> Any:
        # A manager has one mode for its batch, and sampling sorts: greedy sequences are not to wait for that.
        # Only settings that are not neutral here can be chosen by a request later.
        return self._start(do_sample=True, temperature=0.5, top_k=1, top_p=0.5)

    def _start(self, **generation: Any) -> Any:
        config = ContinuousBatchingConfig(
            # On a card the manager takes blocks and steps by the memory that is left.
            page_size=PAGE_TOKENS,
            num_blocks=None if self._card else self._blocks,
            max_batch_tokens=None if self._card else STEP_TOKENS,
            max_memory_percent=CARD_SHARE if self._card else None,
            allow_block_sharing=False,
            per_request_processors=True,
            return_logprobs=True,
        )
        settings = cast(Any, GenerationConfig)(eos_token_id=self._eos_ids, **generation)
        manager = self._model.init_continuous_batching(settings, config)
        # All results arrive in one queue.
        manager.output_router = self._results = self._results or manager.output_router
        manager.start()
        return manager
