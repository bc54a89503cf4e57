"""How well the load generator itself kept to its schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.report.spread import Spread

LATE_S = 0.010
LATE_SHARE = 0.1


@dataclass(slots=True)
class ClientLoad:
    """Seconds per request that was sent: how late it was sent, and how much of that it waited for one of the concurrent slots.

    Latencies count from when a request was due, so all of this is in them; these figures say whose fault it was.
    """

    late_s: list[float] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)

    def sent(self, late_s: float, waited_s: float) -> None:
        """One request has been sent."""
        self.late_s.append(max(0.0, late_s))
        self.waited_s.append(waited_s)

    def document(self) -> dict[str, Any]:
        """For the report: `sent_late_s` of all requests, and of it `waited_for_slot_s`; `slot_waits` counts those that waited."""
        return {
            "sent_late_s": Spread.of(self.late_s).document(),
            "waited_for_slot_s": Spread.of(self.waited_s).document(),
            "slot_waits": sum(waited > 0 for waited in self.waited_s),
        }

    def own_s(self) -> list[float]:
        """What was late without waiting for a slot: the client's own doing."""
        return [late - waited for late, waited in zip(self.late_s, self.waited_s, strict=True)]

    def faults(self, ttft_p50_s: float | None, concurrency: int) -> list[str]:
        """What about the client makes the figures doubtful, as sentences; `ttft_p50_s` is the median that was measured."""
        found = []
        own = Spread.of(self.own_s()).p99
        if own is not None and own > max(LATE_S, LATE_SHARE * (ttft_p50_s or 0.0)):
            found.append(
                f"the load generator was a bottleneck: it sent 1 of 100 requests {own * 1e3:.0f} ms late or more by its own doing; "
                "run it on a machine of its own, or at a lower rate"
            )
        if waits := sum(waited > 0 for waited in self.waited_s):
            longest = max(self.waited_s)
            found.append(
                f"{waits} requests waited up to {longest:.2f} s for one of {concurrency} slots, which counts in their latency; "
                "a higher --concurrency would have sent them when they were due"
            )
        return found


def is_paced(due_s: Sequence[float]) -> bool:
    """Whether requests are due one after the other; of those that are all due at once, most must be late."""
    return bool(due_s) and due_s[-1] > due_s[0]
