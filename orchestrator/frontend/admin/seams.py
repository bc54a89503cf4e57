"""What the Admin service needs of its front door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.frontend.records import RequestRecord
from pd.v1 import worker_pb2 as worker


@dataclass(slots=True)
class FrontDoorInfo:
    """Where this front door serves. `started_at` is unix seconds; logs are in `run_dir`."""

    id: str
    host: str
    http_port: int
    started_at: float
    grpc_port: int = 0
    run_dir: str = ""
    tls: bool = False


class Link(Protocol):
    """This front door's stream to one worker."""

    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def incarnation(self) -> int: ...
    @property
    def connected(self) -> bool: ...
    @property
    def description(self) -> worker.WorkerDescription: ...
    @property
    def status(self) -> worker.WorkerStatus | None:
        """What the worker pushed last."""


class RequestSource(Protocol):
    """The dispatcher, as far as Admin reads it."""

    @property
    def workers(self) -> Mapping[str, Link]: ...

    def requests(self) -> Sequence[RequestRecord]:
        """Active requests and the last finished ones, oldest first."""

    def find(self, request_id: str) -> RequestRecord | None: ...

    def check_integrity(self) -> None:
        """Raises AssertionError naming the first difference."""
