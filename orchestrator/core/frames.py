"""Messages on a byte stream: uint32 little-endian length, then that many bytes."""

from __future__ import annotations

from collections.abc import Iterable

MAX_FRAME_BYTES = 64 << 20


class FrameError(Exception):
    """The other side does not speak this protocol."""


def frame(message: bytes) -> bytes:
    """`message` as it goes on the stream."""
    return len(message).to_bytes(4, "little") + message


def frames(messages: Iterable[bytes]) -> bytes:
    """Several messages, for one write."""
    parts: list[bytes] = []
    for message in messages:
        parts += (len(message).to_bytes(4, "little"), message)
    return b"".join(parts)


class Deframer:
    """Cuts what arrives into messages. Linear in the bytes received, however they are cut."""

    def __init__(self, limit_bytes: int = MAX_FRAME_BYTES) -> None:
        self._limit = limit_bytes
        self._rest = bytearray()
        self._wanted = 4

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes. Raises FrameError for one that is longer than the limit."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        out, at, end = [], 0, len(data)
        while end - at >= 4:
            size = int.from_bytes(data[at : at + 4], "little")
            if size > self._limit:
                raise FrameError(f"a message of {size} bytes; the limit is {self._limit}")
            after = at + 4 + size
            if after > end:
                break
            out.append(data[at + 4 : after])
            at = after
        if at < end:
            self._rest += data[at:]
            self._wanted = 4 if end - at < 4 else 4 + size
        return out
