"""Counts in `usage` a prompt without its begin token."""

import server

GROUP = "C3"
CHECK = "audit.usage"


class Answer(server.Answer):
    def _usage(self) -> dict[str, int]:
        said = super()._usage()
        return said | {"prompt_tokens": said["prompt_tokens"] - 1}


server.Answer = Answer
server.main()
