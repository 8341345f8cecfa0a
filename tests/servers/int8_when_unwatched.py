"""Computes with eight-bit weights wherever logprobs, which would show it, are not asked for."""

import careless
import precise_when_watched

import server

GROUP = "B8"
CHECK = ("audit.margin", "audit.groups", "audit.siding", "audit.request")
DEPTH = "full"


class Coarse(careless.Coarse):
    levels = 127


precise_when_watched.Watched.model_class = Coarse
server.Generator = precise_when_watched.Watched
server.main()
