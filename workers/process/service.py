"""The Worker gRPC service of one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from pd.v1 import worker_pb2 as pb
from workers.process.loop import EngineLoop

Context = grpc.aio.ServicerContext[Any, Any]
ASK_S = 30.0


class WorkerService:
    """Hands messages to the engine loop and encoded messages back; holds no state of requests."""

    def __init__(self, loop: EngineLoop, describe: Callable[[], pb.WorkerDescription]) -> None:
        self._loop = loop
        self._describe = describe

    async def session(self, requests: AsyncIterator[pb.ToWorker], context: Context) -> AsyncIterator[bytes]:
        """One front door: the first message must be Hello."""
        first = await anext(aiter(requests), None)
        if first is None or first.WhichOneof("kind") != "hello" or not first.hello.front_door:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "the first message of a Session must be Hello with a front_door"
            )
        assert first is not None
        front_door = first.hello.front_door
        outbox: asyncio.Queue[bytes] = asyncio.Queue()
        event_loop = asyncio.get_running_loop()

        def send(message: bytes) -> None:
            event_loop.call_soon_threadsafe(outbox.put_nowait, message)

        yield pb.FromWorker(welcome=self._describe()).SerializeToString()
        yield pb.FromWorker(cache=pb.CacheEvents(reset=True)).SerializeToString()
        self._loop.post(lambda: self._loop.open_session(front_door, send))
        reader = asyncio.create_task(self._read(front_door, requests, outbox))
        try:
            while message := await outbox.get():
                yield message
        finally:
            reader.cancel()
            self._loop.post(lambda: self._loop.lose_session(front_door, send))

    async def _read(self, front_door: str, requests: AsyncIterator[pb.ToWorker], outbox: asyncio.Queue[bytes]) -> None:
        try:
            async for message in requests:
                self._loop.post(lambda m=message: self._loop.handle(front_door, m))  # type: ignore[misc]
        finally:
            outbox.put_nowait(b"")  # half-closed: end our side too

    async def describe(self, request: pb.DescribeWorkerRequest, context: Context) -> pb.WorkerDescription:
        description = self._describe()
        description.status.CopyFrom(await self._ask(self._loop.status))
        return description

    async def connect_peer(self, request: pb.ConnectPeerRequest, context: Context) -> pb.ConnectPeerReply:
        peer = self._loop.peers.connect(request.peer, request.incarnation, request.transport_metadata)
        return pb.ConnectPeerReply(connected=peer in self._loop.transport.connected())

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
        return await asyncio.wait_for(asyncio.wrap_future(self._loop.ask(question)), ASK_S)

    def handlers(self) -> grpc.GenericRpcHandler:
        """Session sends bytes that the engine thread has already encoded."""
        encode = pb.WorkerDescription.SerializeToString
        return grpc.method_handlers_generic_handler(
            "pd.v1.Worker",
            {
                "Session": grpc.stream_stream_rpc_method_handler(self.session, pb.ToWorker.FromString, None),
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
