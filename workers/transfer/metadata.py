"""What one side tells another before they connect. JSON, bounded and checked: it comes from outside the process."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from workers.transfer.base import KvPool, TransferError

VERSION = 2
_DIGEST_BYTES = 16
MAX_METADATA_BYTES = 256 * 1024
_MAX_ADDRESS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Layout:
    """Shape of a pool. Blocks can move between two pools if `fingerprint` and `block_bytes` are equal."""

    fingerprint: str
    block_bytes: int
    blocks: int

    @classmethod
    def of(cls, pool: KvPool) -> Layout:
        """Layout of `pool`; raises ValueError if its tensors are not what a transport can register."""
        data, generations = pool.data, pool.generations
        if not data.is_contiguous() or not generations.is_contiguous():
            raise ValueError("pool tensors must be contiguous")
        if generations.device.type != "cpu" or generations.element_size() != 8 or generations.shape != data.shape[:1]:
            raise ValueError(f"generations must be int64 [{data.shape[0]}] in host memory")
        shape = "x".join(str(n) for n in data.shape[1:])
        return cls(f"{str(data.dtype).removeprefix('torch.')}[{shape}]", pool.block_bytes, data.shape[0])

    def require_same(self, other: Layout) -> None:
        """Raise TransferError if blocks of `other` do not fit here."""
        if (self.fingerprint, self.block_bytes) != (other.fingerprint, other.block_bytes):
            raise TransferError(f"peer has KV layout {other.fingerprint}, {other.block_bytes} bytes a block; "
                                f"ours is {self.fingerprint}, {self.block_bytes} bytes")  # fmt: skip


@dataclass(frozen=True, slots=True)
class PeerMetadata:
    """One side of a transport. `incarnation` differs after every restart.

    NIXL fills `blob` (its own agent metadata), the two addresses, `memory` (DRAM or VRAM) and `device_id`; the collective
    transport fills `host` and `port`. `checksum_port` is 0 unless checksums are on.
    """

    kind: str
    incarnation: str
    layout: Layout
    host: str = "127.0.0.1"
    port: int = 0
    checksum_port: int = 0
    blob: bytes = b""
    data_address: int = 0
    generations_address: int = 0
    memory: str = "DRAM"
    device_id: int = 0

    def encode(self) -> bytes:
        """As bytes for the wire: JSON, then its digest. NIXL itself takes a blob with a changed address without a word."""
        body = json.dumps({
            "v": VERSION, "kind": self.kind, "incarnation": self.incarnation,
            "fingerprint": self.layout.fingerprint, "block_bytes": self.layout.block_bytes, "blocks": self.layout.blocks,
            "host": self.host, "port": self.port, "checksum_port": self.checksum_port,
            "blob": base64.b64encode(self.blob).decode(), "data_address": self.data_address,
            "generations_address": self.generations_address, "memory": self.memory, "device_id": self.device_id,
        }).encode()  # fmt: skip
        return with_digest(body)

    @classmethod
    def decode(cls, raw: bytes, kind: str) -> PeerMetadata:
        """Parse and check; raises TransferError on anything but well-formed metadata of a `kind` transport."""
        if len(raw) > MAX_METADATA_BYTES:
            raise TransferError(f"peer metadata of {len(raw)} bytes is too long")
        body = raw[:-_DIGEST_BYTES]
        if raw != with_digest(body):
            raise TransferError("peer metadata is truncated or damaged: its digest does not fit")
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise TransferError("peer metadata is not JSON") from error
        if not isinstance(fields, dict) or fields.get("v") != VERSION:
            raise TransferError(f"peer metadata is not of version {VERSION}")
        if fields.get("kind") != kind:
            raise TransferError(f"peer uses transport {fields.get('kind')!r:.40}, ours is {kind!r}")
        try:
            blob = base64.b64decode(_text(fields, "blob", MAX_METADATA_BYTES), validate=True)
        except (binascii.Error, ValueError) as error:
            raise TransferError("peer metadata: blob is not base64") from error
        memory = _text(fields, "memory", 8)
        if memory not in ("DRAM", "VRAM"):
            raise TransferError(f"peer metadata: memory {memory!r}")
        return cls(
            kind=kind,
            incarnation=_text(fields, "incarnation", 200),
            layout=Layout(
                _text(fields, "fingerprint", 200),
                _integer(fields, "block_bytes", 1, 2**40),
                _integer(fields, "blocks", 1, 2**31 - 1),
            ),
            host=_text(fields, "host", 255),
            port=_integer(fields, "port", 0, 65535),
            checksum_port=_integer(fields, "checksum_port", 0, 65535),
            blob=blob,
            data_address=_integer(fields, "data_address", 0, _MAX_ADDRESS),
            generations_address=_integer(fields, "generations_address", 0, _MAX_ADDRESS),
            memory=memory,
            device_id=_integer(fields, "device_id", 0, 1023),
        )


def with_digest(body: bytes) -> bytes:
    """`body` and its 16-byte BLAKE2b digest."""
    return body + hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


def _text(fields: dict[str, Any], key: str, limit: int) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or len(value) > limit:
        raise TransferError(f"peer metadata: {key} must be text of at most {limit} characters")
    return value


def _integer(fields: dict[str, Any], key: str, low: int, high: int) -> int:
    value = fields.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise TransferError(f"peer metadata: {key} must be an integer in {low}..{high}")
    return value
