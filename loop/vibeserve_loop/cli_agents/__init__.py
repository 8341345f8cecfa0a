"""Agents that are programs of their own: how each is started, spoken to over the Agent Client Protocol, and ended."""
