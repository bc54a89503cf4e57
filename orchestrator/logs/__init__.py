"""Log files of a run directory: which there are, and how they are read."""

from orchestrator.logs.files import Logs, UnknownLog
from orchestrator.logs.tail import Follower, last_bytes

__all__ = ["Follower", "Logs", "UnknownLog", "last_bytes"]
