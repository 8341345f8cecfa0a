"""Looks for a stop string in each token's text alone."""

import sequence
import server

GROUP = "C4"
CHECK = "interface.stop"


class Shortsighted(sequence.StopStrings):
    def add(self, text: str) -> tuple[str, bool]:
        starts = [at for at in map(text.find, self._stops) if at >= 0]
        return (text[: min(starts)], True) if starts else (text, False)


sequence.StopStrings = Shortsighted
server.main()
