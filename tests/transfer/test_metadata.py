"""Metadata comes from outside: whatever it holds, the answer is metadata or a TransferError."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.transfer.pools import make_pool
from workers.transfer.base import KvPool, TransferError
from workers.transfer.metadata import Layout, PeerMetadata, with_digest

LAYOUT = Layout.of(make_pool(3, None))
GOOD = PeerMetadata("nixl", "source-1-ab", LAYOUT, blob=b"\0agent", data_address=1 << 40, generations_address=1 << 41)


def changed(**fields: Any) -> bytes:
    return with_digest(json.dumps(json.loads(GOOD.encode()[:-16]) | fields).encode())


def test_round_trip() -> None:
    assert PeerMetadata.decode(GOOD.encode(), "nixl") == GOOD
    assert Layout("float32[2x2x16x4x32]", 2 * 2 * 16 * 4 * 32 * 4, 3) == LAYOUT


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (changed(v=1), "version 2"),
        (changed(kind="gloo"), "'gloo'"),
        (changed(blocks=0), "blocks"),
        (changed(blocks=True), "blocks"),
        (changed(blocks=2**31), "blocks"),
        (changed(port=70_000), "port"),
        (changed(data_address=-1), "data_address"),
        (changed(blob="*"), "base64"),
        (changed(memory="FILE"), "memory"),
        (changed(incarnation="x" * 201), "incarnation"),
        (with_digest(b"\xff\xfe"), "JSON"),
        (b"\xff\xfe", "damaged"),
        (b"", "damaged"),
        (GOOD.encode()[:-1], "truncated"),
        (b" " * (256 * 1024 + 1), "too long"),
    ],
)
def test_refusals_name_the_field(raw: bytes, message: str) -> None:
    with pytest.raises(TransferError, match=message):
        PeerMetadata.decode(raw, "nixl")


@given(at=st.integers(0, len(GOOD.encode()) - 1), bit=st.integers(0, 7))
def test_one_changed_bit_is_found(at: int, bit: int) -> None:
    raw = bytearray(GOOD.encode())
    raw[at] ^= 1 << bit
    with pytest.raises(TransferError, match="damaged"):
        PeerMetadata.decode(bytes(raw), "nixl")


@given(
    st.binary(max_size=300).map(with_digest)
    | st.binary(max_size=300)
    | st.dictionaries(st.text(), st.integers() | st.text()).map(lambda d: changed(**d))
)
def test_anything_else_is_a_transfer_error(raw: bytes) -> None:
    try:
        PeerMetadata.decode(raw, "nixl")
    except TransferError:
        return


def test_pools_that_cannot_be_registered() -> None:
    with pytest.raises(ValueError, match="contiguous"):
        Layout.of(KvPool(torch.zeros((4, 6)).T, torch.zeros(6, dtype=torch.int64)))
    with pytest.raises(ValueError, match="int64"):
        Layout.of(KvPool(torch.zeros((4, 6)), torch.zeros(4, dtype=torch.int32)))


def test_layouts_must_agree_in_shape_and_not_in_size() -> None:
    LAYOUT.require_same(Layout.of(make_pool(9, None)))
    with pytest.raises(TransferError, match="KV layout"):
        LAYOUT.require_same(Layout(LAYOUT.fingerprint.replace("float32", "float16"), LAYOUT.block_bytes, 3))
