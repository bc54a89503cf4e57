"""What the load client is told, and what it tells."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import orjson


@dataclass(frozen=True, slots=True)
class Job:
    """Closed loop: `streams` clients on keep-alive connections, started evenly over `ramp_s`, each sends its next request as one ends.

    With `prefill_port` the client does both legs itself, prefill there and decode at one of `ports`; else it sends whole
    requests to `ports[0]`. When all are connected the client prints `start_s` (monotonic clock) and starts; what comes from
    `settle_s` after the ramp on is measured, for `seconds`. Then no request starts any more; those in progress end.
    """

    ports: list[int]
    path: str
    streams: int
    tokens: int
    prompt_tokens: int
    vocabulary: int
    first_number: int
    expected: str
    ramp_s: float
    settle_s: float
    seconds: float
    result: str
    seed: int = 0
    prefill_port: int = 0
    text_prompt: str = ""

    def window(self, start_s: float) -> tuple[float, float]:
        """When measuring begins and ends."""
        first_s = start_s + self.ramp_s + self.settle_s
        return first_s, first_s + self.seconds

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(**orjson.loads(path.read_bytes()))

    def dump(self, path: Path) -> None:
        path.write_bytes(orjson.dumps(asdict(self)))


@dataclass(slots=True)
class Sent:
    """One request as its client saw it; times on the monotonic clock. `wrong` says what was wrong with the answer."""

    number: int
    sent_s: float
    prefilled_s: float = 0.0
    decode_sent_s: float = 0.0
    tokens_s: list[float] = field(default_factory=list)
    wrong: str = ""


def read_result(path: Path) -> list[Sent]:
    return [Sent(**row) for row in orjson.loads(path.read_bytes())]
