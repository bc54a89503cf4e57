"""Asks every worker to recount its blocks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import grpc

from orchestrator.state import Document
from pd.v1 import admin_pb2 as pb
from pd.v1 import worker_pb2 as worker_pb
from pd.v1 import worker_pb2_grpc

DEADLINE_S = 10.0


async def check_workers(endpoints: Mapping[str, Document]) -> list[pb.WorkerIntegrity]:
    """One result per worker, in order of name. A worker that does not answer is not all right."""
    return list(await asyncio.gather(*(_check(name, endpoint) for name, endpoint in sorted(endpoints.items()))))


async def _check(name: str, endpoint: Document) -> pb.WorkerIntegrity:
    if endpoint["state"] != "ready":
        return pb.WorkerIntegrity(worker=name, ok=False, message=f"not ready: {endpoint['state']}")
    options = [("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(endpoint["address"], options=options) as channel:
        try:
            call = worker_pb2_grpc.WorkerStub(channel).CheckIntegrity
            status = await call(worker_pb.CheckIntegrityRequest(), timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            return pb.WorkerIntegrity(worker=name, ok=False, message=error.details() or error.code().name)
    return pb.WorkerIntegrity(worker=name, ok=True, status=status)
