"""Reading exact sizes from a stream socket."""

from __future__ import annotations

import socket

from workers.transfer.base import TransferError


def receive(connection: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes; raises TransferError if the other side closed, OSError (TimeoutError) as the socket does."""
    data = bytearray()
    while len(data) < size:
        part = connection.recv(min(size - len(data), 1 << 20))
        if not part:
            raise TransferError("the peer closed the connection")
        data += part
    return bytes(data)
