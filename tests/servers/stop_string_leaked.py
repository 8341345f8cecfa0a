"""Shows the stop string in the text."""

import sequence
import server

GROUP = "C4"
CHECK = "interface.stop"


class Leaking(sequence.StopStrings):
    def add(self, text: str) -> tuple[str, bool]:
        held = self._held + text
        shown, stopped = super().add(text)
        return (held, True) if stopped else (shown, stopped)


sequence.StopStrings = Leaking
server.main()
