"""MLX-LM's batch generator behind the interface of the server."""

from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
from completion import Job, Token
from mlx_lm.generate import BatchGenerator, StopSequences
from mlx_lm.utils import load_model

SEQUENCES = 16


class Engine:
    """Continuous batching: prompts are read in batches of their own, and join the others between steps."""

    def __init__(self, folder: Path, context: int, eos_ids: frozenset[int]) -> None:
        """Load the model in its own dtype, on Metal or CUDA where there is one, else on the CPU."""
        self._model, _ = load_model(folder)
        self._ends = StopSequences([[one] for one in sorted(eos_ids)])
        self._generator: BatchGenerator | None = None
        self._jobs: dict[int, tuple[int, Job]] = {}

    @staticmethod
    def refusal(job: Job) -> str | None:
        """Name the field that this engine cannot serve, if any: biases would show in the logprobs."""
        return "logit_bias" if job.logit_bias else None

    @property
    def busy(self) -> bool:
        """Whether a step has work to do."""
        return bool(self._jobs)

    def add(self, key: int, job: Job) -> None:
        """Queue a sequence; it begins when the batch has room."""
        # A generator belongs to the thread that steps it.
        self._generator = self._generator or BatchGenerator(self._model, completion_batch_size=SEQUENCES)
        (number,) = self._generator.insert(
            [list(job.prompt)],
            max_tokens=[job.max_tokens],
            samplers=[_sampler(job)],
            stop_sequences=[StopSequences() if job.ignore_eos else self._ends],
        )
        self._jobs[number] = (key, job)

    def cancel(self, key: int) -> None:
        """End a sequence early; unknown keys have ended."""
        for number in [number for number, (known, _) in self._jobs.items() if known == key]:
            del self._jobs[number]
            if self._generator is not None:
                self._generator.remove([number])

    def step(self) -> list[tuple[int, list[Token]]]:
        """Read on in the prompts, compute one token of each running sequence, and return the new tokens."""
        assert self._generator is not None
        _, found = self._generator.next()
        new = []
        for one in found:
            key, job = self._jobs[one.uid]
            new.append((key, [_token(one.token, one.logprobs, job.logprobs)]))
            if one.finish_reason is not None:
                del self._jobs[one.uid]
        return new

    def close(self) -> None:
        """Give back what the generator has wired."""
        if self._generator is not None:
            self._generator.close()


def _sampler(job: Job) -> Callable[[mx.array], mx.array]:
    """The choice of a token from rows of logprobs: temperature, then the most likely ones, then the nucleus."""
    if job.temperature == 0:
        return lambda logprobs: mx.argmax(logprobs, axis=-1)
    key = mx.random.key(job.seed) if job.seed is not None else mx.random.key(int(mx.random.randint(0, 1 << 30).item()))

    def chosen(logprobs: mx.array) -> mx.array:
        nonlocal key
        key, now = mx.random.split(key)
        scaled = logprobs.astype(mx.float32) / job.temperature
        order = mx.argsort(-scaled, axis=-1)
        ranked = mx.take_along_axis(scaled, order, axis=-1)
        likely = mx.arange(ranked.shape[-1]) < (job.top_k or ranked.shape[-1])
        chances = mx.softmax(mx.where(likely, ranked, -mx.inf), axis=-1)
        nucleus = mx.cumsum(chances, axis=-1) - chances < job.top_p
        place = mx.random.categorical(mx.where(likely & nucleus, ranked, -mx.inf), key=now)
        return mx.take_along_axis(order, place[..., None], axis=-1)[..., 0]

    return chosen


def _token(token: int, logprobs: mx.array, count: int | None) -> Token:
    """A token with the logprobs of the model's own distribution, where they are asked for."""
    if count is None:
        return Token(token)
    wide = logprobs.astype(mx.float32)
    best = mx.argsort(-wide)[:count]
    top = zip(best.tolist(), wide[best].tolist(), strict=True)
    return Token(token, wide[token].item(), tuple(top))
