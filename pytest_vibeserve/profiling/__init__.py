"""The profiled pass: the candidate once more, apart from all that is measured, with a look inside."""

from pytest_vibeserve.profiling.inside import insight

__all__ = ["insight"]
