"""What a cluster.yaml changes of the one in force, and when each change holds: pure functions of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Document = Mapping[str, Any]
NAMED = ("pools", "tiers")
"""Lists whose items have a name, by which they are told apart."""


class Effect(StrEnum):
    """When a change holds."""

    AT_ONCE = "at_once"
    SCALE = "scale"
    RESTART = "restart"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field. `old` or `new` is None where there is nothing on that side."""

    path: str
    old: Any
    new: Any
    effect: Effect
    note: str


_NEW_START = "cannot change while the cluster runs: take it back, or `pdctl down` and `pdctl up -f FILE`"
_RESTART = "holds once workers are restarted: `pdctl restart {what}`"
_RULES: tuple[tuple[str, Effect, str], ...] = (
    ("spec.policies", Effect.AT_ONCE, ""),
    ("spec.tiers", Effect.AT_ONCE, ""),
    ("spec.drain", Effect.AT_ONCE, ""),
    ("spec.simulation", Effect.AT_ONCE, "only `pdctl simulate` reads it"),
    ("spec.faults", Effect.RESTART, ""),
    ("spec.engine.kvBlocks", Effect.RESTART, ""),
    ("spec.engine.maxBatch", Effect.RESTART, ""),
    ("spec.engine.prefillBudgetTokens", Effect.RESTART, ""),
    ("spec.engine.prefixCache", Effect.RESTART, ""),
    ("spec.engine.numThreads", Effect.RESTART, ""),
    ("spec.engine.vllm", Effect.RESTART, ""),
    ("spec.transport.leaseS", Effect.RESTART, ""),
    ("spec.transport.checksums", Effect.RESTART, ""),
)
"""The first prefix that fits decides; what none fits needs a new start."""
_POOL: dict[str, tuple[Effect, str]] = {
    "count": (Effect.SCALE, ""),
    "role": (Effect.AT_ONCE, "of all workers of the pool"),
    "hardware": (Effect.AT_ONCE, "only `pdctl simulate` reads it"),
    "usdPerHour": (Effect.AT_ONCE, "only `pdctl simulate` reads it"),
    "resources": (Effect.RESTART, ""),
}


def differences(old: Document, new: Document) -> list[Difference]:
    """Every field in which two whole documents (as `orchestrator.core.config.dump` writes them) differ, in the order of the file."""
    return [_judged(path, a, b) for path, a, b in _walk("", old, new)]


def _walk(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if old == new:
        return
    if path.startswith("spec.policies.") or not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        yield path, old, new
        return
    for key in [*old, *(k for k in new if k not in old)]:
        a, b = old.get(key), new.get(key)
        if path == "spec" and key in NAMED:
            a, b = ({item["name"]: item for item in side} for side in (a or (), b or ()))
            if key == "tiers" and a.keys() == b.keys() and list(a) != list(b):
                yield "spec.tiers", list(a), list(b)  # the first may be the default
        yield from _walk(f"{path}.{key}" if path else key, a, b)


def _judged(path: str, old: Any, new: Any) -> Difference:
    effect, note = _effect(path, old, new)
    return Difference(path, old, new, effect, note)


def _effect(path: str, old: Any, new: Any) -> tuple[Effect, str]:
    parts = path.split(".")
    if path.startswith("spec.pools."):
        # A name may hold dots: the field is what stands behind it.
        field = next((p for p in parts[3:] if p in _POOL), None)
        if field is None:
            count = (new or {}).get("count") if isinstance(new, Mapping) else None
            if old is None:
                return Effect.SCALE, f"a new pool of {count}"
            return Effect.SCALE, "its workers finish their work and leave"
        effect, note = _POOL[field]
        if field == "count":
            note = f"{new - old} more" if new > old else f"{old - new} leave when their work is done"
        return effect, note or _RESTART.format(what="pool " + ".".join(parts[2 : parts.index(field, 3)]))
    for prefix, effect, note in _RULES:
        if path == prefix or path.startswith(f"{prefix}."):
            return effect, note or (_RESTART.format(what="all") if effect is Effect.RESTART else "")
    return Effect.REFUSED, _NEW_START
