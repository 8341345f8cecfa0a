"""Serve HTTP on uvloop without a framework, and detokenise through a table of bytes."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import NoReturn

ASSETS = Path(__file__).resolve().parents[1] / "assets"
NEW = ("wire.py", "connection.py")
KNOWN = {"server.py": "web.run_app(", "answers.py": "return json.dumps(answer).encode()"}
TEXT = {
    '"""Text of tokens: encoding, incremental decoding of byte-level BPE, and stop strings."""\n\n': (
        '"""Text of tokens: encoding, incremental decoding of byte-level BPE, and stop strings."""\n\nimport codecs\n'
    ),
    "from tokenizers import Tokenizer\n\n": "from tokenizers import Tokenizer, pre_tokenizers\n\n",
    'INCOMPLETE = "\\ufffd"\n': 'UTF8 = codecs.getincrementaldecoder("utf-8")\n',
    '        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))\n': (
        '        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))\n'
        "        self._pieces = _pieces(self._tokenizer)\n"
    ),
    "        return Detokenizer(self._tokenizer)\n": "        return Detokenizer(self._pieces)\n",
    '''    def __init__(self, tokenizer: Tokenizer) -> None:
        """Start with no ids."""
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._given = 0
''': '''    def __init__(self, pieces: list[bytes]) -> None:
        """Start with no ids; `pieces` are the bytes of each token."""
        self._pieces = pieces
        self._decoder = UTF8(errors="replace")
''',
    """        self._ids.append(token)
        text = self._text()
        return self._give(text[:-1] if text.endswith(INCOMPLETE) else text)
""": """        return self._decoder.decode(self._pieces[token])
""",
    """        return self._give(self._text())

    def _text(self) -> str:
        return str(self._tokenizer.decode(self._ids, skip_special_tokens=True))

    def _give(self, text: str) -> str:
        new = text[self._given :]
        self._given += len(new)
        return new
""": '''        return self._decoder.decode(b"", final=True)


def _pieces(tokenizer: Tokenizer) -> list[bytes]:
    """Return the bytes of each token of a byte-level BPE, where one character stands for one byte; specials are empty.

    The characters that stand for bytes are those of the tokenizer's alphabet: printable bytes for themselves, the
    others, in their order, for the code points from 256 on.
    """
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    printable = [byte for byte in range(256) if chr(byte) in alphabet]
    others = [byte for byte in range(256) if chr(byte) not in alphabet]
    byte_of = {chr(byte): byte for byte in printable} | {chr(256 + at): byte for at, byte in enumerate(others)}
    special = {token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special}
    pieces = [b""] * tokenizer.get_vocab_size()
    for spelling, token in tokenizer.get_vocab().items():
        if token not in special:
            pieces[token] = bytes(map(byte_of.__getitem__, spelling))
    return pieces
''',
}


def refuse(reason: str) -> NoReturn:
    """End with status 3: the recipe does not apply."""
    print(f"lean-http: {reason}", file=sys.stderr)
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
    if (workspace / "chat.py").exists():
        refuse("the server has a route for chats, which the lean one has not")
    for name, line in KNOWN.items():
        edited(workspace / name, {line: line})
    for name in NEW:
        if (workspace / name).exists():
            refuse(f"there is a {name} already")
    text = edited(workspace / "text.py", TEXT)
    (workspace / "text.py").write_text(text, encoding="utf-8")
    for name in (*KNOWN, *NEW):
        shutil.copyfile(ASSETS / name, workspace / name)
    print("server.py: no framework, one write a step; answers.py: orjson; text.py: byte table; wire.py, connection.py")


if __name__ == "__main__":
    main()
