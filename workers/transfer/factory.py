"""Transports by name."""

from __future__ import annotations

from workers.transfer.base import KvPool, Transport
from workers.transfer.collective import CollectiveTransport
from workers.transfer.nixl import NixlTransport

KINDS = ("nixl", "gloo", "nccl")


def make_transport(
    kind: str,
    name: str,
    pool: KvPool,
    *,
    host: str = "127.0.0.1",
    checksums: bool = False,
    pull_timeout_s: float = 10.0,
) -> Transport:
    """A running transport of `kind` (one of `KINDS`); raises ValueError for another kind, TransferError if it does not start.

    `host` is the address the other side dials: for everything with collective transports, for checksums with NIXL, which finds
    its own for the rest (UCX_NET_DEVICES narrows them down).
    """
    if kind == "nixl":
        return NixlTransport(name, pool, host=host, checksums=checksums, pull_timeout_s=pull_timeout_s)
    if kind in ("gloo", "nccl"):
        return CollectiveTransport(
            name, pool, backend=kind, host=host, checksums=checksums, pull_timeout_s=pull_timeout_s
        )
    raise ValueError(f"transport {kind!r} is none of {', '.join(KINDS)}")
