"""Every field of `target.toml`, for `docs/targets.md`: `python tests/benchmarks/target_page.py` writes its table."""

from __future__ import annotations

import sys
from pathlib import Path

from pytest_vibeserve.mistakes import descriptions
from pytest_vibeserve.target import Target

PAGE = Path(__file__).resolve().parents[2] / "docs" / "targets.md"
NOT_WRITTEN = ("folder", "profile")
TABLE = "| field | meaning |\n|---|---|\n"


def page() -> str:
    """The page with its table as the fields are now."""
    fields = [(name, told) for name, told in descriptions(Target) if name.partition(".")[0] not in NOT_WRITTEN]
    return (
        PAGE.read_text(encoding="utf-8").partition(TABLE)[0]
        + TABLE
        + "".join(f"| `{name}` | {told.replace('|', chr(92) + '|')} |\n" for name, told in fields)
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
