"""Protobuf messages as plain documents: snake_case names, every field present, numbers as numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.message import Message

API_VERSION = "pd/v1"
Document = dict[str, Any]


def document(message: Message) -> Document:
    """`message` as a dict. Absent optional fields and messages are None, bytes are hex, and `x_json` becomes `x`, parsed."""
    out: Document = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            out[field.name] = dict(value)
        elif field.is_repeated:
            out[field.name] = [_plain(item) for item in value]
        elif field.has_presence and not message.HasField(field.name):
            out[field.name] = None
        elif field.name.endswith("_json"):
            out[field.name.removesuffix("_json")] = json.loads(value) if value else {}
        else:
            out[field.name] = _plain(value)
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return document(value) if hasattr(value, "DESCRIPTOR") else value


def listing(kind: str, items: Iterable[Document]) -> Document:
    """The list document of `kind`, as `-o json` prints it."""
    return {"apiVersion": API_VERSION, "kind": f"{kind}List", "items": list(items)}


def single(kind: str, body: Document) -> Document:
    """The document of one object of `kind`."""
    return {"apiVersion": API_VERSION, "kind": kind, **body}
