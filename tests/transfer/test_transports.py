"""Both transports between two real processes."""

from __future__ import annotations

import queue
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import torch

from tests.transfer.helpers import PeerProcess, pull, wait_until
from tests.transfer.pools import leased, make_pool
from workers.transfer.base import GenerationMismatch, KvPool, PullResult, TransferError, Transport
from workers.transfer.factory import make_transport

BLOCKS = 256
SEED = 5
KINDS = ("nixl", "gloo")


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def source(kind: str) -> Iterator[PeerProcess]:
    with PeerProcess(kind, BLOCKS, SEED, checksums=True) as peer:
        yield peer


@pytest.fixture
def pool() -> KvPool:
    return make_pool(BLOCKS, None)


@pytest.fixture
def sink(kind: str, source: PeerProcess, pool: KvPool) -> Iterator[Transport]:
    with closing(make_transport(kind, "sink", pool)) as transport:
        transport.connect("source", source.metadata)
        wait_until(lambda: transport.connected() == ["source"])
        yield transport


def test_scattered_blocks_arrive_and_no_others_change(sink: Transport, pool: KvPool) -> None:
    rng = random.Random(1)
    src, dst = rng.sample(range(BLOCKS), 100), rng.sample(range(BLOCKS), 100)
    expected = torch.zeros_like(pool.data)
    expected[dst] = make_pool(BLOCKS, SEED).data[src]
    result = pull(sink, "source", leased(src), dst)
    assert result.error is None
    assert result.bytes == 100 * pool.block_bytes
    assert torch.equal(pool.data, expected)


def test_neighbours_are_one_descriptor(sink: Transport, pool: KvPool) -> None:
    result = pull(sink, "source", leased(list(range(20, 220))), range(10, 210))
    assert (result.error, result.descriptors) == (None, 1)
    assert torch.equal(pool.data[10:210], make_pool(BLOCKS, SEED).data[20:220])


def test_reused_block_is_a_generation_mismatch_and_the_pair_lives_on(sink: Transport, source: PeerProcess) -> None:
    source.ask(generation=[17, 120])
    result = pull(sink, "source", leased([3, 17, 90]), [0, 1, 2])
    source.ask(generation=[17, 119])
    assert isinstance(result.error, GenerationMismatch)
    assert "block 17 has generation 120, leased at 119" in str(result.error)
    assert result.bytes == 0
    assert pull(sink, "source", leased([3, 17, 90]), [0, 1, 2]).error is None


def test_concurrent_pulls_do_not_mix(sink: Transport, pool: KvPool) -> None:
    results: queue.SimpleQueue[PullResult] = queue.SimpleQueue()
    rng = random.Random(2)
    order = rng.sample(range(BLOCKS), BLOCKS)

    def ask(first: int) -> None:
        for at in range(first, first + 64, 8):
            sink.pull("source", leased(order[at : at + 8]), range(at, at + 8), results.put)

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(0, BLOCKS, 64)]
    for thread in threads:
        thread.start()
    outcomes = [results.get(timeout=20) for _ in range(BLOCKS // 8)]
    for thread in threads:
        thread.join()
    assert all(o.error is None for o in outcomes)
    assert torch.equal(pool.data, make_pool(BLOCKS, SEED).data[order])


@pytest.mark.parametrize(
    ("src", "dst", "message"),
    [
        ([1, 2], [1], "2 source blocks for 1"),
        ([1, BLOCKS], [1, 2], "source blocks outside"),
        ([1, 2], [-1, 2], "destination blocks outside"),
        ([1, 2], [3, 3], "destination blocks repeat"),
    ],
)
def test_bad_block_lists_fail_alone(sink: Transport, src: list[int], dst: list[int], message: str) -> None:
    error = pull(sink, "source", leased(src), dst).error
    assert error is not None and message in str(error)
    assert pull(sink, "source", leased([1]), [1]).error is None


def test_no_blocks_is_a_success(sink: Transport) -> None:
    assert pull(sink, "source", leased([]), []).error is None


def test_unknown_and_disconnected_peers_fail(sink: Transport, source: PeerProcess) -> None:
    assert "no connection to nobody" in str(pull(sink, "nobody", leased([1]), [1]).error)
    sink.disconnect("source")
    assert isinstance(pull(sink, "source", leased([1]), [1]).error, TransferError)
    sink.connect("source", source.metadata)
    assert pull(sink, "source", leased([1]), [1]).error is None


def test_killed_peer_fails_its_pulls_and_its_successor_serves(kind: str, pool: KvPool) -> None:
    with closing(make_transport(kind, "sink", pool)) as sink:
        with PeerProcess(kind, BLOCKS, SEED) as peer, PeerProcess(kind, BLOCKS, SEED + 1) as successor:
            sink.connect("source", peer.metadata)
            assert pull(sink, "source", leased([1]), [1]).error is None
            results: queue.SimpleQueue[PullResult] = queue.SimpleQueue()
            for _ in range(200):  # killed while they run
                sink.pull("source", leased(list(range(BLOCKS))), range(BLOCKS), results.put)
            assert results.get(timeout=20).error is None
            peer.signal(signal.SIGKILL)
            killed_s = time.monotonic()
            outcomes = [results.get(timeout=20) for _ in range(199)]
            assert time.monotonic() - killed_s < 8
            assert outcomes[-1].error is not None
            assert isinstance(pull(sink, "source", leased([1]), [1]).error, TransferError)
            assert sink.connected() == []
            sink.connect("source", peer.metadata)
            assert isinstance(pull(sink, "source", leased([1]), [1]).error, TransferError)
            sink.connect("source", successor.metadata)
            assert pull(sink, "source", leased([4, 9]), [7, 3]).error is None
            assert torch.equal(pool.data[[7, 3]], make_pool(BLOCKS, SEED + 1).data[[4, 9]])
            assert sink.connected() == ["source"]


def test_source_outlives_a_reader_killed_while_it_reads(kind: str, pool: KvPool) -> None:
    with closing(make_transport(kind, "here", make_pool(BLOCKS, SEED))) as here:
        with PeerProcess(kind, BLOCKS, SEED) as reader:
            assert reader.metadata
            reader.ask(read_from=here.metadata(), times=500)
        with closing(make_transport(kind, "sink", pool)) as sink:
            sink.connect("here", here.metadata())
            assert pull(sink, "here", leased([4, 9]), [7, 3]).error is None
    assert torch.equal(pool.data[[7, 3]], make_pool(BLOCKS, SEED).data[[4, 9]])


def test_close_answers_every_pending_pull_once(kind: str, source: PeerProcess, pool: KvPool) -> None:
    sink = make_transport(kind, "sink", pool)
    sink.connect("source", source.metadata)
    results: queue.SimpleQueue[PullResult] = queue.SimpleQueue()
    for _ in range(50):
        sink.pull("source", leased(list(range(BLOCKS))), range(BLOCKS), results.put)
    sink.close()
    assert results.qsize() == 50
    settled = pool.data.clone()
    assert "closed" in str(pull(sink, "source", leased([1]), [1]).error)
    sink.close()
    assert torch.equal(pool.data, settled)


def test_other_layouts_and_malformed_metadata_are_refused(kind: str, source: PeerProcess) -> None:
    data = torch.zeros((8, 2, 2, 16, 4, 16))
    with closing(make_transport(kind, "small", KvPool(data, torch.zeros(8, dtype=torch.int64)))) as other:
        other.connect("source", source.metadata)
        assert "peer has KV layout float32[2x2x16x4x32]" in str(pull(other, "source", leased([1]), [1]).error)
        for raw in (b"", b"[]", b"{" * 100_000, b"x" * 10_000_000, b'{"v": 1, "kind": "carrier pigeon"}'):
            other.connect("source", raw)
            assert isinstance(pull(other, "source", leased([1]), [1]).error, TransferError)
        assert other.connected() == []


def test_checksums_find_what_the_generations_do_not(sink: Transport, source: PeerProcess) -> None:
    source.ask(corrupt_digests=True)
    error = pull(sink, "source", leased([3, 4, 9]), [0, 1, 7]).error
    source.ask(corrupt_digests=False)
    assert "different checksums" in str(error)


def test_an_idle_transport_costs_almost_nothing(sink: Transport) -> None:
    before_s, until_s = time.process_time(), time.monotonic() + 1.0
    threading.Event().wait(until_s - time.monotonic())
    assert time.process_time() - before_s < 0.05
