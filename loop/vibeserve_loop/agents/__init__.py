"""Agents: one file each, class `<Name>Agent`; the file's name is the name to give."""

from vibeserve_loop.roles import Agent, Brief, Desk

__all__ = ["Agent", "Brief", "Desk"]
