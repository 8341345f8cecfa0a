"""Chats, with JSON Schema constraints and predictions where the target has them."""
