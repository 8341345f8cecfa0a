"""Sandboxes: one file each, class `<Name>Sandbox`; the file's name is the name to give."""

from vibeserve_loop.roles import Job, Sandbox

__all__ = ["Job", "Sandbox"]
