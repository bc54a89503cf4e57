"""What a simulated worker runs on: its truth, its clocks, its power, and how fast its KV leaves it."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.performance.hardware import Hardware
from orchestrator.performance.latency.base import Point
from orchestrator.performance.links import Link
from orchestrator.performance.power import decode_load, idle_w, power_figures, power_w
from orchestrator.performance.truth import Truth


@dataclass(slots=True)
class Device:
    """Workers of one kind share one. `devices` are the GPUs of one worker; `block_bytes` is the size of a KV block over all of them."""

    hardware: Hardware
    devices: int
    truth: Truth
    kv_blocks: int
    block_bytes: float
    link: Link
    max_batch: int
    _points: dict[int, Point] = field(default_factory=dict)
    _power: dict[tuple[int, bool, int], float] = field(default_factory=dict)

    @property
    def clocks_mhz(self) -> tuple[int, ...]:
        """Clocks that a frequency policy may choose from; a device whose clock is not known has a nominal one."""
        return self.hardware.clocks_mhz or (1,)

    def point(self, mhz: int) -> Point:
        """All SMs at this clock."""
        found = self._points.get(mhz)
        if found is None:
            found = self._points[mhz] = Point(1.0, mhz / max(self.clocks_mhz))
        return found

    @property
    def link_bytes_per_s(self) -> float:
        """Of one worker: each of its devices has a link."""
        return self.link.bytes_per_s * self.devices

    @property
    def has_power(self) -> bool:
        """Whether the catalog knows its power, or a TDP to estimate it from."""
        return power_figures(self.hardware) is not None

    def power_w(self, mhz: int, prefills: bool, decoding: int) -> float:
        """Watts of one worker while it runs an iteration; 0 where the catalog knows none."""
        key = (mhz, prefills, decoding)
        found = self._power.get(key)
        if found is None:
            clock = mhz if self.hardware.clocks_mhz else None
            watts = power_w(self.hardware, clock, prefills, decode_load(decoding) if decoding else 0.0)
            found = self._power[key] = 0.0 if watts is None else self.devices * float(watts)
        return found

    @property
    def idle_w(self) -> float:
        """Watts of one worker that runs nothing; 0 where the catalog knows none."""
        return self.devices * (idle_w(self.hardware) or 0.0)
