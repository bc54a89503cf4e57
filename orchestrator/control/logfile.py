"""Where the controller logs: a file of bounded size in the run directory, which `pdctl logs controller` shows."""

from __future__ import annotations

import contextlib
import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from orchestrator.core.config import Observability
from orchestrator.observability.logs import formatter

MOST_BYTES = 10 << 20


def log_to(file: Path) -> None:
    """Send this process's log messages to `file` too; a file that cannot be written only costs the log."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(file, maxBytes=MOST_BYTES, backupCount=1)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        root = logging.getLogger()
        root.addHandler(handler)
        root.setLevel(min(root.level or logging.INFO, logging.INFO))


def shape_log(wanted: Observability) -> None:
    """Write the file's lines as the spec wants them."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, RotatingFileHandler):
            handler.setFormatter(formatter(wanted.log_format, "controller"))
            handler.setLevel(wanted.log_level.upper())
            logging.getLogger().setLevel(min(logging.getLogger().level, handler.level))
