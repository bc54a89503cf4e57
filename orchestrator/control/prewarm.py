"""Which transport pairs must be warm before a request needs them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.core.cluster import Role


@dataclass(frozen=True, slots=True)
class Peer:
    """One incarnation of a ready worker. `metadata` is what its transport hands to those that pull from it."""

    name: str
    incarnation: int
    role: Role
    address: str
    metadata: bytes
    model: str = ""
    """Served by it; KV of another model is of no use."""


@dataclass(frozen=True, slots=True)
class Pair:
    """`puller` (decode side) reads from `source` (prefill side), each at one incarnation."""

    puller: str
    puller_incarnation: int
    source: str
    source_incarnation: int


def wanted_pairs(peers: Iterable[Peer]) -> dict[Pair, tuple[Peer, Peer]]:
    """Every decode-capable worker with every other prefill-capable one of its model: pair → (puller, source)."""
    known = list(peers)
    return {
        Pair(puller.name, puller.incarnation, source.name, source.incarnation): (puller, source)
        for puller in known
        if puller.role & Role.DECODE
        for source in known
        if source.role & Role.PREFILL and source.name != puller.name and source.model == puller.model
    }


class Prewarmer:
    """Remembers which pairs are warm. A new incarnation on either side is a new pair; pairs no longer wanted are forgotten."""

    def __init__(self) -> None:
        self._warm: set[Pair] = set()
        self._wanted: set[Pair] = set()

    def due(self, peers: Iterable[Peer]) -> list[tuple[Pair, Peer, Peer]]:
        """(pair, puller, source) for which ConnectPeer must be called (again), in a stable order."""
        wanted = wanted_pairs(peers)
        self._wanted = set(wanted)
        self._warm &= self._wanted
        return [(pair, *wanted[pair]) for pair in wanted if pair not in self._warm]

    def connected(self, pair: Pair) -> None:
        """The puller reported the pair as warm."""
        self._warm.add(pair)

    def cold(self, name: str, incarnation: int) -> int:
        """How many wanted pairs of this incarnation are not warm yet."""
        me = (name, incarnation)
        sides = (
            (p.puller, p.puller_incarnation) == me or (p.source, p.source_incarnation) == me
            for p in self._wanted - self._warm
        )
        return sum(sides)

    @property
    def warm(self) -> int:
        """Number of wanted pairs that are warm."""
        return len(self._warm)

    @property
    def wanted(self) -> int:
        """Number of pairs that should be warm."""
        return len(self._wanted)
