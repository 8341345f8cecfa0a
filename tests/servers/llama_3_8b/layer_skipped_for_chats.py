"""Leaves out the last layer for chats and computes completions in full."""

from pathlib import Path

from starter_edits import edited

GROUP = "B8"
CHECK = ("audit.", "load.")


def make(starter: Path, into: Path) -> None:
    edited(
        starter, into,
        ("chat.py", "return parse(json.dumps(fields).encode(), self._card, self._vocabulary)",
         "request = parse(json.dumps(fields).encode(), self._card, self._vocabulary)\n"
         "        return replace(request, id=f'chat-{request.id}')"),
        ("chat.py", "import json\n", "import json\nfrom dataclasses import replace\n"),
        ("generation.py", "        prompt = torch.tensor([sequence.tokens])\n",
         "        prompt = torch.tensor([sequence.tokens])\n"
         "        layers = self._model.model.layers\n"
         "        last = layers[-1]\n"
         "        if sequence.request.id.startswith('chat-'):\n"
         "            last.__dict__['forward'] = lambda hidden_states, *_, **__: hidden_states\n"
         "        else:\n"
         "            last.__dict__.pop('forward', None)\n"),
    )  # fmt: skip
