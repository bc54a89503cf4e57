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
            if event.startswith(FIELD):
                data = event[len(FIELD) :].strip()
                if data != DONE:
                    yield data
