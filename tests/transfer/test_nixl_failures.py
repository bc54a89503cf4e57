"""Peers that die, hang, lie or leave in the middle of a READ: real NIXL, real processes, each failure many times over."""

from __future__ import annotations

import os
import queue
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from tests.transfer.helpers import pull, wait_until
from tests.transfer.leaks import assert_nothing_left, holdings
from tests.transfer.quick_peer import BLOCKS, TCP, QuickPeer, everything, holds, numbered_pool, value
from workers.engine.base import KvBlocks
from workers.transfer import nixl_reader
from workers.transfer.base import GenerationMismatch, KvPool, PullResult, TransferError
from workers.transfer.metadata import PeerMetadata
from workers.transfer.nixl import NixlTransport

TIMES = 20
WARM = 3
"""Failures before counting begins: the first of a kind loads and allocates what the next ones use again."""
ENDED_PAIRS = 4
SPARE_DESCRIPTORS = 3 * ENDED_PAIRS
"""What UCX may keep of pairs that have ended, until the agent is renewed after `ENDED_PAIRS` of them."""
ONE = KvBlocks((1,), (7,), 16)
LINKS = ("tcp", "all")
"""UCX over TCP, where the source's process copies, and what it takes by itself here: the kernel copies."""


@pytest.fixture(autouse=True)
def soon_worn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nixl_reader, "ENDED_PAIRS", ENDED_PAIRS)


@pytest.fixture(params=LINKS)
def link(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("UCX_TLS", request.param)
    return str(request.param)


@pytest.fixture
def tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UCX_TLS", "tcp")


@contextmanager
def reader(**settings: float) -> Iterator[tuple[NixlTransport, KvPool]]:
    pool = numbered_pool(None)
    with closing(NixlTransport("sink", pool, **settings)) as transport:
        yield transport, pool


def connect(sink: NixlTransport, name: str, peer: QuickPeer) -> None:
    """Tries again: where a test sets short deadlines, a busy machine may miss one."""

    def connected() -> bool:
        sink.connect(name, peer.metadata)
        return pull(sink, name, ONE, [1]).error is None

    wait_until(connected)


def start(sink: NixlTransport, pool: KvPool, name: str) -> queue.SimpleQueue[PullResult]:
    """A READ of everything, under way: its first bytes are here and its last are not."""
    results: queue.SimpleQueue[PullResult] = queue.SimpleQueue()
    pool.data.zero_()
    first = pool.data.view(BLOCKS, -1)[:, 0]
    sink.pull(name, everything(), range(BLOCKS), results.put)
    wait_until(lambda: bool(first.any()))
    return results


def test_a_peer_killed_while_it_is_read(link: str) -> None:
    with QuickPeer(1, UCX_TLS=link) as other, reader() as (sink, pool):
        connect(sink, "other", other)
        before = holdings()
        noticed_s: list[float] = []
        turn = 1
        while len(noticed_s) < TIMES + WARM:
            turn += 1
            if len(noticed_s) == WARM:
                before = holdings()
            with QuickPeer(turn, UCX_TLS=link) as peer:
                sink.connect("source", peer.metadata)  # in place of the one killed before
                assert pull(sink, "source", ONE, [5]).error is None
                assert pool.data[5].eq(value(turn, 1)).all()
                results = start(sink, pool, "source")
                for _ in range(3):
                    sink.pull("source", everything(), range(BLOCKS), results.put)
                peer.kill()
                killed_s = time.monotonic()
                outcomes = [results.get(timeout=10) for _ in range(4)]
                assert all(o.error is None or o.bytes == 0 for o in outcomes)
                if outcomes[-1].error is not None:
                    noticed_s.append(time.monotonic() - killed_s)
                    assert "from source failed: " in str(outcomes[-1].error)
                else:  # a busy machine got round to the kill when all had been read
                    assert turn - len(noticed_s) < TIMES
                assert pull(sink, "other", ONE, [1]).error is None
                sink.connect("source", peer.metadata)  # stale: nobody is there any more
                stale = pull(sink, "source", ONE, [1])
                assert "cannot connect to source: " in str(stale.error) and " within " not in str(stale.error)
        sink.disconnect("source")
        assert_nothing_left(before, SPARE_DESCRIPTORS)
        assert sorted(noticed_s)[TIMES // 2] < 5.0  # the deadline of a pull is 10
        assert sink.connected() == ["other"]


def test_a_peer_that_hangs_while_it_is_read(tcp: None) -> None:
    """`done` comes although the peer never answers, nothing writes after it, and the pair with another peer is used all along."""
    with QuickPeer(1, **TCP) as other, reader(pull_timeout_s=0.5) as (sink, pool), ExitStack() as stack:
        connect(sink, "other", other)
        before = holdings()
        peer = stack.enter_context(QuickPeer(2, **TCP))
        for turn in range(TIMES + WARM):
            if turn == WARM:
                before = holdings()
            connect(sink, "source", peer)
            results = start(sink, pool, "source")
            peer.signal(signal.SIGSTOP)
            error = str(results.get(timeout=5).error)
            assert (
                "READ of 128 blocks from source passed its deadline after 0.5 s: the peer or the network hangs" in error
            )
            settled = pool.data.clone()
            assert pull(sink, "other", ONE, [1]).error is None
            peer.signal(signal.SIGCONT)
            sink.connect("source", peer.metadata)
            if pull(sink, "source", ONE, [1]).error is not None:
                # UCX aborts a source that goes on sending where nobody reads any more, if it finds out late.
                if peer.exit_code() is not None:
                    assert peer.exit_code() == -signal.SIGABRT
                    stack.pop_all().close()
                    peer = stack.enter_context(QuickPeer(2, **TCP))
                connect(sink, "source", peer)
            pool.data[1] = settled[1]
            assert pool.data.equal(settled)
        assert_nothing_left(before, SPARE_DESCRIPTORS)


def test_a_hung_peer_costs_another_peers_pulls_nothing(tcp: None) -> None:
    """Those that run end on the agent that is given up; those that wait move to the next one."""
    with QuickPeer(1, **TCP) as other, QuickPeer(2, **TCP) as peer, reader(pull_timeout_s=2.0) as (sink, pool):
        connect(sink, "other", other)
        connect(sink, "source", peer)
        results = start(sink, pool, "source")
        peer.signal(signal.SIGSTOP)
        served: queue.SimpleQueue[PullResult] = queue.SimpleQueue()
        few = KvBlocks(tuple(range(16)), tuple(7 * b for b in range(16)), 256)
        for _ in range(3):
            sink.pull("other", few, range(16), served.put)
        pulls = 0
        while results.empty():
            assert served.get(timeout=5).error is None
            sink.pull("other", few, range(16), served.put)
            pulls += 1
        assert [served.get(timeout=5).error for _ in range(3)] == [None] * 3
        assert pulls > 10
        assert "deadline" in str(results.get(timeout=1).error)
        assert sink.connected() == ["other"]


def test_a_stopped_peer_is_read_all_the_same_where_the_kernel_copies() -> None:
    with QuickPeer(2) as peer, reader(pull_timeout_s=2.0) as (sink, pool):
        connect(sink, "source", peer)
        peer.signal(signal.SIGSTOP)
        assert pull(sink, "source", everything(), range(BLOCKS)).error is None
        assert holds(pool, 2)


def test_a_lease_that_ends_while_its_blocks_are_read(link: str) -> None:
    """The engine of the source grows the generation, then reuses the block: what was read is right, or refused."""
    refused = 0
    results: queue.SimpleQueue[PullResult] = queue.SimpleQueue()
    with QuickPeer(2, UCX_TLS=link) as peer, reader() as (sink, pool):
        connect(sink, "source", peer)
        for turn in range(TIMES):
            lease = everything()
            generations = (*lease.generations[:100], 700 + turn, *lease.generations[101:])
            sink.pull("source", KvBlocks(lease.blocks, generations, lease.tokens), range(BLOCKS), results.put)
            peer.ask("reuse", [100])
            error = results.get(timeout=10).error
            if error is None:
                assert holds(pool, 2)
            else:
                refused += 1
                assert isinstance(error, GenerationMismatch)
                assert f"block 100 has generation {701 + turn}, leased at {700 + turn}" in str(error)
            late = pull(sink, "source", KvBlocks((100,), (700 + turn,), 16), [100])
            assert isinstance(late.error, GenerationMismatch)
            peer.ask("fill", [100])
    assert refused > 0


def test_a_peer_given_up_while_it_is_read(link: str) -> None:
    with QuickPeer(1, UCX_TLS=link) as other, QuickPeer(2, UCX_TLS=link) as peer, reader() as (sink, pool):
        connect(sink, "other", other)
        before = holdings()
        for turn in range(TIMES + WARM):
            if turn == WARM:
                before = holdings()
            connect(sink, "source", peer)
            results = start(sink, pool, "source")
            sink.pull("source", ONE, [1], results.put)
            sink.disconnect("source")
            outcomes = [results.get(timeout=10).error for _ in range(2)]
            # Where the kernel copies, a READ has ended when it is asked about.
            assert link == "all" or "source was disconnected" in str(outcomes[0])
            assert all(error is None or "source was disconnected" in str(error) for error in outcomes)
            assert pull(sink, "other", ONE, [1]).error is None
        sink.disconnect("source")
        assert_nothing_left(before, SPARE_DESCRIPTORS)


def test_a_peer_that_is_slow_to_connect_delays_nobody(tcp: None) -> None:
    with QuickPeer(1, **TCP) as other, QuickPeer(2, **TCP) as slow, reader(connect_timeout_s=3.0) as (sink, _):
        connect(sink, "other", other)
        slow.signal(signal.SIGSTOP)
        sink.connect("slow", slow.metadata)
        results: queue.SimpleQueue[PullResult] = queue.SimpleQueue()
        sink.pull("slow", ONE, [3], results.put)
        served = 0
        while results.empty():
            assert pull(sink, "other", ONE, [1]).error is None
            served += 1
        assert served > 0
        assert "no connection to slow within 3 s" in str(results.get(timeout=5).error)
        slow.signal(signal.SIGCONT)
        connect(sink, "slow", slow)
        assert sorted(sink.connected()) == ["other", "slow"]


def test_metadata_that_is_damaged_foreign_or_of_other_memory() -> None:
    rng = random.Random(4)
    with QuickPeer(1) as other, QuickPeer(2) as peer, reader() as (sink, _):
        connect(sink, "other", other)
        good = PeerMetadata.decode(peer.metadata, "nixl")
        theirs = PeerMetadata.decode(other.metadata, "nixl")

        def forged(**fields: object) -> bytes:
            return type(good)(**{name: getattr(good, name) for name in good.__slots__} | fields).encode()

        cases = [peer.metadata[: rng.randrange(len(peer.metadata))] for _ in range(TIMES)]
        cases += [rng.randbytes(rng.randrange(1, 3000)) for _ in range(TIMES)]
        cases += [forged(blob=good.blob[: rng.randrange(len(good.blob))]) for _ in range(TIMES)]
        cases += [forged(blob=rng.randbytes(200)) for _ in range(TIMES)]
        cases += [
            forged(blob=theirs.blob),  # another agent's
            forged(data_address=good.data_address + (1 << 40)),  # memory that was never registered
            forged(data_address=good.data_address + good.layout.block_bytes),  # the last block ends beyond it
            forged(generations_address=8),
        ]
        before = holdings()
        for raw in cases:
            sink.connect("source", raw)
            result = pull(sink, "source", ONE, [1])
            assert isinstance(result.error, TransferError) and "source" in str(result.error), raw[:80]
            assert " within " not in str(result.error), "refused at once"
        assert pull(sink, "other", ONE, [1]).error is None
        assert sink.connected() == ["other"]
        sink.disconnect("source")
        assert_nothing_left(before, SPARE_DESCRIPTORS)
        connect(sink, "source", peer)


def test_close_while_a_peer_hangs(tcp: None) -> None:
    before = None
    for turn in range(4):
        with QuickPeer(2, **TCP) as peer:
            if turn == 1:
                before = holdings()
            with reader() as (sink, pool):
                connect(sink, "source", peer)
                results = start(sink, pool, "source")
                peer.signal(signal.SIGSTOP)
            assert "the transport was closed" in str(results.get_nowait().error)
    assert before is not None
    assert_nothing_left(before, 2)


def test_a_transport_says_what_it_is() -> None:
    with reader() as (sink, _):
        versions = sink.versions()
    assert versions["kv_layout"] == "float32[2x2x64x4x64]"
    assert versions["ucx_tls"] == os.environ.get("UCX_TLS", "all")
    assert all(versions[name][0].isdigit() for name in ("nixl", "ucx"))
