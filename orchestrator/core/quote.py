"""Text from outside in our messages: never more of it than a reader needs."""

from __future__ import annotations

MOST_QUOTED_CHARS = 64
MOST_MESSAGE_CHARS = 1200
"""gRPC sends a message as a header, twice where it has details; clients take 8 KiB of headers."""


def quoted(text: str) -> str:
    """`text` in quotes, control characters escaped, cut with … where it is long."""
    return repr(cut(text, MOST_QUOTED_CHARS))


def cut(text: str, most_chars: int = MOST_MESSAGE_CHARS) -> str:
    """`text`, or its beginning and … where it is longer than `most_chars`."""
    return text if len(text) <= most_chars else text[: most_chars - 1] + "…"
