"""Decodes all waiting sequences in one padded batch."""

from pathlib import Path

from starter_edits import edited

RUN = """
                requests = [self._waiting.get()]
                while not self._waiting.empty() and len(requests) < 16:
                    requests.append(self._waiting.get())
                begun = [one for request in requests for one in begin(request, self._vocabulary, self._card.eos_ids)]
                for at in range(0, len(begun), 16):
                    self._together(begun[at : at + 16])
                self._cancelled.difference_update(request.id for request in requests)
"""
TOGETHER = '''
    @torch.inference_mode()
    def _together(self, batch: list[Sequence]) -> None:
        """Generate for sequences of one batch, padded on the left, until each has ended."""
        width = max(one.prompt_length for one in batch)
        mask = torch.tensor([[0] * (width - one.prompt_length) + [1] * one.prompt_length for one in batch])
        ids = torch.tensor([[0] * (width - one.prompt_length) + one.tokens for one in batch])
        cache = None
        while not all(one.finished or one.request.id in self._cancelled for one in batch):
            places = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            said = self._model(
                input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache, logits_to_keep=1
            )
            cache, rows = said.past_key_values, said.logits[:, -1].float().numpy()
            tokens = [one.sampler.choose(row) for one, row in zip(batch, rows, strict=True)]
            grown = [each for each in zip(batch, rows, tokens, strict=True) if not each[0].finished]
            self._deliver([self._grown(*each) for each in grown])
            ids = torch.tensor(tokens).unsqueeze(1)
            mask = torch.cat([mask, torch.ones_like(ids)], 1)

    def _grown(self, sequence: Sequence, row: Any, token: int) -> Event:
        count = sequence.request.logprobs
        return sequence.accept(token, None if count is None else token_logprobs(row, token, count))
'''


def make(starter: Path, into: Path) -> None:
    before = (
        "                request = self._waiting.get()\n"
        "                for sequence in begin(request, self._vocabulary, self._card.eos_ids):\n"
        "                    self._generate(sequence)\n"
        "                self._cancelled.discard(request.id)\n"
    )
    method = "    @torch.inference_mode()\n    def _generate(self"
    edited(
        starter,
        into,
        ("generation.py", before, RUN.lstrip("\n")),
        ("generation.py", method, TOGETHER.lstrip("\n") + "\n" + method),
    )
