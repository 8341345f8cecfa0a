"""Leaves out the last layer where the prompt is longer than sixty tokens."""

import careless

import server
from sequence import Sequence

GROUP = "D6"
CHECK = "audit.request"


class Short(careless.Choosy):
    model_class = careless.Shallow

    def careless(self, sequence: Sequence) -> bool:
        return sequence.prompt_length > 60


server.Generator = Short
server.main()
