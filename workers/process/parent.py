"""A worker process dies with the host that started it, however the host died."""

from __future__ import annotations

import os
import select
import threading


def die_with(parent_pid: int) -> None:
    """End this process as soon as `parent_pid` ends (0: never). A pidfd, unlike PR_SET_PDEATHSIG, ignores which thread forked us."""
    if not parent_pid:
        return
    try:
        handle = os.pidfd_open(parent_pid)
    except ProcessLookupError:
        os._exit(1)

    def wait() -> None:
        select.select([handle], [], [])
        os._exit(1)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
