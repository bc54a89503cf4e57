"""The source's host vanishes in the middle of a READ: nobody is told, nothing arrives any more."""

from __future__ import annotations

from typing import Any

import pytest

from bench.namespaces import UCX_TCP, Host
from tests.network.vanishing import PULL_TIMEOUT_S, read_until_the_wire_is_cut
from tests.transfer.block_source import BlockSource
from tests.transfer.decode_side import BLOCKS
from tests.transfer.forked import Forked


def answer(reader: Forked, timeout_s: float = 90.0) -> Any:
    assert reader.pipe.poll(timeout_s), "the reader does not answer"
    return reader.pipe.recv()


@pytest.fixture
def wire(hosts: tuple[Host, Host]) -> Any:
    yield hosts[0]
    hosts[0].cut(False)


def test_the_blocks_come_back_in_bounded_time_and_the_host_may_return(hosts: tuple[Host, Host], wire: Host) -> None:
    here, there = hosts
    with BlockSource(host=there.name, **UCX_TCP) as source:
        reader = Forked(read_until_the_wire_is_cut, source.pid, source.metadata, host=here.name, environment=UCX_TCP)
        try:
            assert answer(reader) == "reading"
            wire.cut()
            reader.pipe.send("cut")
            told = answer(reader)
            assert (told["kind"], told["code"]) == ("refused", "transfer")
            assert f"READ of {BLOCKS} blocks from prefill-0@1 passed its deadline after " in told["message"]
            assert "the peer or the network hangs" in told["message"]
            assert (told["used_before"], told["used_after"]) == (BLOCKS, 0)
            assert told["seconds"] < PULL_TIMEOUT_S + 20
            wire.cut(False)
            reader.pipe.send("mended")
            again = answer(reader)
            assert again["kind"] == "pulled", again
        finally:
            reader.close()
