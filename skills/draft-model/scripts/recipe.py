"""Guess the next choices with the model's first layers, and read the guesses in one step of the whole model."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import NoReturn

ASSETS = Path(__file__).resolve().parents[1] / "assets"
NEW = "drafting.py"
SHARES = {"first-quarter": 4, "first-half": 2}
CONSTANT = "\n\n\n@dataclass(frozen=True, slots=True)\nclass Choosing:"
DECODING = {
    "from llama import Llama\n": "from drafting import Draft, row_by_row\nfrom llama import Llama\n",
    "from dataclasses import dataclass\n": "from dataclasses import dataclass, replace\n",
    '''    def mask(self) -> np.ndarray:
        """The tokens [vocabulary] that may come next."""
''': '''    def copy(self) -> "Grammar":
        """Another that stands at the same place."""
        other = object.__new__(Grammar)
        other._tokens, other._ends, other._size = self._tokens, self._ends, self._size
        other._matcher = self._matcher.deep_copy()
        return other

    @property
    def over(self) -> bool:
        """Whether the document has ended."""
        return bool(self._matcher.is_stopped())

    def mask(self) -> np.ndarray:
        """The tokens [vocabulary] that may come next."""
''',
    "        self._net = Llama(folder).to(self._device)\n": (
        "        self._net = Llama(folder).to(self._device)\n"
        '        layers = max(1, config["num_hidden_layers"] // SHARE)\n'
        "        self._draft = Draft(self._net, layers)\n"
    ),
    "        given, cache = prompt, None\n": "        given, cache = prompt, self._net.begin()\n",
    """            with torch.inference_mode():
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
""": '''            known, start = [*given, *forced], cache.length
            room = self.context - start - len(known)
            guess = self._draft.guess(known, cache, room, grammar, partial(chosen_plainly, choosing))
            with torch.inference_mode():
                ids = torch.tensor([known + guess], device=self._device)
                kept = len(forced) + 1 + len(guess)
                out = self._net(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=kept)
            logits = row_by_row(out.logits[:, -kept:])
            said = [*forced, *self._agreed(logits[len(forced) :], guess, choosing, draws, grammar)]
            yield Step(said, logits[: len(said)])
            # What lies behind the last token that was read is stale, and is written over.
            given, cache.length = said[-1:], start + len(given) + len(said) - 1

    def _agreed(
        self, rows: list[np.ndarray], guess: list[int], choosing: Choosing, draws: np.random.Generator,
        grammar: Grammar | None,
    ) -> list[int]:  # fmt: skip
        """The model's own choices as far as they were guessed, and the first that was not."""
        said: list[int] = []
        while len(said) < len(rows):
            expected = guess[len(said)] if len(said) < len(guess) else None
            token = chosen(rows[len(said)], choosing, draws, grammar.mask() if grammar else None)
            said.append(token)
            if grammar:
                grammar.take(token)
            if expected is not None:
                self._draft.learn(token == expected)
            if token != expected:
                break
            if grammar:
                said += grammar.forced()
                if grammar.over:
                    break
        return said
''',
    "\n\ndef logprobs(": '''

def chosen_plainly(choosing: Choosing, logits: np.ndarray, mask: np.ndarray | None) -> int:
    """The likeliest id, biased and masked as the request wants it."""
    return chosen(logits, replace(choosing, temperature=0.0), np.random.default_rng(0), mask)


def logprobs(''',
    "from collections.abc import Iterator\n": "from collections.abc import Iterator\nfrom functools import partial\n",
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"draft-model: {reason}", file=sys.stderr)
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
    parser.add_argument("--variant", choices=SHARES, default="first-quarter")
    options = parser.parse_args()
    workspace, share = options.workspace, SHARES[options.variant]
    if (workspace / NEW).exists():
        refuse(f"there is a {NEW} already")
    edited(workspace / "llama.py", {"    def begin(self) -> Cache:\n": ""})
    text = edited(workspace / "decoding.py", DECODING | {CONSTANT: f"\nSHARE = {share}{CONSTANT}"})
    (workspace / "decoding.py").write_text(text, encoding="utf-8")
    shutil.copyfile(ASSETS / NEW, workspace / NEW)
    print(f"{NEW}, decoding.py: the first 1/{share} of the layers guesses up to three choices, verified in one step")


if __name__ == "__main__":
    main()
