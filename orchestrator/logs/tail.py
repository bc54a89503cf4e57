"""The end of a log file, and what is added to it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MOST_LINES = 100_000
MOST_BYTES = 4 << 20
"""What is read of a file at once, however many lines are asked for."""
CHUNK_BYTES = 64 << 10


def last_bytes(file: BinaryIO, lines: int) -> bytes:
    """The last `lines` lines, at most MOST_BYTES of them; the file is left at its end. An unfinished last line counts as one."""
    lines = max(0, min(lines, MOST_LINES))
    end = file.seek(0, os.SEEK_END)
    start = end
    tail = b""
    # One line break more than lines: the one before the first of them. One that ends the file ends its last line.
    while start > 0 and len(tail) < MOST_BYTES and tail[:-1].count(b"\n") < lines:
        step = min(CHUNK_BYTES, start)
        start -= step
        file.seek(start)
        tail = file.read(step) + tail
    file.seek(end)
    if not lines:
        return b""
    kept = tail[-MOST_BYTES:].splitlines(keepends=True)[-lines:]
    return b"".join(kept)


@dataclass(slots=True)
class Follower:
    """Reads a file as it grows. A file that was replaced (by rotation) or cut short is read from its beginning."""

    path: Path
    _file: BinaryIO | None = None

    def start(self, lines: int) -> bytes:
        """The last `lines` lines; empty if there is no file yet."""
        self._open()
        return last_bytes(self._file, lines) if self._file is not None else b""

    def more(self) -> bytes:
        """What was added since, at most CHUNK_BYTES; empty if nothing was."""
        if self._file is None:
            self._open()
            if self._file is None:
                return b""
        if new := self._file.read(CHUNK_BYTES):
            return new
        if self._replaced():
            self.close()
        return b""

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        try:
            self._file = self.path.open("rb")
        except FileNotFoundError:
            self._file = None

    def _replaced(self) -> bool:
        assert self._file is not None
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return False
        ours = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (ours.st_dev, ours.st_ino) or now.st_size < self._file.tell()
