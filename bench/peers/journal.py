"""What the simulated backends did and when, so that time spent in them is told from time spent on the way."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

FIRST_ID, DIGITS = 100, 900
"""The first two prompt tokens carry the request's number in base 900, three decimal digits each."""


def number_to_ids(number: int) -> tuple[int, int]:
    """The two prompt tokens that stand for `number` (0 to 809,999)."""
    high, low = divmod(number % (DIGITS * DIGITS), DIGITS)
    return high + FIRST_ID, low + FIRST_ID


def request_number(prompt: Sequence[int] | str) -> int:
    """The number in a prompt's first two tokens, or before the first space of a text."""
    if isinstance(prompt, str):
        return int(prompt.partition(" ")[0])
    return (prompt[0] - FIRST_ID) * DIGITS + prompt[1] - FIRST_ID


@dataclass(slots=True)
class Entry:
    """One request. Times in seconds of the system-wide monotonic clock; 0 where it did not happen."""

    prefill_received_s: float = 0.0
    prefill_sent_s: float = 0.0
    decode_received_s: float = 0.0
    emitted_s: list[float] = field(default_factory=list)


class Journal:
    """Entries by request number."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}

    def entry(self, number: int) -> Entry:
        found = self._entries.get(number)
        if found is None:
            found = self._entries[number] = Entry()
        return found

    def take(self, path: Path) -> None:
        """Write everything to `path` and forget it."""
        entries, self._entries = self._entries, {}
        path.write_bytes(orjson.dumps({str(n): asdict(e) for n, e in entries.items()}, option=orjson.OPT_NON_STR_KEYS))


def read_journal(path: Path) -> dict[int, Entry]:
    return {int(n): Entry(**e) for n, e in orjson.loads(path.read_bytes()).items()}


now_s = time.perf_counter
