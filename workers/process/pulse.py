"""What a worker process tells its host every half second."""

from __future__ import annotations

import time
from typing import Any, Protocol

from orchestrator.core.pulse import PulsePipe
from pd.v1 import worker_pb2 as pb


class Stepping(Protocol):
    """The engine loop, as far as its pulse goes."""

    def pulse(self) -> pb.Pulse:
        """Engine steps done, and for how many seconds the present one has lasted."""


class TransferWatch:
    """Whether the transfer thread still turns. `transport.beats` counts its rounds; a transport without it always turns."""

    def __init__(self, transport: object) -> None:
        self._transport = transport
        self._last: int | None = None
        self._moved_s = 0.0

    def still_s(self, now_s: float) -> float:
        """For how long it has stood still, in seconds; `now_s` is monotonic."""
        beats: int | None = getattr(self._transport, "beats", None)
        if beats is None or beats != self._last:
            self._last, self._moved_s = beats, now_s
        return now_s - self._moved_s


async def send_pulses(loop: Stepping, transport: object) -> None:
    """Send `steps`, `step_s` and `transfer_s` until cancelled. Start it after the ready line."""
    transfer = TransferWatch(transport)

    def measure() -> dict[str, Any]:
        pulse = loop.pulse()
        still_s = transfer.still_s(time.monotonic())
        return {"steps": pulse.steps, "step_s": round(pulse.step_s, 3), "transfer_s": round(still_s, 3)}

    await PulsePipe.after_ready().run(measure)
