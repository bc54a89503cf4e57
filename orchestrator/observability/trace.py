"""The place of a request in a trace: ids of W3C Trace Context, and ids of its stages that need no memory."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from dataclasses import dataclass, replace

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_SAMPLED = 1


@dataclass(frozen=True, slots=True)
class Trace:
    """A span that is traced; `parent_id` is 0 at the root. Source: W3C Trace Context, level 1.

    `operation` is that of the request, as OpenTelemetry's GenAI conventions name it; `begun_ns` is in unix nanoseconds.
    """

    trace_id: int
    span_id: int
    parent_id: int = 0
    operation: str = ""
    begun_ns: int = 0

    @property
    def traceparent(self) -> str:
        """The header by which a callee joins this span."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"

    def child(self, name: str) -> Trace:
        """A span below this one. Whoever knows this span knows the id of its child `name`: both ends of a wire agree on it."""
        seed = f"{self.span_id:016x}/{name}".encode()
        found = int.from_bytes(
            hashlib.blake2b(seed, digest_size=8, key=self.trace_id.to_bytes(16, "big")).digest(), "big"
        )
        return replace(self, span_id=found or 1, parent_id=self.span_id)

    def of_stage(self, name: str, attempt: int) -> Trace:
        """The span of a stage of one attempt of a request, counted from 1."""
        return self.child(f"{name}/{attempt}")


def join(traceparent: str) -> Trace | None:
    """The span that a traceparent names; None if it is not sampled or makes no sense."""
    found = _parse(traceparent)
    return found[0] if found is not None and found[1] else None


def _parse(traceparent: str) -> tuple[Trace, bool] | None:
    """The span and whether it is sampled. Later versions may add fields; version ff is none."""
    match = _FORM.fullmatch(traceparent.strip())
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    trace = Trace(int(trace_id, 16), int(span_id, 16))
    if version == "ff" or (version == "00" and rest) or not trace.trace_id or not trace.span_id:
        return None
    return trace, bool(int(flags, 16) & _SAMPLED)


def begin(traceparent: str | None, ratio: float, operation: str, age_s: float = 0.0) -> Trace | None:
    """The span of a request that arrived `age_s` ago: below the client's where it sends one, else a root in `ratio` of the cases."""
    begun_ns = time.time_ns() - int(1e9 * age_s)
    found = _parse(traceparent) if traceparent is not None else None
    if found is not None:
        above, sampled = found
        if not sampled:
            return None
        return Trace(above.trace_id, secrets.randbits(63) + 1, above.span_id, operation, begun_ns)
    trace_id = secrets.randbits(127) + 1
    # As the OpenTelemetry SDKs do it: by the lower half of the id, so that all who sample by ratio agree.
    if (trace_id & (1 << 64) - 1) >= ratio * (1 << 64):
        return None
    return Trace(trace_id, secrets.randbits(63) + 1, 0, operation, begun_ns)
