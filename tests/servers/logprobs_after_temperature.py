"""Reports logprobs of the distribution after temperature and bias in place of the model's own."""

import numpy as np

import generation
import server
from generation import Row
from sampling import TokenLogprobs, token_logprobs

GROUP = "C9"
CHECK = ("interface.logprob-values", "sampled.logprob-values")


class Tempered(generation.Generator):
    def logprobs(self, row: Row, token: int) -> TokenLogprobs | None:
        request, logits = row.sequence.request, row.logits.copy()
        for biased, value in request.logit_bias:
            logits[biased] += np.float32(value)
        return (
            None
            if request.logprobs is None
            else token_logprobs(logits / (request.temperature or 1), token, request.logprobs)
        )


server.Generator = Tempered
server.main()
