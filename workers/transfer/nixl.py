"""KV transport over NIXL: one-sided READs, one transfer thread that owns the agents."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from workers.engine.base import KvBlocks
from workers.transfer.base import KvPool, PullResult, TransferError
from workers.transfer.checksum import ChecksumServer
from workers.transfer.metadata import Layout, PeerMetadata
from workers.transfer.nixl_agent import Agent
from workers.transfer.nixl_peer import PeerState, as_transfer_error
from workers.transfer.nixl_reader import Reader
from workers.transfer.nixl_versions import nixl_versions
from workers.transfer.pending import Pull

log = logging.getLogger(__name__)

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
# After a reader could not be replaced (no descriptors left, say), try again.
_REPLACE_AGAIN_S = 1.0


class NixlTransport:
    """See `Transport`. `device` defaults to the pool's. `checksums` (on both sides) compares every pulled block with its source; slow.

    One agent serves the readers of this pool for as long as the transport lives, so its metadata holds; another one, made with
    the first `connect`, reads. A hung peer may cost the second one (see `Reader`), never the first.

    `pull_timeout_s` and `connect_timeout_s` count from the call. A pull whose peer hangs (stopped, or its host is gone)
    reports when nothing can write into its destination any more: at its deadline plus the agent's end, which other READs that
    are under way may delay until they end, by `pull_timeout_s` at most. All pairs reconnect then; their pulls wait.
    `host` is where readers find the checksums of this side.

    Over TCP a source can be the victim: UCX (seen with 1.23) aborts a process that was stopped in the middle of a READ and goes on
    after the reader has closed its sockets ("ucp_request.inl: Fatal: unexpected error: Endpoint timeout", SIGABRT), more often than
    not. Its host starts it again, as after any death. NIXL offers nothing to handle that error; UCX_KEEPALIVE_INTERVAL=inf does
    not help.

    Raises TransferError if NIXL or its UCX backend does not start, ValueError for a pool that cannot be registered.
    """

    def __init__(
        self,
        name: str,
        pool: KvPool,
        *,
        device: str | None = None,
        host: str = "127.0.0.1",
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
        self._host = host
        self._checksums = ChecksumServer(pool, host) if checksums else None
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._metadata = b""
        self._connected: tuple[str, ...] = ()
        self.beats = 0
        """Rounds of the transfer thread: one that stands still is hung (see workers.process.pulse)."""
        self._reader: Reader | None = None
        self._given_up: list[Reader] = []
        self._replace_after_s = 0.0
        self._refused: dict[str, TransferError] = {}
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

    @property
    def problems(self) -> Mapping[str, str]:
        """See Links: they show when a pull is tried."""
        return {}

    def metadata(self) -> bytes:
        """See `Transport`."""
        return self._metadata

    def versions(self) -> dict[str, str]:
        """See `Transport`."""
        return {**nixl_versions(), "kv_layout": Layout.of(self._pool).fingerprint}

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
            self._agent = Agent(self.name, self._pool, reads=False)
            self._metadata = self._agent.metadata(self._host, self._checksums.port if self._checksums else 0).encode()
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
            self.beats += 1
            now_s = time.monotonic()
            busy = self._advance(now_s)
            self._agent.progress()
            if busy:
                busy_since_s = busy_since_s or now_s
                pause_s = 0.0 if now_s - busy_since_s < _SPIN_S else _POLL_PAUSE_S
            else:
                busy_since_s = 0.0
                if self._reader is not None:
                    self._reader.progress()
                served = time.monotonic() - now_s > _SERVED_S
                pause_s = _SERVING_WAKE_S if served else min(IDLE_WAKE_S, max(pause_s, _SERVING_WAKE_S) * 2)

    def _advance(self, now_s: float) -> bool:
        """Move every pair on; True while somebody waits for any of them."""
        reader = self._reader
        for some in self._readers():
            some.advance(now_s)
        if reader is not None:
            hangs = reader.stuck(now_s)
            if hangs or (reader.worn and now_s > self._replace_after_s):
                self._replace(reader, now_s, hangs)
        for old in [r for r in self._given_up if r.spent(now_s)]:
            self._given_up.remove(old)
            old.close(TransferError("the reader was given up"))
        peers = self._reader.peers if self._reader is not None else {}
        self._connected = tuple(name for name, peer in peers.items() if peer.state is PeerState.READY)
        return any(some.pressing for some in self._readers()) or self._reader is not reader

    def _readers(self) -> list[Reader]:
        return ([self._reader] if self._reader is not None else []) + self._given_up

    def _replace(self, reader: Reader, now_s: float, hangs: bool) -> None:
        """Takes about 0.1 s; once for each peer that hangs in the middle of a READ."""
        why = "a READ hangs" if hangs else "many pairs have ended"
        try:
            successor = self._new_reader()
        except Exception as error:
            log.error("%s, but no other NIXL agent starts: %s: %s", why, type(error).__name__, error)
            if hangs:  # its blocks come first; the next `connect` tries again
                self._give_up(reader, as_transfer_error("no NIXL agent starts", error))
            self._replace_after_s = now_s + _REPLACE_AGAIN_S
            return
        log.warning("%s: the NIXL agent that reads is given up and the pairs connect anew", why)
        self._reader = successor
        self._given_up.append(reader)
        self._refused |= reader.hand_over(successor)

    def _give_up(self, reader: Reader, error: TransferError) -> None:
        """Without a successor: where the network device of this host is gone, UCX starts none."""
        for name in list(reader.peers):
            reader.retire(name, error)
            self._refused[name] = error
        self._reader = None
        self._given_up.append(reader)

    def _new_reader(self) -> Reader:
        return Reader(f"{self.name}-reader", self._pool, self._connect_timeout_s)

    def _on_connect(self, name: str, raw: bytes) -> None:
        try:
            metadata = PeerMetadata.decode(raw, "nixl")
            if self._reader is None:
                self._reader = self._new_reader()
            self._reader.connect(name, metadata)
            self._refused.pop(name, None)
        except Exception as error:  # NIXL's own errors too: the thread serves other peers
            reason = as_transfer_error(f"cannot connect to {name}", error)
            self._retire(name, reason)
            self._refused[name] = reason

    def _on_disconnect(self, name: str) -> None:
        self._retire(name, TransferError(f"{name} was disconnected"))

    def _retire(self, name: str, error: TransferError) -> None:
        self._refused.pop(name, None)
        if self._reader is not None:
            self._reader.retire(name, error)

    def _on_pull(self, name: str, pull: Pull) -> None:
        peer = self._reader.peers.get(name) if self._reader is not None else None
        if peer is not None:
            peer.submit(pull)
        else:
            pull.finish(0, self._refused.get(name) or TransferError(f"no connection to {name}"))

    def _shut_down(self) -> None:
        closing = TransferError("the transport was closed")
        if self._reader is not None:
            for name in list(self._reader.peers):
                self._retire(name, closing)
            deadline_s = time.monotonic() + _CLOSE_GRACE_S
            while self._reader is not None and self._reader.busy and time.monotonic() < deadline_s:
                self._advance(time.monotonic())
                time.sleep(_POLL_PAUSE_S)
        for some in self._readers():
            some.close(closing)
        self._agent.close()
