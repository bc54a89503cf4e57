"""When generated requests arrive: Poisson, Gamma renewal and a sinusoidal day. Endless times in seconds, ascending."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

CHUNK = 1024
Floats = npt.NDArray[np.float64]


def poisson(draw: np.random.Generator, rate: float) -> Iterator[float]:
    """Exponential gaps with mean 1/rate; the first request at 0."""
    return _from_gaps(lambda: draw.exponential(1 / rate, CHUNK))


def gamma(draw: np.random.Generator, rate: float, cv: float) -> Iterator[float]:
    """Gamma gaps with mean 1/rate and coefficient of variation `cv`; the first request at 0. `cv` 1 is Poisson, 0 is even spacing."""
    if cv == 0:
        return _from_gaps(lambda: np.full(CHUNK, 1 / rate))
    return _from_gaps(lambda: draw.gamma(1 / cv**2, cv**2 / rate, CHUNK))


def diurnal(draw: np.random.Generator, rate: float, period_s: float, amplitude: float) -> Iterator[float]:
    """A Poisson process whose rate is `rate * (1 + amplitude * sin(2 pi t / period_s))`: exact, by thinning the peak rate."""
    at, peak = 0.0, rate * (1 + amplitude)
    while True:
        times = at + np.cumsum(draw.exponential(1 / peak, CHUNK))
        now = rate * (1 + amplitude * np.sin(2 * math.pi / period_s * times))
        at = float(times[-1])
        yield from times[draw.random(CHUNK) * peak < now].tolist()


def at_once() -> Iterator[float]:
    """Everything at 0: what an infinite rate means."""
    while True:
        yield 0.0


def _from_gaps(gaps: Callable[[], Floats]) -> Iterator[float]:
    at = 0.0
    while True:
        times = at + np.cumsum(gaps())
        yield at
        yield from times[:-1].tolist()
        at = float(times[-1])
