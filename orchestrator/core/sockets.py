"""Options of the connections between front doors and workers."""

from __future__ import annotations

import errno
import random
import socket
from pathlib import Path

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LEAST_PORT = 10_000


def keep_alive(connection: socket.socket) -> None:
    """No delay for small messages, and an end within ten seconds when the other machine is gone without a word."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 4), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3)):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000)


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """TCP ports nobody listens on, outside of those that the kernel gives to whoever asks for any.

    A server that takes half a minute until it listens would find one of those taken, if only by a socket of its own.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sockets: list[socket.socket] = []
    draw, reserved = random.SystemRandom(), _reserved()
    while len(sockets) < count:
        try:
            sockets.append(socket.create_server((host, draw.choice(reserved)), family=family))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:  # another port does not help: not an address of this machine
                raise
    ports = [int(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _reserved() -> range:
    try:
        low, high = map(int, EPHEMERAL.read_text().split())
    except (OSError, ValueError):
        low, high = 32768, 60999
    below, above = range(LEAST_PORT, low), range(high + 1, 65536)
    return max(below, above, key=len) or range(1)
