"""One pull from the moment it is asked for until `done` was called."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from workers.engine.base import KvBlocks
from workers.transfer.base import PullResult, TransferError

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Pull:
    """A pull and its clock. `deadline_s` is on the monotonic clock; `descriptors` is set when the copy starts."""

    source: KvBlocks
    destination: tuple[int, ...]
    done: Callable[[PullResult], None]
    deadline_s: float
    started_s: float = field(default_factory=time.monotonic)
    descriptors: int = 0
    _finished: bool = False

    def finish(self, block_bytes: int, error: TransferError | None = None) -> None:
        """Call `done`, the first time only. A callback that raises is logged: it must not take the transfer thread along."""
        if self._finished:
            return
        self._finished = True
        moved = 0 if error is not None else block_bytes * len(self.destination)
        result = PullResult(moved, self.descriptors, time.monotonic() - self.started_s, error)
        try:
            self.done(result)
        except Exception:
            log.exception("the callback of a pull raised")
