"""The writer of a record: takes entries on the event loop without waiting, encodes and writes them on a thread."""

from __future__ import annotations

import gzip
import logging
import queue
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

from orchestrator.recording.entries import Decision, Entry, Header, PolicySet, RequestEnded
from orchestrator.recording.form import MOST_OPEN, LineWriter

log = logging.getLogger(__name__)

BACKLOG = 2000
"""Entries that may wait for the thread. More are not recorded: memory stays bounded, and the record says how many it missed."""
CLOSE_S = 10.0
"""How long a front door that shuts down waits for a slow disk."""
FLUSH_S = 0.5
"""After this time what was written can be read, even if the process is killed."""


class DecisionLog:
    """The first `limit` decisions of a front door, and how the requests that they were about ended.

    Used on one thread (the event loop). The file is made with the first decision. One that cannot be written ends the record with a
    warning, nothing else.
    """

    def __init__(self, path: Path, limit: int, front_door: str) -> None:
        self.path = _free(path)
        self._left = limit
        self._open: dict[str, None] = {}
        self._entries: queue.SimpleQueue[Header | Entry | None] = queue.SimpleQueue()
        self._broken = False
        self._entries.put(Header(front_door, _tandem(), time.monotonic(), time.time()))
        self._thread = threading.Thread(target=self._write, name="decision-log", daemon=True)

    @property
    def takes(self) -> bool:
        """Whether the next decision would be recorded."""
        return self._left > 0 and not self._broken and self._entries.qsize() < BACKLOG

    def policy(self, entry: PolicySet) -> None:
        """Record which policy decides from here on; comes before its first decision."""
        if self._thread.ident is None:
            self._thread.start()
        self._entries.put(entry)

    def decision(self, request_ids: list[str], entry: Decision) -> None:
        """Record a decision about these requests."""
        self._left -= 1
        self._open.update(dict.fromkeys(request_ids))
        while len(self._open) > MOST_OPEN:
            del self._open[next(iter(self._open))]
        self._entries.put(entry)

    def follows(self, request_id: str) -> bool:
        """Whether the end of this request belongs into the record."""
        return request_id in self._open

    def ended(self, entry: RequestEnded) -> None:
        """Record the end of a request that `follows` said yes to."""
        self._open.pop(entry.request_id, None)
        if not self._broken:
            self._entries.put(entry)

    def close(self) -> None:
        """Write what waits; returns when the file is complete."""
        self._left = 0
        self._entries.put(None)
        if self._thread.ident is not None:
            self._thread.join(CLOSE_S)

    def _write(self) -> None:
        try:
            with self.path.open("xb") as raw:
                if self.path.suffix == ".gz":
                    with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6) as packed:
                        self._write_all(packed)
                else:
                    self._write_all(raw)
        except Exception as error:  # the disk is full, or an entry has no form: requests go on without a record
            self._broken = True
            log.warning("the record %s ends here: %s", self.path, error)

    def _write_all(self, output: IO[bytes] | gzip.GzipFile) -> None:
        lines, flushed_s, dirty = LineWriter(), time.monotonic(), False
        while True:
            try:
                entry = self._entries.get(timeout=FLUSH_S if dirty else None)
                if entry is None:
                    return
                output.write(lines.lines(entry).encode())
                dirty = True
            except queue.Empty:
                pass
            if dirty and time.monotonic() - flushed_s >= FLUSH_S:
                output.flush()
                flushed_s, dirty = time.monotonic(), False


def _free(path: Path) -> Path:
    """`path`, or the first of `NAME-2`, `NAME-3`, … that does not exist: a front door that starts again overwrites nothing."""
    name, dot, suffixes = path.name.partition(".")
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{name}-{number}{dot}{suffixes}")
    return free


def _tandem() -> str:
    try:
        return version("tandem")
    except PackageNotFoundError:
        return "unknown"
