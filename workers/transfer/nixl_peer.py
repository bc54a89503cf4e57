"""One incarnation of one peer: connect, then pull after pull. A state machine that the transfer thread advances."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import numpy as np
import torch

from workers.transfer import checksum
from workers.transfer.base import GenerationMismatch, KvPool, TransferError
from workers.transfer.metadata import PeerMetadata
from workers.transfer.nixl_agent import DONE, IN_PROGRESS, Agent
from workers.transfer.pending import Pull
from workers.transfer.runs import check_blocks, merge_runs

log = logging.getLogger(__name__)


class PeerState(StrEnum):
    """`failed` is final: only a new incarnation or a new `connect` helps."""

    CONNECTING = "connecting"
    READY = "ready"
    FAILED = "failed"


class NixlPeer:
    """Pulls run one at a time: one copy fills the link, and generations of two pulls never share the scratch tensor.

    A handle is given up only when it is terminal. Releasing it or removing the remote agent before does not stop a peer
    that was stopped and goes on from writing into the destination. So a pull past its deadline keeps its error and waits:
    for that end, or for the end of the local agent, whichever comes first (see `Reader`).
    """

    def __init__(self, name: str, agent: Agent, pool: KvPool, metadata: PeerMetadata, connect_timeout_s: float) -> None:
        self.name = name
        self._agent = agent
        self._pool = pool
        self.metadata = metadata
        self.state = PeerState.CONNECTING
        self.error: TransferError | None = None
        self._waiting: deque[Pull] = deque()
        self._pull: Pull | None = None
        self._handle: Any = None
        self._checking = False
        self._first_block = 0
        self._connect_timeout_s = connect_timeout_s
        self._connect_deadline_s = time.monotonic() + connect_timeout_s
        agent.layout.require_same(metadata.layout)
        self._scratch = torch.zeros(metadata.layout.blocks, dtype=torch.int64)
        scratch_bytes = self._scratch.numel() * self._scratch.element_size()
        self._registration = agent.nixl.register_memory([(self._scratch.data_ptr(), scratch_bytes, 0, "")], "DRAM")
        self._blocks: Any = None
        self._added = False
        try:
            agent.add(metadata)
            self._added = True
            self._blocks = agent.prepare(
                metadata.incarnation, metadata.data_address, metadata.layout.blocks, metadata.device_id, metadata.memory
            )
            self._post(agent.read_generations(metadata, self._scratch, 0, 1))  # the first READ connects
        except Exception as error:
            self._release()
            self.fail(as_transfer_error(self._doing(), error))

    @property
    def in_flight(self) -> bool:
        """A READ may still write into local memory."""
        return self._handle is not None

    @property
    def busy(self) -> bool:
        """There is something to poll."""
        return self.in_flight or bool(self._waiting)

    @property
    def pressing(self) -> bool:
        """Somebody waits for it. A READ that has been given up is only looked at now and then."""
        return self.busy and self.error is None

    def stuck(self, now_s: float) -> bool:
        """A READ into the pool is past its deadline and has not ended."""
        return self.in_flight and self._pull is not None and now_s > self._pull.deadline_s

    def holds_back(self, now_s: float) -> bool:
        """A READ into the pool may still succeed."""
        return self.in_flight and self._pull is not None and now_s <= self._pull.deadline_s

    def hand_over(self) -> list[Pull]:
        """The pulls that have not started, for another pair with the same peer. The running one ends here."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def submit(self, pull: Pull) -> None:
        """Queue a pull; on a failed peer it fails at once."""
        if self.error is not None:
            pull.finish(0, self.error)
        else:
            self._waiting.append(pull)

    def fail(self, error: TransferError) -> None:
        """Final. Waiting pulls get `error` now, the running one when its handle is terminal."""
        self.state = PeerState.FAILED
        # Without its traceback, whose frames hold NIXL handles and with them the agent.
        self.error = self.error or error.with_traceback(None)
        while self._waiting:
            self._waiting.popleft().finish(0, self.error)
        if self._handle is None and self._pull is not None:
            self._end_pull(self.error)

    def advance(self, now_s: float) -> None:
        """Poll the handle, or start the next pull. Never raises."""
        try:
            self._advance(now_s)
        except Exception as error:
            self._release()
            self.fail(as_transfer_error(self._doing(), error))

    def _advance(self, now_s: float) -> None:
        if self._handle is not None:
            status = self._agent.nixl.check_xfer_state(self._handle)
            if status == IN_PROGRESS:
                self._check_deadline(now_s)
                return
            self._completed(status)
        while self._handle is None and self._pull is None and self.state is PeerState.READY and self._waiting:
            self._start(self._waiting.popleft(), now_s)

    def _doing(self) -> str:
        if self._pull is None:
            return f"cannot connect to {self.name}"
        return f"READ of {len(self._pull.destination)} blocks from {self.name} failed"

    def _check_deadline(self, now_s: float) -> None:
        pull = self._pull
        if self.error is not None or now_s <= (self._connect_deadline_s if pull is None else pull.deadline_s):
            return
        if pull is None:
            self.fail(TransferError(f"no connection to {self.name} within {self._connect_timeout_s:g} s"))
        else:
            waited_s = now_s - pull.started_s
            self.fail(
                TransferError(
                    f"READ of {len(pull.destination)} blocks from {self.name} passed its deadline after {waited_s:.1f} s: "
                    "the peer or the network hangs"
                )
            )

    def _post(self, handle: Any) -> None:
        self._handle = handle
        status = self._agent.nixl.transfer(handle)
        if status != IN_PROGRESS:
            self._completed(status)

    def _completed(self, status: str) -> None:
        self._release()
        if status != DONE:
            raise TransferError(f"it ended as {status}")
        if self.error is not None:  # past its deadline or disconnected; only waited for
            self.fail(self.error)
        elif self._pull is None:
            self.state = PeerState.READY
        elif not self._checking:
            source = self._pull.source.blocks
            self._checking, self._first_block = True, min(source)
            span = max(source) - self._first_block + 1
            self._post(self._agent.read_generations(self.metadata, self._scratch, self._first_block, span))
        else:
            self._end_pull(self._verify(self._pull))

    def _start(self, pull: Pull, now_s: float) -> None:
        source, destination = pull.source, pull.destination
        try:
            if len(source.generations) != len(source.blocks):
                raise ValueError(f"{len(source.generations)} generations for {len(source.blocks)} blocks")
            check_blocks(source.blocks, self.metadata.layout.blocks, "source")
            check_blocks(destination, self._agent.layout.blocks, "destination")
            pull.descriptors = len(merge_runs(source.blocks, destination))
        except ValueError as error:
            pull.finish(0, TransferError(str(error)))
            return
        if not destination:
            pull.finish(0)
            return
        if now_s > pull.deadline_s:
            pull.finish(0, TransferError(f"the pull from {self.name} passed its deadline in the queue"))
            return
        self._pull, self._checking = pull, False
        self._post(
            self._agent.read_blocks(
                self._blocks, np.asarray(source.blocks, dtype=np.int32), np.asarray(destination, dtype=np.int32)
            )
        )

    def _verify(self, pull: Pull) -> TransferError | None:
        found = self._scratch.numpy()[np.asarray(pull.source.blocks) - self._first_block]
        wrong = np.flatnonzero(found != np.asarray(pull.source.generations, dtype=np.int64))
        if wrong.size:
            at = int(wrong[0])
            return GenerationMismatch(
                f"{wrong.size} of {found.size} blocks of {self.name} changed hands; block {pull.source.blocks[at]} "
                f"has generation {int(found[at])}, leased at {pull.source.generations[at]}"
            )
        if self.metadata.checksum_port:
            try:
                checksum.verify(
                    self._pool, pull.source.blocks, pull.destination, self.metadata.host, self.metadata.checksum_port
                )
            except TransferError as error:
                return error
        return None

    def _end_pull(self, error: TransferError | None) -> None:
        pull, self._pull = self._pull, None
        if pull is not None:
            pull.finish(self._agent.layout.block_bytes, error)

    def _release(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._give_back("a transfer handle", self._agent.nixl.release_xfer_handle, handle)

    def drop(self) -> None:
        """Release everything. Only when nothing is in flight, or right before the agent itself is destroyed. Never raises."""
        self._release()
        blocks, self._blocks = self._blocks, None
        if blocks is not None:
            self._give_back("the block list", blocks.release)
        if self._added:
            self._added = False
            self._give_back("the agent", self._agent.nixl.remove_remote_agent, self.metadata.incarnation)
        registration, self._registration = self._registration, None
        if registration is not None:
            self._give_back("the scratch memory", self._agent.nixl.deregister_memory, registration)

    def _give_back(self, what: str, release: Callable[..., Any], *arguments: Any) -> None:
        try:
            release(*arguments)
        except (
            Exception
        ) as error:  # one dead peer must not end the thread that serves all; the agent's end frees the rest
            log.warning("NIXL kept %s of %s: %s", what, self.metadata.incarnation, error)


def as_transfer_error(what: str, error: Exception) -> TransferError:
    """`error` of NIXL or of ours as one message that begins with `what`."""
    return TransferError(f"{what}: {error if isinstance(error, TransferError) else f'{type(error).__name__}: {error}'}")
