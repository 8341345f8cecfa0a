"""Takes two prefixes for the same when the first and the last token of each block of eight agree."""

import prefixes
import server

GROUP = "E3"
CHECK = ("audit.request", "sessions.", "load.request")


class Stale(prefixes.PrefixStore):
    def shared(self, prompt: list[int], tokens: list[int]) -> int:
        end = min(len(prompt), len(tokens)) // 8 * 8
        pairs = ((at, at + 7) for at in range(0, end, 8))
        return next((one for one, last in pairs if [prompt[one], prompt[last]] != [tokens[one], tokens[last]]), end)


server.Generator = Stale
server.main()
