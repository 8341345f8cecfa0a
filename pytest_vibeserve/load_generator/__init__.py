"""Sends HTTP requests from a process of its own, in a closed loop or on a schedule, and stamps what comes back."""

from .arrivals import constant, gamma, poisson
from .generator import LoadGenerator
from .traffic import CANCELLED, ClientHealth, Exchange, Reply, Traffic, bottleneck

__all__ = [
    "CANCELLED",
    "ClientHealth",
    "Exchange",
    "LoadGenerator",
    "Reply",
    "Traffic",
    "bottleneck",
    "constant",
    "gamma",
    "poisson",
]
