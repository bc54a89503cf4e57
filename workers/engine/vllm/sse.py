"""Server-sent events out of the bytes of an answer."""

from __future__ import annotations

from collections.abc import Iterator

END = b"\n\n"
FIELD = b"data:"
DONE = b"[DONE]"


class Events:
    """Feed chunks as they come; each complete event's data once. Comments and other fields are skipped."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        *whole, self._rest = (self._rest + chunk if self._rest else chunk).replace(b"\r\n", b"\n").split(END)
        for event in whole:
            data = event[len(FIELD) :].strip() if event.startswith(FIELD) and b"\n" not in event else _data(event)
            if data and data != DONE:
                yield data


def _data(event: bytes) -> bytes:
    """Of an event of several lines, or of none that is data."""
    return b"\n".join(line[len(FIELD) :].strip() for line in event.split(b"\n") if line.startswith(FIELD))
