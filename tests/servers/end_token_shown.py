"""Shows special tokens in the text."""

import server
import text

GROUP = "C4"
CHECK = ("interface.end-token", "audit.text", "interface.")


class Verbose(text.Detokenizer):
    def _text(self) -> str:
        return str(self._tokenizer.decode(self._ids, skip_special_tokens=False))


text.Detokenizer = Verbose
server.main()
