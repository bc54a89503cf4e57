"""A worker that has started, whatever its engine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from pd.v1 import worker_pb2 as pb
from workers.process.worker import Worker


@dataclass(slots=True)
class Running:
    """`description` says what the engine knows of itself. `broken` is done, with the reason, when the worker cannot go on."""

    worker: Worker
    description: pb.WorkerDescription
    broken: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def close(self) -> None:
        """Free what the engine holds."""
        self.worker.stop()
        self.worker.links.close()
