"""Decodes every token by itself, so that characters of several tokens are lost."""

from pathlib import Path

from starter_edits import edited

CHECK = "audit.text"


def make(starter: Path, into: Path) -> None:
    before = (
        "        text = self._text()\n        return self._give(text[:-1] if text.endswith(INCOMPLETE) else text)\n"
    )
    after = "        return str(self._tokenizer.decode([token], skip_special_tokens=True))\n"
    edited(
        starter,
        into,
        ("text.py", before, after),
        ("text.py", "        return self._give(self._text())\n", '        return ""\n'),
    )
