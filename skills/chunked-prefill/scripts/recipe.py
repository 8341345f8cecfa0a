"""Mix pieces of waiting prompts, within a budget of tokens, into the steps that decode."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

BUDGETS = {"budget-32": 32, "budget-64": 64, "budget-128": 128}
OLD_PLAN = '''\
        """Return the chunks of the next step: one new prompt alone, or the next token of every sequence."""
        new = [one for one in self._active if len(one.sequence.tokens) == one.sequence.prompt_length]
        return [(active, self._chunk(active)) for active in new[:1] or self._active]
'''
NEW_PLAN = '''\
        """Return the chunks of the next step: every sequence's next token, and prompts up to the budget."""
        plan: list[tuple[Active, Chunk]] = []
        new: list[tuple[Active, Chunk]] = []
        for active in self._active:
            begun = len(active.sequence.tokens) > active.sequence.prompt_length
            (plan if begun else new).append((active, self._chunk(active)))
        left = PROMPT_BUDGET
        for active, chunk in new:
            if left > 0:
                del chunk.tokens[left:]
                left -= len(chunk.tokens)
                plan.append((active, chunk))
        return plan
'''


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"chunked-prefill: {reason}", file=sys.stderr)
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
    parser.add_argument("--variant", choices=BUDGETS, default="budget-64")
    options = parser.parse_args()
    budget = BUDGETS[options.variant]
    path = options.workspace / "scheduler.py"
    constant = "\n\n\n@dataclass(slots=True, eq=False)\nclass Active:"
    changes = {OLD_PLAN: NEW_PLAN, constant: f"\nPROMPT_BUDGET = {budget}{constant}"}
    path.write_text(edited(path, changes), encoding="utf-8")
    print(f"scheduler.py: prompts are computed in pieces, at most {budget} prompt tokens a step, next to decoding")


if __name__ == "__main__":
    main()
