"""Ports for servers that listen later."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from orchestrator.core import sockets
from orchestrator.core.sockets import free_ports


def test_free_ports_are_none_that_the_kernel_gives_away() -> None:
    low, high = map(int, sockets.EPHEMERAL.read_text().split())
    found = free_ports(20)
    assert len(set(found)) == 20
    assert not any(low <= port <= high for port in found)


@pytest.mark.parametrize(
    ("told", "ports"),
    [
        ("20000\t60999\n", range(10_000, 20_000)),
        ("9000 40000", range(40_001, 65_536)),
        ("none", range(10_000, 32_768)),
        ("1024 65535", range(1)),
    ],
)
def test_where_they_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, ports: range) -> None:
    (tmp_path / "range").write_text(told)
    monkeypatch.setattr(sockets, "EPHEMERAL", tmp_path / "range")
    found = free_ports(3)
    assert len(set(found)) == 3
    assert all(port in ports for port in found) or ports == range(1)


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError, match="assign requested address"):
        free_ports(1, "192.0.2.77")


def test_a_port_that_is_taken_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        spare = free_ports(1)[0]
        monkeypatch.setattr(sockets, "_reserved", lambda: [port, spare])
        assert free_ports(1) == [spare]
