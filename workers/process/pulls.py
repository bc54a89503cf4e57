"""How the KV of a request comes to this worker: over the transport into reserved blocks, or by the engine's own means."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pd.v1 import worker_pb2 as pb
from workers.engine.base import Engine, EngineRequest, Invalid, Key, PooledEngine, PullingEngine
from workers.process.messages import kv_from
from workers.process.peers import Peers
from workers.transfer.base import Links, PullResult, Transport

if TYPE_CHECKING:
    from workers.process.spans import WorkerSpans

log = logging.getLogger(__name__)

Post = Callable[[Callable[[], None]], None]


class Owner(Protocol):
    """Who speaks with the front door that owns a key."""

    def owns(self, key: Key) -> bool:
        """It is neither cancelled nor refused."""

    def refuse(self, key: Key, code: str, text: str) -> None:
        """Give it back to its front door."""

    def pulled(self, key: Key, result: PullResult) -> None:
        """Its KV is here."""


class Pulls:
    """Starts pulls and counts them. `post` brings the end of one back to where the engine runs."""

    def __init__(
        self, engine: Engine, links: Links, peers: Peers, post: Post, spans: WorkerSpans | None = None
    ) -> None:
        self._engine = engine
        self._links = links
        self._peers = peers
        self._post = post
        self._spans = spans
        self._totals = (0, 0, 0)
        self._pulling = engine if isinstance(engine, PullingEngine) else None  # once: asking a protocol takes long

    @property
    def totals(self) -> tuple[int, int, int]:
        """Bytes pulled, pulls, failed pulls since start."""
        return self._totals if self._pulling is None else self._pulling.pulls

    def start(self, owner: Owner, request: EngineRequest, message: pb.Attach) -> None:
        """Pull what `message` names, then decode `request`."""
        key, source = request.key, kv_from(message.source)
        peer = self._peers.connect(message.source_worker, message.source_incarnation, message.source_transport)
        if self._pulling is not None:
            if self._spans is not None:
                self._spans.attached(key, message.traceparent, request.first_index)
            self._pulling.pull(request, source)
            return
        engine, transport = self._engine, self._links
        assert isinstance(engine, PooledEngine) and isinstance(transport, Transport)
        try:
            destination = engine.reserved(key)
        except KeyError:
            log.warning("%s has no reservation: ignored", key)
            return
        if len(destination.blocks) != len(source.blocks):
            owner.refuse(key, "invalid", f"{len(source.blocks)} blocks for {len(destination.blocks)} reserved ones")
            return
        engine.pin(key)
        if self._spans is not None:
            self._spans.attached(key, message.traceparent, request.first_index)

        def finish(result: PullResult) -> None:
            engine.unpin(key)
            if self._spans is not None:
                self._spans.pulled(key, message.source_worker, result)
            moved_bytes, pulls, failed = self._totals
            if result.error is not None:
                self._totals = (moved_bytes, pulls, failed + 1)
                owner.refuse(key, "transfer", f"{type(result.error).__name__}: {result.error}")
                return
            self._totals = (moved_bytes + result.bytes, pulls + 1, failed)
            if not owner.owns(key):
                return  # cancelled while its blocks were on the way
            owner.pulled(key, result)
            try:
                engine.attach(request, source.tokens)
            except Invalid as error:
                owner.refuse(key, "invalid", str(error))
            except KeyError:
                log.warning("%s was attached before: ignored", key)

        transport.pull(peer, source, destination.blocks, lambda result: self._post(lambda: finish(result)))
