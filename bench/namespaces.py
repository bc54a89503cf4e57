"""Two hosts on one machine: network namespaces joined by a veth pair, for what needs a network between workers.

They share processes' ids and memory with the rest, so UCX_TLS=tcp belongs to it: with UCX's own choice the kernel would copy
between the processes and nothing would cross the wire. `sent_bytes` of the link shows what did.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DEVICE = "wire0"
_CARRIER_S = 30.0
_NAMES = Path("/run/netns")
_OURS = re.compile(r"tandem(\d+)[ab]")
UCX_TCP = {"UCX_TLS": "tcp", "UCX_NET_DEVICES": DEVICE}
"""Environment of a process whose NIXL must use the wire and nothing else."""


class NoNamespaces(Exception):
    """This machine or user cannot make network namespaces; the message says why."""


@dataclass(frozen=True, slots=True)
class Host:
    """One namespace. `address` is its end of the wire."""

    name: str
    address: str

    @property
    def enter(self) -> list[str]:
        """What a command begins with to run there. `ip netns exec` also mounts its /sys, where UCX looks for devices."""
        return ["ip", "netns", "exec", self.name]

    def sent_bytes(self) -> int:
        """What left on the wire so far, with headers."""
        path = f"/sys/class/net/{DEVICE}/statistics/tx_bytes"
        return int(subprocess.run([*self.enter, "cat", path], capture_output=True, text=True, check=True).stdout)

    def cut(self, on: bool = True) -> None:
        """Take the wire down (nothing arrives, nobody is told), or up again."""
        _ip("-n", self.name, "link", "set", DEVICE, "down" if on else "up")
        if not on:
            self.wait_for_wire()

    def wait_for_wire(self) -> None:
        """The kernel tells of a carrier a moment after both ends are up; UCX takes no device without one."""
        deadline_s = time.monotonic() + _CARRIER_S
        while " state UP " not in _ip("-n", self.name, "link", "show", "dev", DEVICE):
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{DEVICE} of {self.name} has no carrier after {_CARRIER_S:g} s")
            time.sleep(0.01)


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Both are gone at the end, with their link; those of a run that was killed, at the next start. Raises NoNamespaces."""
    remove_stale()
    hosts = (Host(f"tandem{os.getpid()}a", "10.213.0.1"), Host(f"tandem{os.getpid()}b", "10.213.0.2"))
    try:
        for host in hosts:
            _ip("netns", "add", host.name)
        first, second = (host.name for host in hosts)
        _ip(
            *("link", "add", DEVICE, "netns", first, "type", "veth", "peer", "name", DEVICE, "netns", second),
        )
        for host in hosts:
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", DEVICE)
            for device in ("lo", DEVICE):
                _ip("-n", host.name, "link", "set", device, "up")
        for host in hosts:
            host.wait_for_wire()
        yield hosts
    finally:
        for host in hosts:
            _delete(host.name)


def remove_stale() -> None:
    """Delete namespaces whose maker has died before it could."""
    for path in _NAMES.glob("tandem*"):
        match = _OURS.fullmatch(path.name)
        if match is not None and not Path("/proc", match[1]).exists():
            _delete(path.name)


def _delete(name: str) -> None:
    if (_NAMES / name).exists():
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _ip(*arguments: str) -> str:
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    except FileNotFoundError as error:
        raise NoNamespaces("network namespaces need the `ip` command of iproute2") from error
    if done.returncode != 0:
        raise NoNamespaces(f"`ip {' '.join(arguments)}` is not permitted here: {done.stderr.strip()}")
    return done.stdout
