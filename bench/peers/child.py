"""A helper process of a benchmark: prints one line of JSON when it serves, obeys lines on stdin, and ends when stdin does."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


async def serve_until_eof(ready: dict[str, Any], take: Callable[[Path], None] | None = None) -> None:
    """Print `ready`; on "take FILE" call `take` and print an empty object. The parent's death closes stdin."""
    print(json.dumps({**ready, "pid": os.getpid()}), flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        word, _, path = line.decode().strip().partition(" ")
        if word == "take" and take is not None:
            take(Path(path))
        print("{}", flush=True)
