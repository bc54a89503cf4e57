"""KV transport over NIXL: one-sided READs, one transfer thread that owns the agent."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from workers.engine.base import KvBlocks
from workers.transfer.base import KvPool, PullResult, TransferError
from workers.transfer.checksum import ChecksumServer
from workers.transfer.metadata import PeerMetadata
from workers.transfer.nixl_agent import Agent
from workers.transfer.nixl_peer import NixlPeer, PeerState, as_transfer_error
from workers.transfer.pending import Pull

# An idle side wakes this often to let peers connect (about four exchanges, at start only).
IDLE_WAKE_S = 0.02
# A waking that took longer than this did work for a peer: wake again soon.
_SERVED_S = 0.0002
_SERVING_WAKE_S = 0.0005
# A READ not done within `transfer()` is polled without a pause at first, then with short ones that leave the core to the engine.
_SPIN_S = 0.0003
_POLL_PAUSE_S = 0.0001
_START_TIMEOUT_S = 30.0
_CLOSE_GRACE_S = 0.5


class NixlTransport:
    """See `Transport`. `device` defaults to the pool's. `checksums` (on both sides) compares every pulled block with its source; slow.

    `pull_timeout_s` and `connect_timeout_s` count from the call. A READ that a hung peer keeps alive beyond that reports when
    it has ended, because until then it may write into the destination.
    Raises TransferError if NIXL or its UCX backend does not start, ValueError for a pool that cannot be registered.
    """

    def __init__(
        self,
        name: str,
        pool: KvPool,
        *,
        device: str | None = None,
        checksums: bool = False,
        pull_timeout_s: float = 10.0,
        connect_timeout_s: float = 10.0,
    ) -> None:
        if device is not None and device.partition(":")[0] != pool.data.device.type:
            raise ValueError(f"the pool is on {pool.data.device}, not on {device}")
        self.name = name
        self._pool = pool
        self._pull_timeout_s = pull_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._checksums = ChecksumServer(pool) if checksums else None
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._metadata = b""
        self._connected: tuple[str, ...] = ()
        self._peers: dict[str, NixlPeer] = {}
        self._refused: dict[str, TransferError] = {}
        self._retired: list[NixlPeer] = []
        started: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(started,), name=f"kv-transfer-{name}", daemon=True)
        self._thread.start()
        try:
            error = started.get(timeout=_START_TIMEOUT_S)
        except queue.Empty:
            error = TransferError(f"NIXL did not start within {_START_TIMEOUT_S} s")
        if error is not None:
            self.close()
            raise error

    def metadata(self) -> bytes:
        """See `Transport`."""
        return self._metadata

    def connect(self, peer: str, metadata: bytes) -> None:
        """See `Transport`. A pair that failed is set up again; metadata that does not fit makes later pulls fail with the reason."""
        self._put(partial(self._on_connect, peer, metadata))

    def connected(self) -> list[str]:
        """See `Transport`."""
        return list(self._connected)

    def disconnect(self, peer: str) -> None:
        """See `Transport`."""
        self._put(partial(self._on_disconnect, peer))

    def pull(self, peer: str, source: KvBlocks, destination: Sequence[int], done: Callable[[PullResult], None]) -> None:
        """See `Transport`. After `close` the error comes on the caller's thread."""
        pull = Pull(source, tuple(destination), done, time.monotonic() + self._pull_timeout_s)
        if not self._put(partial(self._on_pull, peer, pull)):
            pull.finish(0, TransferError("the transport is closed"))

    def close(self) -> None:
        """See `Transport`. Idempotent."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._commands.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        if self._checksums is not None:
            self._checksums.close()
            self._checksums = None

    def _put(self, command: Callable[[], None]) -> bool:
        with self._lock:
            if not self._closed:
                self._commands.put(command)
            return not self._closed

    # Below: the transfer thread.

    def _run(self, started: queue.SimpleQueue[Exception | None]) -> None:
        try:
            self._agent = Agent(self.name, self._pool, self._checksums.port if self._checksums else 0)
            self._metadata = self._agent.metadata.encode()
        except ValueError as error:
            started.put(error)
            return
        except Exception as error:
            started.put(TransferError(f"NIXL does not start: {type(error).__name__}: {error}"))
            return
        started.put(None)
        self._loop()
        self._shut_down()

    def _loop(self) -> None:
        pause_s, busy_since_s = IDLE_WAKE_S, 0.0
        while True:
            try:
                command = self._commands.get(timeout=pause_s) if pause_s else self._commands.get_nowait()
                while command is not None:
                    command()
                    command = self._commands.get_nowait()
                return
            except queue.Empty:
                pass
            now_s = time.monotonic()
            if self._advance(now_s):
                busy_since_s = busy_since_s or now_s
                pause_s = 0.0 if now_s - busy_since_s < _SPIN_S else _POLL_PAUSE_S
            else:
                busy_since_s = 0.0
                self._agent.progress()
                served = time.monotonic() - now_s > _SERVED_S
                pause_s = _SERVING_WAKE_S if served else min(IDLE_WAKE_S, max(pause_s, _SERVING_WAKE_S) * 2)

    def _advance(self, now_s: float) -> bool:
        """Move every pair on; True while any has something to poll."""
        for peer in (*self._peers.values(), *self._retired):
            if peer.busy:
                peer.advance(now_s)
        for peer in [p for p in self._retired if not p.in_flight]:
            peer.drop()
            self._retired.remove(peer)
        self._connected = tuple(name for name, peer in self._peers.items() if peer.state is PeerState.READY)
        return any(peer.busy for peer in (*self._peers.values(), *self._retired))

    def _on_connect(self, name: str, raw: bytes) -> None:
        try:
            metadata = PeerMetadata.decode(raw, "nixl")
            known = self._peers.get(name)
            if known is not None and known.metadata == metadata and known.state is not PeerState.FAILED:
                return
            self._retire(name, TransferError(f"{name} connected anew"))
            self._advance(time.monotonic())
            if any(peer.metadata.incarnation == metadata.incarnation for peer in self._retired):
                raise TransferError(f"an earlier READ from {name} has not ended")
            self._peers[name] = NixlPeer(self._agent, self._pool, metadata, self._connect_timeout_s)
        except Exception as error:  # NIXL's own errors too: the thread serves other peers
            reason = as_transfer_error("cannot connect", error)
            self._retire(name, reason)
            self._refused[name] = reason

    def _on_disconnect(self, name: str) -> None:
        self._retire(name, TransferError(f"{name} was disconnected"))

    def _retire(self, name: str, error: TransferError) -> None:
        self._refused.pop(name, None)
        peer = self._peers.pop(name, None)
        if peer is not None:
            peer.fail(error)
            self._retired.append(peer)

    def _on_pull(self, name: str, pull: Pull) -> None:
        peer = self._peers.get(name)
        if peer is not None:
            peer.submit(pull)
        else:
            pull.finish(0, self._refused.get(name) or TransferError(f"no connection to {name}"))

    def _shut_down(self) -> None:
        closing = TransferError("the transport was closed")
        for name in list(self._peers):
            self._retire(name, closing)
        deadline_s = time.monotonic() + _CLOSE_GRACE_S
        while self._advance(time.monotonic()) and time.monotonic() < deadline_s:
            time.sleep(_POLL_PAUSE_S)
        stuck = self._retired
        for peer in stuck:
            peer.drop()
        self._agent.close()
        for peer in stuck:  # only now can no READ write any more
            peer.fail(closing)
