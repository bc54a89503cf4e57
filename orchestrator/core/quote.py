"""Text from outside in our messages: never more of it than a reader needs."""

from __future__ import annotations

MOST_QUOTED_CHARS = 64
MOST_MESSAGE_CHARS = 1200
"""gRPC sends a message as a header, twice where it has details; clients take 8 KiB of headers."""


def quoted(text: str) -> str:
    """`text` in quotes, control characters escaped, cut with … where it is long; an escape counts for what it takes."""
    shown = repr(text[:MOST_QUOTED_CHARS])
    if len(text) <= MOST_QUOTED_CHARS and len(shown) <= 2 * MOST_QUOTED_CHARS:
        return shown
    return f"{shown[: 2 * MOST_QUOTED_CHARS].rstrip(shown[0])}…{shown[0]}"


def cut(text: str, most_chars: int = MOST_MESSAGE_CHARS) -> str:
    """`text`, or its beginning and … where it is longer than `most_chars`."""
    return text if len(text) <= most_chars else text[: most_chars - 1] + "…"
