"""Closes a listening socket without a reset for those who wait in its queue.

The kernel resets every connection that a closed listener had not accepted, shared port or not. So new handshakes are turned
away first: their first packet is dropped, and the client's kernel sends it again a second later, to whoever listens then.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import select
import socket
import struct
import time

HANDSHAKE_S = 0.25
"""For handshakes that have begun. Shorter than the second after which a client sends its first packet again (RFC 6298 §2)."""
MOST_S = 2.0
PAUSE_S = 0.01
_SO_ATTACH_FILTER = 26
# Classic BPF on a TCP segment: load the flags; keep SYN and ACK; drop it if it is SYN alone, else take all of it.
_NO_SYN = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def turn_away(listener: int) -> bool:
    """Drop the first packet of every new handshake with file descriptor `listener`; False where the kernel cannot do so."""
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _NO_SYN))
    with socket.socket(fileno=os.dup(listener)) as same:
        try:
            option = struct.pack("HP", len(_NO_SYN), ctypes.addressof(program))
            same.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)
        except OSError:
            return False
    return True


async def emptied(listener: int, handshake_s: float) -> None:
    """Let the event loop accept what waits at `listener`, and what completes its handshake within `handshake_s`."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    began_s = time.monotonic()
    while (waited_s := time.monotonic() - began_s) < MOST_S:
        if poll.poll(0):
            await asyncio.sleep(0)  # the loop accepts one or more in each of its turns
        elif waited_s < handshake_s:
            await asyncio.sleep(PAUSE_S)
        else:
            return


async def part(server: asyncio.Server, handshake_s: float = HANDSHAKE_S) -> None:
    """Close what `server` listens on once its queues are empty."""
    try:
        listeners = [listener.fileno() for listener in server.sockets]
        for listener in listeners:
            turn_away(listener)
        for listener in listeners:
            await emptied(listener, handshake_s)
    finally:
        with contextlib.suppress(OSError):
            server.close()
