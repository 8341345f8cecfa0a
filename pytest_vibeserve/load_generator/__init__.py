"""Sends HTTP requests from processes of its own, in a closed loop or on a schedule, and stamps what comes back."""

from .arrivals import arrivals, constant, gamma, poisson
from .capacity import Capacity, Probe, highest
from .generator import LoadGenerator
from .shards import ShardedLoadGenerator
from .traffic import CANCELLED, ClientHealth, Exchange, Reply, Traffic, bottleneck

__all__ = [
    "CANCELLED",
    "Capacity",
    "ClientHealth",
    "Exchange",
    "LoadGenerator",
    "Probe",
    "Reply",
    "ShardedLoadGenerator",
    "Traffic",
    "arrivals",
    "bottleneck",
    "constant",
    "gamma",
    "highest",
    "poisson",
]
