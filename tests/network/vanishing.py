"""A decode worker on a host whose wire is cut in the middle of a READ. Runs in a `Forked` on that host."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import Connection
from typing import Any

from tests.transfer.decode_side import DecodeSide

PULL_TIMEOUT_S = 1.0


def read_until_the_wire_is_cut(pipe: Connection, source_pid: int, metadata: bytes) -> None:
    """Sends "reading" in mid-READ, with the source stopped so that the READ stays there until "cut" is received; then what
    became of it; and after "mended", what became of another READ from the same source.
    """
    with DecodeSide(PULL_TIMEOUT_S) as decode:
        decode.attach("a", "prefill-0", metadata)
        decode.wait_for_first_bytes()
        os.kill(source_pid, signal.SIGSTOP)
        pipe.send("reading")
        assert pipe.recv() == "cut"
        os.kill(source_pid, signal.SIGCONT)
        cut_s = time.monotonic()
        used = decode.used_blocks
        (told,) = decode.end_of_pull()
        ended_s = time.monotonic() - cut_s
        settled = decode.engine.pool.data.clone()
        pipe.send(_told(told) | {"seconds": ended_s, "used_before": used, "used_after": decode.used_blocks})
        assert pipe.recv() == "mended"
        assert decode.engine.pool.data.equal(settled), "written after the end was told"
        attempts, deadline_s = 0, time.monotonic() + 60
        while True:  # the connections of before may have to time out
            attempts += 1
            decode.attach(f"again-{attempts}", "prefill-0", metadata)
            (told,) = decode.end_of_pull()
            if told.WhichOneof("kind") == "pulled" or time.monotonic() > deadline_s:
                break
        pipe.send(_told(told) | {"attempts": attempts})


def _told(message: Any) -> dict[str, Any]:
    return {"kind": message.WhichOneof("kind"), "code": message.refused.code, "message": message.refused.message}
