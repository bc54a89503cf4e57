"""A pull that fails gives the request back to its front door, and its blocks to the engine: real engine, real NIXL."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from pd.v1 import worker_pb2 as pb
from tests.transfer.block_source import BlockSource
from tests.transfer.decode_side import BLOCKS, DecodeSide

PULL_TIMEOUT_S = 1.0


@pytest.fixture
def decode(monkeypatch: pytest.MonkeyPatch) -> Iterator[DecodeSide]:
    monkeypatch.setenv("UCX_TLS", "tcp")
    with DecodeSide(PULL_TIMEOUT_S) as side:
        yield side


def assert_refused(decode: DecodeSide, name: str, message: str) -> None:
    (told,) = decode.end_of_pull()
    refused = told.refused
    assert (refused.key.request_id, refused.code) == (name, "transfer")
    assert refused.message.startswith("TransferError: ") and message in refused.message
    assert decode.used_blocks == 0


def assert_serves(decode: DecodeSide, worker: str) -> None:
    """The blocks that were given back hold the next request, which decodes on them."""
    with BlockSource(UCX_TLS="tcp") as source:
        while True:  # a loaded machine may miss the short deadline
            decode.attach("next", worker, source.metadata)
            if decode.end_of_pull()[0].WhichOneof("kind") == "pulled":
                break
        assert decode.engine.step()[0].tokens
        decode.tell(cancel=pb.Key(request_id="next", attempt=1))
    assert decode.used_blocks == 0


def test_the_peer_dies_while_it_is_read(decode: DecodeSide) -> None:
    with BlockSource(UCX_TLS="tcp") as source:
        decode.attach("a", "prefill-0", source.metadata)
        decode.wait_for_first_bytes()
        source.kill()
        assert_refused(decode, "a", f"READ of {BLOCKS} blocks from prefill-0@1 failed: ")
        decode.attach("b", "prefill-0", source.metadata)
        assert_refused(decode, "b", "cannot connect to prefill-0@1: ")
    assert_serves(decode, "prefill-1")


def test_the_peer_hangs_while_it_is_read_and_the_request_is_cancelled(decode: DecodeSide) -> None:
    """Cancelled or not, the blocks stay until nothing can write into them, and no longer."""
    with BlockSource(UCX_TLS="tcp") as source:
        for name, cancelled in (("a", False), ("b", True)):
            decode.attach(name, "prefill-0", source.metadata)
            decode.wait_for_first_bytes()
            source.signal(signal.SIGSTOP)
            started_s = time.monotonic()
            if cancelled:
                decode.tell(cancel=pb.Key(request_id=name, attempt=1))
                assert decode.used_blocks == BLOCKS, "a READ still writes there"
                assert decode.end_of_pull() == []
                assert decode.used_blocks == 0
            else:
                assert_refused(decode, name, "passed its deadline after ")
            assert time.monotonic() - started_s < 20
            settled = decode.engine.pool.data.clone()
            source.signal(signal.SIGCONT)
            if source.exit_code(0.2) is not None:  # UCX may abort it (see NixlTransport)
                return
            assert decode.engine.pool.data.equal(settled)
    assert_serves(decode, "prefill-1")


def test_a_cancelled_request_whose_peer_dies(decode: DecodeSide) -> None:
    with BlockSource(UCX_TLS="tcp") as source:
        decode.attach("a", "prefill-0", source.metadata)
        decode.wait_for_first_bytes()
        decode.tell(cancel=pb.Key(request_id="a", attempt=1))
        source.kill()
        assert decode.end_of_pull() == []
    assert decode.used_blocks == 0
    assert_serves(decode, "prefill-1")
