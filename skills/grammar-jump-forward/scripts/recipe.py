"""Write what the grammar forces without asking the model, cut into tokens as the tokenizer cuts it."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

DECODING = {
    """    def take(self, token: int) -> None:
        \"\"\"Go on behind a token.\"\"\"
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)
""": """    def take(self, token: int) -> None:
        \"\"\"Go on behind a token.\"\"\"
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)

    def forced(self) -> list[int]:
        \"\"\"The tokens of the text that must come next, cut as the tokenizer cuts it; they are taken.

        At the end of a document that is an end token.  Where the cut does not fit what was written before, nothing.
        \"\"\"
        if self._matcher.is_stopped():
            return [min(self._ends)]
        text = bytes(self._matcher.compute_ff_bytes())
        tokens = self._tokens.tokenize_bytes(text) if text else []
        if self._matcher.validate_tokens(tokens) < len(tokens):
            return []
        for token in tokens:
            self.take(token)
        return [*tokens, min(self._ends)] if self._matcher.is_stopped() else list(tokens)
""",
    """        given, cache = prompt, None
        while True:
            with torch.inference_mode():
                ids = torch.tensor([given], device=self._device)
                out = self._net(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = out.past_key_values
            logits = out.logits[0, -1].float().cpu().numpy()
            token = chosen(logits, choosing, draws, grammar.mask() if grammar else None)
            if grammar:
                grammar.take(token)
            yield Step([token], [logits])
            given = [token]
""": """        given, cache = prompt, None
        while True:
            # A step takes all that is known by now, and chooses one token behind it; a document's end needs no step.
            forced = grammar.forced() if grammar else []
            if forced and forced[-1] in self.ends and not choosing.scored:
                yield Step(forced, [np.zeros(0, np.float32)] * len(forced))
                continue
            with torch.inference_mode():
                ids = torch.tensor([[*given, *forced]], device=self._device)
                kept = len(forced) + 1
                out = self._net(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=kept)
            cache = out.past_key_values
            logits = out.logits[0, -kept:].float().cpu().numpy()
            token = chosen(logits[-1], choosing, draws, grammar.mask() if grammar else None)
            if grammar:
                grammar.take(token)
            yield Step([*forced, token], list(logits))
            given = [token]
""",
    """    seed: tuple[int, ...] | None = None
""": """    seed: tuple[int, ...] | None = None
    scored: bool = False
""",
}
CHAT = {
    """        found = Request(
            messages,""": """        choosing = replace(choosing, scored=bool(given.get("logprobs")))
        found = Request(
            messages,""",
    "from dataclasses import dataclass, field\n": "from dataclasses import dataclass, field, replace\n",
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"grammar-jump-forward: {reason}", file=sys.stderr)
    sys.exit(3)


def edited(path: Path, changes: dict[str, str]) -> str:
    """Return the text of a file with each piece replaced; every piece must be there exactly once."""
    if not path.is_file():
        refuse(f"there is no {path.name}")
    text = path.read_text(encoding="utf-8")
    for old, new in changes.items():
        if text.count(old) != 1:
            refuse(f"{path.name} does not hold exactly once: {old.strip().splitlines()[0]}")
        text = text.replace(old, new)
    return text


def main() -> None:
    """Edit the workspace given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    workspace = parser.parse_args().workspace
    texts = {
        name: edited(workspace / name, changes) for name, changes in (("decoding.py", DECODING), ("chat.py", CHAT))
    }
    for name, text in texts.items():
        (workspace / name).write_text(text, encoding="utf-8")
    print("decoding.py: forced text is written without a step of its own, and read with the next choice")


if __name__ == "__main__":
    main()
