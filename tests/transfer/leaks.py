"""What a process holds, so that a failure repeated twenty times can be seen to leave nothing behind."""

from __future__ import annotations

import gc
import os
import threading
import time
from dataclasses import dataclass

GROWTH_BYTES = 48 << 20
"""One pool of 32 MiB that the allocator keeps, and what UCX's pools settle within; twenty pools or agents would not fit."""


@dataclass(frozen=True, slots=True)
class Holdings:
    threads: int
    system_threads: int
    descriptors: int
    resident_bytes: int


def holdings() -> Holdings:
    gc.collect()
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    tasks, descriptors = len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
    return Holdings(threading.active_count(), tasks, descriptors, resident)


def assert_nothing_left(before: Holdings, spare_descriptors: int = 0, timeout_s: float = 5.0) -> None:
    """As many threads and descriptors as before (sockets close a moment after their peers), and no more memory to speak of."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        after = holdings()
        if (
            after.descriptors <= before.descriptors + spare_descriptors
            and after.system_threads <= before.system_threads
        ):
            break
        assert time.monotonic() < deadline_s, f"{before} became {after}"
        time.sleep(0.02)
    assert after.threads <= before.threads, f"{before} became {after}"
    assert after.resident_bytes - before.resident_bytes < GROWTH_BYTES, f"{before} became {after}"
