"""The Worker gRPC service of one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from pd.v1 import worker_pb2 as pb
from workers.process.worker import Worker

Context = grpc.aio.ServicerContext[Any, Any]
ASK_S = 30.0


class WorkerService:
    """Answers what a controller asks; front doors have connections of their own (wire.py)."""

    def __init__(self, loop: Worker, describe: Callable[[], pb.WorkerDescription]) -> None:
        self._loop = loop
        self._describe = describe

    async def describe(self, request: pb.DescribeWorkerRequest, context: Context) -> pb.WorkerDescription:
        description = self._describe()
        description.status.CopyFrom(await self._ask(self._loop.status))
        return description

    async def connect_peer(self, request: pb.ConnectPeerRequest, context: Context) -> pb.ConnectPeerReply:
        peer = self._loop.peers.connect(request.peer, request.incarnation, request.transport_metadata)
        links = self._loop.links
        return pb.ConnectPeerReply(connected=peer in links.connected(), problem=links.problems.get(peer, ""))

    async def check_integrity(self, request: pb.CheckIntegrityRequest, context: Context) -> pb.WorkerStatus:
        def check() -> pb.WorkerStatus:
            self._loop.engine.check_integrity()
            return self._loop.status()

        try:
            return await self._ask(check)
        except AssertionError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            raise

    async def _ask(self, question: Callable[[], pb.WorkerStatus]) -> pb.WorkerStatus:
        status = await asyncio.wait_for(asyncio.wrap_future(self._loop.ask(question)), ASK_S)
        status.tasks = len(asyncio.all_tasks())
        return status

    def handlers(self) -> grpc.GenericRpcHandler:
        encode = pb.WorkerDescription.SerializeToString
        return grpc.method_handlers_generic_handler(
            "pd.v1.Worker",
            {
                "Describe": grpc.unary_unary_rpc_method_handler(
                    self.describe, pb.DescribeWorkerRequest.FromString, encode
                ),
                "ConnectPeer": grpc.unary_unary_rpc_method_handler(
                    self.connect_peer, pb.ConnectPeerRequest.FromString, pb.ConnectPeerReply.SerializeToString
                ),
                "CheckIntegrity": grpc.unary_unary_rpc_method_handler(
                    self.check_integrity, pb.CheckIntegrityRequest.FromString, pb.WorkerStatus.SerializeToString
                ),
            },
        )
