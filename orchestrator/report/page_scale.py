"""Axes: where ticks stand and how they read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Keeps a number and its unit on one line.
NARROW = "\u00a0"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps `low..high` to `start..end` in pixels, by logarithm if asked; values outside are clipped."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, values: Floats | float) -> Floats:
        """Pixels of `values`."""
        inside = np.clip(np.asarray(values, np.float64), self.low, self.high)
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        share = ((np.log(inside) if self.log else inside) - low) / ((high - low) or 1.0)
        return np.asarray(self.start + share * (self.end - self.start), np.float64)

    def ticks(self, about: int = 6) -> list[float]:
        """Round values within the scale, at most about `about` of them."""
        return _log_ticks(self.low, self.high, about) if self.log else _linear_ticks(self.low, self.high, about)


def _linear_ticks(low: float, high: float, about: int) -> list[float]:
    if high <= low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def _log_ticks(low: float, high: float, about: int) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [m * 10.0**p for p in powers for m in steps if low * 0.999 <= m * 10.0**p <= high * 1.001]
        if len(ticks) <= about:
            return ticks
    return ticks[:: math.ceil(len(ticks) / about)]


def upper(value: float) -> float:
    """A round number at or above `value`, for the end of an axis that starts at 0; 1 for 0."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if m * power >= value * 0.9999)


def number(value: float | None) -> str:
    """`1.25`, `340`, `12k`, `3.4M`; `-` for None."""
    if value is None or math.isnan(value):
        return "-"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return (
                f"{value / (1e3 if unit == 'k' else size):.3g}{unit}" if abs(value) < 999.5 * size else f"{value:.3g}"
            )
    return f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"


def seconds(value: float | None) -> str:
    """`350 µs`, `20 ms`, `1.5 s`, `120 s`; `-` for None."""
    if value is None or math.isnan(value):
        return "-"
    if value == 0:
        return "0"
    if value < 0.9995e-3:
        return f"{value * 1e6:.3g}{NARROW}µs"
    if value < 0.9995:
        return f"{value * 1e3:.3g}{NARROW}ms"
    return f"{value:.3g}{NARROW}s" if value < 100 else f"{value:,.0f}{NARROW}s"


def percent(value: float | None) -> str:
    """`98.5 %`; `-` for None."""
    return "-" if value is None else f"{value * 100:.3g}{NARROW}%"
