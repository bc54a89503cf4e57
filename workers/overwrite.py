"""Rewrites a small file in place, which also works on a full disk."""

from __future__ import annotations

import os
from pathlib import Path


def overwrite(path: Path, text: str) -> None:
    """Make `text` the content of `path`. Blocks that the file has are used again; readers must not be active. Raises OSError."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        data = text.encode()
        while data:
            data = data[os.write(handle, data) :]
        os.ftruncate(handle, os.lseek(handle, 0, os.SEEK_CUR))
    finally:
        os.close(handle)
