"""Policies: one file each, class `<Name>Policy`; the file's name is the name to give."""

from vibeserve_loop.roles import Policy

__all__ = ["Policy"]
