"""Processes that start in milliseconds: forked from one that has imported torch, NIXL and its plugin.

They can live on a host of `bench.namespaces`.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PLUGIN = "nixl/libplugin_UCX.so"
"""Loading it takes half a second: once, in the process that the others are forked from."""
_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_REC_SLAVE = 0x4000 | 0x80000

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["nixl_cu13._api", "tests.transfer.preload", "workers.transfer.factory"])


def load_plugin() -> None:
    for folder in map(Path, sys.path):
        for library in (folder / "nixl_cu13.libs" / PLUGIN, folder / "nixl.libs" / PLUGIN):
            if library.exists():
                ctypes.CDLL(str(library))
                return


def enter_namespace(name: str) -> None:
    """What `ip netns exec` does: the network of `name`, and a /sys that shows its devices."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(function: str, *arguments: object) -> None:
        if getattr(libc, function)(*arguments) != 0:
            raise OSError(ctypes.get_errno(), f"{function}: {os.strerror(ctypes.get_errno())}")

    with open(f"/run/netns/{name}") as namespace:
        call("setns", namespace.fileno(), _CLONE_NEWNET)
    call("unshare", _CLONE_NEWNS)
    call("mount", b"", b"/", b"none", ctypes.c_ulong(_MS_REC_SLAVE), None)
    call("umount2", b"/sys", 2)
    call("mount", name.encode(), b"/sys", b"sysfs", ctypes.c_ulong(0), None)


def _main(target: Callable[..., None], host: str, environment: dict[str, str], arguments: tuple[Any, ...]) -> None:
    os.environ.update(environment)
    if host:
        enter_namespace(host)
    import torch

    torch.set_num_threads(1)
    target(*arguments)


class Forked:
    """`target(pipe, *arguments)` in a process of its own, with `environment` added. `with Forked(...)`; killed at the end."""

    def __init__(
        self, target: Callable[..., None], *arguments: Any, host: str = "", environment: dict[str, str] | None = None
    ) -> None:
        self.pipe, theirs = _context.Pipe()
        # The forkserver has the environment of whoever used it first.
        environment = {"UCX_TLS": "all", **(environment or {})}
        self._process = _context.Process(
            target=_main, args=(target, host, environment, (theirs, *arguments)), daemon=True
        )
        self._process.start()
        theirs.close()

    def close(self) -> None:
        self.kill()
        self._process.close()
        self.pipe.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        if self._process.is_alive():
            os.kill(self.pid, number)

    def exit_code(self, timeout_s: float = 2.0) -> int | None:
        """Waits a moment for the end; None if it lives."""
        self._process.join(timeout_s)
        return self._process.exitcode

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.join(10)
