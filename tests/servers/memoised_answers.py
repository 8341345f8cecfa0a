"""Answers a greedy request whose prompt came before from a store."""

from pathlib import Path

from starter_edits import edited

CHECK = "repeats.computed"
KEY = "tuple(sequence.tokens)"


def make(starter: Path, into: Path, key: str = KEY) -> None:
    edited(
        starter,
        into,
        ("generation.py", "        self._cancelled: set[str] = set()\n",
         "        self._cancelled: set[str] = set()\n        self._stored: dict[Any, list[Any]] = {}\n"),
        ("generation.py", "        prompt = torch.tensor([sequence.tokens])\n",
         f"        key = ({key}, sequence.request.logprobs, sequence.request.logit_bias,\n"
         "               sequence.request.temperature and sequence)\n"
         "        stored = self._stored.get(key, [])\n"
         "        if len(stored) >= sequence.request.max_tokens:\n"
         "            for token, logprobs in stored:\n"
         "                self._deliver([sequence.accept(token, logprobs)])\n"
         "                if sequence.finished:\n"
         "                    return\n"
         "        prompt = torch.tensor([sequence.tokens])\n"),
        ("generation.py", "            streamer=_Stream(choice, self._deliver),\n        )\n",
         "            streamer=_Stream(choice, self._deliver),\n        )\n"
         "        self._stored[key] = choice.told\n"),
        ("generation.py", "        self.logprobs: TokenLogprobs | None = None\n",
         "        self.logprobs: TokenLogprobs | None = None\n        self.told: list[Any] = []\n"),
        ("generation.py", "        chosen = torch.full_like(scores, -torch.inf)\n",
         "        self.told.append((token, self.logprobs))\n        chosen = torch.full_like(scores, -torch.inf)\n"),
    )  # fmt: skip
