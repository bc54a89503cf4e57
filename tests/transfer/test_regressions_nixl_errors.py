"""Errors of NIXL itself while a peer is set up or given up: the transfer thread serves the other peers all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.transfer.helpers import PeerProcess, pull, wait_until
from tests.transfer.pools import leased, make_pool
from workers.transfer.nixl import NixlTransport

BLOCKS = 16


def failing(*_: object) -> None:
    raise RuntimeError("NIXL_ERR_BACKEND")


@pytest.fixture
def pair() -> Iterator[tuple[NixlTransport, PeerProcess]]:
    with PeerProcess("nixl", BLOCKS, 5) as source, closing(NixlTransport("sink", make_pool(BLOCKS, None))) as sink:
        sink.connect("other", source.metadata)
        wait_until(lambda: sink.connected() == ["other"])
        yield sink, source


def test_while_a_peer_is_given_up(pair: tuple[NixlTransport, PeerProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    sink, source = pair
    with monkeypatch.context() as patch:
        patch.setattr(sink._reader._agent.nixl, "deregister_memory", failing)
        sink.disconnect("other")
        wait_until(lambda: sink.connected() == [])
    sink.connect("other", source.metadata)
    assert pull(sink, "other", leased([1]), [1]).error is None


def test_while_a_peer_is_set_up(pair: tuple[NixlTransport, PeerProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    sink, source = pair
    with monkeypatch.context() as patch:
        patch.setattr(sink._reader._agent.nixl, "register_memory", failing)
        sink.connect("another", source.metadata)
        error = pull(sink, "another", leased([1]), [1]).error
    assert "NIXL_ERR_BACKEND" in str(error)
    assert pull(sink, "other", leased([1]), [1]).error is None
