"""What a worker process is told by its host: one JSON file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from orchestrator.core.process_file import read_process_file


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """`engine` holds the engine section of cluster.yaml in snake_case, `transport` has kind, lease_s and checksums.

    `observability` is the section of cluster.yaml in snake_case.
    """

    name: str
    incarnation: int
    model_dir: str
    model_name: str
    engine: dict[str, Any]
    transport: dict[str, Any]
    dtype: str
    max_len: int | None
    parent_pid: int
    host: str = "127.0.0.1"
    port: int = 0
    observability: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read FILE; raises ValueError naming a field that is missing or unknown."""
        return read_process_file(cls, path)

    @property
    def peer_name(self) -> str:
        """Name of this incarnation for its transport peers."""
        return peer_name(self.name, self.incarnation)


def peer_name(worker: str, incarnation: int) -> str:
    """A restarted worker is another peer: its old memory is gone."""
    return f"{worker}@{incarnation}"


def worker_of(peer: str) -> str:
    """The worker of which `peer` is an incarnation."""
    return peer.rpartition("@")[0]
