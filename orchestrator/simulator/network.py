"""KV on its way between workers: transfers share the links at either end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from orchestrator.simulator.loop import NOTHING, Action, Events
from orchestrator.simulator.worker import Worker


@dataclass(slots=True, eq=False)
class Transfer:
    """`left_bytes` at `since_s`; `done` is called when the last one has arrived."""

    source: Worker
    target: Worker
    bytes: float
    done: Action
    start_s: float
    left_bytes: float
    since_s: float
    rate: float = 0.0
    version: int = 0


class Network:
    """Every worker has one link in each direction. A transfer gets the smaller of its shares at the two ends, after the latency."""

    def __init__(self, log: Callable[[Transfer, float], None]) -> None:
        """`log` hears of each transfer that completes, and when."""
        self.bytes_moved = 0.0
        self.transfers = 0
        self._leaving: dict[Worker, dict[Transfer, None]] = {}
        self._arriving: dict[Worker, dict[Transfer, None]] = {}
        self._log = log

    def send(self, source: Worker, target: Worker, size: float, done: Action, now_s: float) -> tuple[Transfer, Events]:
        """Move `size` bytes; returns the transfer, for `cancel`, and what follows."""
        latency_s = max(source.device.link.latency_s, target.device.link.latency_s)
        transfer = Transfer(source, target, size, done, now_s, size, now_s + latency_s)
        return transfer, ((now_s + latency_s, partial(self._begin, transfer)),)

    def cancel(self, transfer: Transfer, now_s: float) -> Events:
        """Stop it; nothing will be called."""
        transfer.version = -1
        return self._leave(transfer, now_s)

    def _begin(self, transfer: Transfer, now_s: float) -> Events:
        if transfer.version < 0:
            return NOTHING
        self._leaving.setdefault(transfer.source, {})[transfer] = None
        self._arriving.setdefault(transfer.target, {})[transfer] = None
        return self._share(transfer, now_s)

    def _end(self, transfer: Transfer, version: int, now_s: float) -> Events:
        if version != transfer.version:
            return NOTHING
        self.transfers += 1
        self.bytes_moved += transfer.bytes
        self._log(transfer, now_s)
        return [*self._leave(transfer, now_s), *transfer.done(now_s)]

    def _leave(self, transfer: Transfer, now_s: float) -> Events:
        leaving = self._leaving.get(transfer.source, {})
        if transfer not in leaving:
            return NOTHING
        del leaving[transfer]
        self._arriving[transfer.target].pop(transfer)
        return self._share(transfer, now_s)

    def _share(self, changed: Transfer, now_s: float) -> Events:
        """New rates for all transfers at either end of the one that came or went."""
        leaving, arriving = self._leaving[changed.source], self._arriving[changed.target]
        events = list[tuple[float, Action]]()
        for transfer in {**leaving, **arriving}:
            rate = min(
                transfer.source.device.link_bytes_per_s / len(self._leaving[transfer.source]),
                transfer.target.device.link_bytes_per_s / len(self._arriving[transfer.target]),
            )
            if rate != transfer.rate:
                transfer.left_bytes -= transfer.rate * (now_s - transfer.since_s)
                transfer.since_s, transfer.rate = now_s, rate
                transfer.version += 1
                end_s = now_s + max(0.0, transfer.left_bytes) / rate
                events.append((end_s, partial(self._end, transfer, transfer.version)))
        return events
