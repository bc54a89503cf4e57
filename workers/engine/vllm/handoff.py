"""How a request's KV passes from one server to another: what each of its two legs carries, which differs from connector to connector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class HandoffError(Exception):
    """The answer of the prefill leg does not say where its KV is."""


@dataclass(frozen=True, slots=True)
class Shape:
    """In which order the legs may run.

    `peer_first`: the prefill leg must name its decode peer. `concurrent`: the decode leg starts without waiting for the prefill leg's end.
    """

    peer_first: bool
    concurrent: bool


class Handoff(Protocol):
    """One connector's dialect. `…_fields` give fields of the request body."""

    name: str
    shape: Shape

    def prefill_fields(self) -> dict[str, Any]:
        """For the leg that computes the prompt's KV and keeps it for a peer."""

    def collect(self, answer: Mapping[str, Any]) -> bytes:
        """What the decode leg must be told, out of the prefill leg's answer: opaque to everybody between. Raises HandoffError."""

    def computed_tokens(self, answer: Mapping[str, Any]) -> int | None:
        """Of how many tokens the prefill server holds the KV, by an answer that `collect` took; None where it does not say."""

    def decode_fields(self, handoff: bytes) -> dict[str, Any]:
        """For the leg that pulls and decodes. Raises HandoffError."""

    def server_config(self, lease_s: float, on_cpu: bool) -> dict[str, Any]:
        """Value of --kv-transfer-config of a server that we start."""
