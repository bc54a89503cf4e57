"""What a front door process is told by whoever starts it: one JSON file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from orchestrator.core.process_file import read_process_file


@dataclass(frozen=True, slots=True)
class FrontDoorConfig:
    """`front_door` holds the frontDoor section of cluster.yaml in snake_case; everything else about the cluster is in the store.

    `model_dirs` are the directories of the served models by name, the default model first.
    """

    id: str
    store_url: str
    run_dir: str
    cluster_name: str
    model_dirs: dict[str, str]
    host: str
    http_port: int
    grpc_port: int
    front_door: dict[str, Any]

    @property
    def shared_ports(self) -> bool:
        """True if several front door processes listen on the same ports."""
        return bool(self.front_door.get("processes", 1) > 1)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read FILE; raises ValueError naming a field that is missing or unknown."""
        return read_process_file(cls, path)
