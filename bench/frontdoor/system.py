"""One of the things compared: where its clients connect, whose CPU counts, and what of a request's time its backends took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.frontdoor.process import Child
from bench.peers.journal import Entry


@dataclass(frozen=True, slots=True)
class System:
    """`process` is None where clients talk to the backends themselves."""

    name: str
    version: str
    process: Child | None
    backends: Child
    ports: list[int]
    path: str
    backend_s: Callable[[Entry], float]
    """Time that a request spent in backends until its first token was on its way."""
    token_s: Callable[[Entry, int], float]
    """When the token of this index left its backend."""
    prefill_port: int = 0


def both_legs_s(entry: Entry) -> float:
    """Prefill, then decode until its first token."""
    return entry.prefill_sent_s - entry.prefill_received_s + entry.emitted_s[0] - entry.decode_received_s


def decode_leg_s(entry: Entry) -> float:
    """A relay asks the decode server only."""
    return entry.emitted_s[0] - entry.decode_received_s


def joint_legs_s(entry: Entry) -> float:
    """Both legs at once; nothing can start before both are there."""
    return entry.emitted_s[0] - max(entry.prefill_received_s, entry.decode_received_s)


def prefill_leg_s(entry: Entry) -> float:
    """Where the first token comes from prefill."""
    return entry.prefill_sent_s - entry.prefill_received_s


def decoded_s(entry: Entry, index: int) -> float:
    """All tokens come from decode."""
    return entry.emitted_s[index]


def prefilled_or_decoded_s(entry: Entry, index: int) -> float:
    """The first token comes from prefill, the others from decode."""
    return entry.emitted_s[index - 1] if index else entry.prefill_sent_s
