"""The reading half of a NIXL transport: an agent that READs, and its pairs. It can be given up for another one."""

from __future__ import annotations

from workers.transfer.base import KvPool, TransferError
from workers.transfer.metadata import PeerMetadata
from workers.transfer.nixl_agent import Agent
from workers.transfer.nixl_peer import NixlPeer, PeerState, as_transfer_error

ENDED_PAIRS = 32
"""UCX (seen with 1.23) keeps a socket of each refused connection, and those of a pair given up while its peer lives, until
the agent ends. So after this many ended pairs another agent is due, which bounds what is kept."""


class Reader:
    """Pairs by peer name, and those given up whose last READ has not ended.

    Where the peer copies (UCX over TCP), nothing on this side stops a READ from a peer that hangs: neither releasing its
    handle nor removing the remote agent. Only the end of the local agent does. So a READ past its deadline costs the agent:
    the transport takes a successor at once, moves all pairs and the pulls that wait there, and `spent` tells when no other
    READ of this agent can succeed any more. Then `close` ends it, and the blocks of the stuck READ are free. That bounds
    the time that a hung peer keeps blocks pinned: its own deadline, plus what other READs that were under way take (their
    deadlines at most).
    """

    def __init__(self, name: str, pool: KvPool, connect_timeout_s: float) -> None:
        self._pool = pool
        self._connect_timeout_s = connect_timeout_s
        self._agent = Agent(name, pool, reads=True)
        self.peers: dict[str, NixlPeer] = {}
        self._retired: list[NixlPeer] = []
        self._ended_pairs = 0

    def connect(self, name: str, metadata: PeerMetadata) -> NixlPeer:
        """A pair in place of the one there was; the same object if that is as good. Raises TransferError and NIXL's errors."""
        known = self.peers.get(name)
        if known is not None and known.metadata == metadata and known.state is not PeerState.FAILED:
            return known
        self.retire(name, TransferError(f"{name} connected anew"))
        self._drop_ended()
        if any(peer.metadata.incarnation == metadata.incarnation for peer in self._retired):
            raise TransferError(f"an earlier READ from {name} has not ended")
        peer = self.peers[name] = NixlPeer(name, self._agent, self._pool, metadata, self._connect_timeout_s)
        return peer

    def retire(self, name: str, error: TransferError) -> None:
        """Forget a pair: its pulls fail, and what it holds is given back when its last READ has ended."""
        peer = self.peers.pop(name, None)
        if peer is not None:
            self._ended_pairs += 1
            peer.fail(error)
            self._retired.append(peer)

    def advance(self, now_s: float) -> None:
        """Move every pair on."""
        for peer in (*self.peers.values(), *self._retired):
            if peer.busy:
                peer.advance(now_s)
        self._drop_ended()

    @property
    def busy(self) -> bool:
        """There is something to poll."""
        return any(peer.busy for peer in (*self.peers.values(), *self._retired))

    @property
    def pressing(self) -> bool:
        """There is something to poll that somebody waits for."""
        return any(peer.pressing for peer in (*self.peers.values(), *self._retired))

    def stuck(self, now_s: float) -> bool:
        """A READ is past its deadline and has not ended: this reader must be given up."""
        return any(peer.stuck(now_s) for peer in (*self.peers.values(), *self._retired))

    @property
    def worn(self) -> bool:
        """It has seen `ENDED_PAIRS`."""
        return self._ended_pairs >= ENDED_PAIRS

    def spent(self, now_s: float) -> bool:
        """After `hand_over`: nothing is left that could succeed."""
        return not any(peer.holds_back(now_s) for peer in self._retired)

    def hand_over(self, successor: Reader) -> dict[str, TransferError]:
        """Set up every pair anew on `successor`, with its waiting pulls. Those that fail there, or had failed, are returned."""
        failed: dict[str, TransferError] = {}
        for name, peer in self.peers.items():
            waiting = peer.hand_over()
            self._retired.append(peer)
            if peer.error is not None:
                failed[name] = peer.error
                continue
            try:
                heir = successor.connect(name, peer.metadata)
            except Exception as error:  # NIXL's own errors too: the thread serves other peers
                failed[name] = as_transfer_error(f"cannot connect to {name} again", error)
                for pull in waiting:
                    pull.finish(0, failed[name])
                continue
            for pull in waiting:
                heir.submit(pull)
        self.peers.clear()
        self._drop_ended()
        return failed

    def progress(self) -> None:
        """Let connections open, close and be found dead."""
        self._agent.progress()

    def close(self, error: TransferError) -> None:
        """End the agent. Pulls that have not ended get `error`, or the one they had, once nothing writes any more."""
        for name in list(self.peers):
            self.retire(name, error)
        left, self._retired = self._retired, []
        for peer in left:
            peer.drop()
        self._agent.close()
        for peer in left:
            peer.fail(error)

    def _drop_ended(self) -> None:
        for peer in [p for p in self._retired if not p.in_flight]:
            peer.drop()
            self._retired.remove(peer)
