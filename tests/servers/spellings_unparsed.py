"""Reads the spellings of special tokens as plain text."""

import server
import text

GROUP = "B11"
CHECK = "interface.tokenisation"
DEPTH = "full"


class Plain(text.Vocabulary):
    def encode(self, prompt: str) -> list[int]:
        self._tokenizer.encode_special_tokens = True
        return super().encode(prompt)


server.Vocabulary = Plain
server.main()
