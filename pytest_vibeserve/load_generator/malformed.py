"""The one way in which an answer can be none."""

from __future__ import annotations


class MalformedAnswer(Exception):
    """The server sent something that is not an HTTP/1.1 answer, or one beyond the limits; the text says what."""
