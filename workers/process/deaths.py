"""A worker process dies with its host, and with any of its threads: half a worker is worse than one that is started again."""

from __future__ import annotations

import logging
import os
import select
import threading

log = logging.getLogger(__name__)

BROKEN = 70
"""Exit code after a thread failed (EX_SOFTWARE)."""


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


def die_without_a_thread() -> None:
    """End this process when a thread (engine, transfer) ends with an exception."""

    def broken(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is SystemExit:
            return
        name = args.thread.name if args.thread else "?"
        exception = args.exc_value or args.exc_type()
        log.critical("thread %s failed: this worker ends", name, exc_info=exception)
        logging.shutdown()
        os._exit(BROKEN)

    threading.excepthook = broken
