"""Draft tokens from the prediction that the client sends, and verify them exactly in one step of the model."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import NoReturn

ASSETS = Path(__file__).resolve().parents[1] / "assets"
LENGTHS = {"draft-15": 15, "draft-31": 31, "draft-7": 7}
SCHEDULER = {
    "from model import Chunk": "from drafting import Drafter\nfrom model import Chunk",
    "from sequence import Event, Sequence\n": "from sequence import Event, Sequence, merge\n",
    "    cached: int = 0\n": "    cached: int = 0\n    drafter: Drafter | None = None\n",
    '''        """Return all tokens of a sequence that are not cached yet."""
        return Chunk(active.slot, active.cached, active.sequence.tokens[active.cached :])
''': '''        """Return all tokens of a sequence that are not cached yet, and a draft of the next ones."""
        sequence = active.sequence
        tokens = sequence.tokens[active.cached :]
        wanted = sequence.prompt_length + sequence.request.max_tokens - len(sequence.tokens) - 1
        count = min(DRAFT, wanted, DECODE_ROWS // len(self._active) - 1)
        if count < 1 or sequence.sampler.temperature > 0 or len(sequence.tokens) == sequence.prompt_length:
            return Chunk(active.slot, active.cached, tokens)
        if active.drafter is None:
            active.drafter = Drafter(sequence.request.prediction)
        draft = active.drafter.propose(sequence.tokens[sequence.prompt_length :], count)
        return Chunk(active.slot, active.cached, tokens + draft, every=bool(draft))
''',
    """        for (active, chunk), row in zip(plan, logits, strict=True):
            active.cached += len(chunk.tokens)
            if active.cached == len(active.sequence.tokens):
                events.append(self._extend(active, row))
                if active.sequence.finished:
                    self._release(active)
        return events
""": '''        row = 0
        for active, chunk in plan:
            if chunk.every:
                events.append(self._verify(active, chunk, logits[row : row + len(chunk.tokens)]))
                row += len(chunk.tokens)
            else:
                active.cached += len(chunk.tokens)
                if active.cached == len(active.sequence.tokens):
                    events.append(self._extend(active, logits[row]))
                row += 1
            if active.sequence.finished:
                self._release(active)
        return events

    def _verify(self, active: Active, chunk: Chunk, rows: Logits) -> Event:
        """Extend a sequence as far as its draft is what the model chooses, and by the model's choice after it."""
        events: list[Event] = []
        for place, row in enumerate(rows, start=1):
            events.append(self._extend(active, row))
            active.cached += 1
            if active.sequence.finished or active.sequence.tokens[-1:] != chunk.tokens[place : place + 1]:
                break
        return merge(events)
''',
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"predicted-output: {reason}", file=sys.stderr)
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
    parser.add_argument("--variant", choices=LENGTHS, default="draft-15")
    options = parser.parse_args()
    if "prediction: tuple[int, ...]" not in edited(options.workspace / "protocol.py", {}):
        refuse("protocol.py reads no prediction: no client of this candidate sends one")
    length = LENGTHS[options.variant]
    path = options.workspace / "scheduler.py"
    constant = "\n\n\n@dataclass(slots=True, eq=False)\nclass Active:"
    # Drafts of several sequences share the rows of a step.
    constants = f"\nDRAFT = {length}\nDECODE_ROWS = {2 * (length + 1)}{constant}"
    path.write_text(edited(path, {**SCHEDULER, constant: constants}), encoding="utf-8")
    shutil.copyfile(ASSETS / "drafting.py", options.workspace / "drafting.py")
    print(f"scheduler.py: predictions are drafted {length} tokens ahead and verified; added drafting.py")


if __name__ == "__main__":
    main()
