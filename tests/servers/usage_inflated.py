"""Counts every generated token four times in `usage`."""

import server

GROUP = "C3"
CHECK = "audit.usage"


class Answer(server.Answer):
    def _usage(self) -> dict[str, int]:
        said = super()._usage()
        return said | {"completion_tokens": 4 * said["completion_tokens"]}


server.Answer = Answer
server.main()
