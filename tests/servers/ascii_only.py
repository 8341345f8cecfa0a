"""Leaves out of its text whatever is not ASCII."""

import server
import text

GROUP = "C11"
CHECK = ("audit.text", "interface.unicode")


class Plain(text.Detokenizer):
    def add(self, token: int) -> str:
        return super().add(token).encode("ascii", "ignore").decode()


text.Detokenizer = Plain
server.main()
