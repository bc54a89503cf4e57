"""Watts of a device by clock, phase and load, and the energy that follows. Source: VoltanaLLM §3.2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orchestrator.performance.batch import Array
from orchestrator.performance.hardware import Hardware, Power

# A device whose power was never measured is taken to spend the A100's shares of its TDP (80, 390, 300 and 174 of 400 W), and to
# have its knee where the A100 has it, at 0.71 of the highest clock.
IDLE_OF_TDP, PREFILL_OF_TDP, DECODE_OF_TDP, DECODE_LEAST_OF_TDP, KNEE_OF_HIGHEST = 0.2, 0.975, 0.75, 0.435, 0.71


def power_figures(hardware: Hardware) -> tuple[Power, bool] | None:
    """The figures and whether they are only estimated from the TDP; None where neither power nor TDP is known."""
    if hardware.power is not None:
        return hardware.power, False
    if hardware.tdp_w is None:
        return None
    tdp, highest = hardware.tdp_w, max(hardware.clocks_mhz, default=1)
    estimate = Power(
        idle_w=IDLE_OF_TDP * tdp,
        prefill_w=PREFILL_OF_TDP * tdp,
        decode_w=DECODE_OF_TDP * tdp,
        knee_mhz=KNEE_OF_HIGHEST * highest,
        decode_least_w=DECODE_LEAST_OF_TDP * tdp,
    )
    return estimate, True


def power_w(
    hardware: Hardware,
    clock_mhz: Array | float | None = None,
    prefill: Array | float = False,
    load: Array | float = 1.0,
) -> Array | None:
    """Watts of one device while it computes; arguments broadcast. None where the catalog knows neither power nor TDP.

    `clock_mhz` None is the highest clock; a device without a list of clocks draws the same at any. `prefill` is True, False or
    the share of the time that goes to prefill. `load` (0 to 1) is how full the decode batch is, as `decode_load` gives it; prefill
    counts as saturated. Capped at the TDP.
    """
    figures = power_figures(hardware)
    if figures is None:
        return None
    power = figures[0]
    least = power.idle_w if power.decode_least_w is None else power.decode_least_w
    decode = least + (power.decode_w - least) * np.clip(np.asarray(load, np.float64), 0, 1)
    share = np.clip(np.asarray(prefill, np.float64), 0, 1)
    full = share * power.prefill_w + (1 - share) * decode
    watts = power.idle_w + (full - power.idle_w) * activity(hardware, power, clock_mhz)
    return np.minimum(watts, np.inf if hardware.tdp_w is None else hardware.tdp_w)


def idle_w(hardware: Hardware) -> float | None:
    """Watts of one device without a batch, at any clock; None where unknown."""
    figures = power_figures(hardware)
    return None if figures is None else figures[0].idle_w


def decode_load(requests: Array | float) -> Array:
    """How far a decode batch drives power from its least to its most, 0 to 1.

    The logistic curve over the logarithm of the batch that fits H100 measurements. Source: VoltanaLLM §3.2.
    """
    batch = np.maximum(np.asarray(requests, np.float64), 1e-9)
    return 1 / (1 + np.exp(4.2 - np.log2(batch)))


def voltage(power: Power, highest_mhz: float, clock_mhz: Array | float) -> Array:
    """Voltage as a share of the highest clock's: flat up to the knee, then linear."""
    above = (np.asarray(clock_mhz, np.float64) - power.knee_mhz) / (highest_mhz - power.knee_mhz)
    return power.lowest_voltage + (1 - power.lowest_voltage) * np.clip(above, 0, 1)


def activity(hardware: Hardware, power: Power, clock_mhz: Array | float | None) -> Array:
    """Dynamic power as a share of the highest clock's: frequency times voltage squared."""
    if clock_mhz is None or not hardware.clocks_mhz:
        return np.ones(np.shape(clock_mhz) if clock_mhz is not None else ())
    highest = max(hardware.clocks_mhz)
    clock = np.minimum(np.asarray(clock_mhz, np.float64), highest)
    if power.knee_mhz >= highest:
        return clock / highest
    return clock / highest * voltage(power, highest, clock) ** 2


@dataclass(frozen=True, slots=True)
class TimeShares:
    """What an iteration at the highest clock waits for: the host, the clock, memory. They add up to 1."""

    host: float
    clock: float
    memory: float


PREFILL_SHARES = TimeShares(host=0.0, clock=1.0, memory=0.0)
DECODE_SHARES = TimeShares(host=0.10, clock=0.25, memory=0.65)


def clock_time_ratio(shares: TimeShares, clock_mhz: Array | float, highest_mhz: float, bandwidth_mhz: float) -> Array:
    """Time of an iteration at `clock_mhz` over its time at `highest_mhz`; bandwidth falls below `bandwidth_mhz`."""
    clock = np.asarray(clock_mhz, np.float64)
    return shares.host + shares.clock * highest_mhz / clock + shares.memory * np.maximum(1, bandwidth_mhz / clock)


def best_clock_mhz(static_w: float, dynamic_w: float, alpha: float, beta: float) -> float:
    """The clock of least energy where P = A + B f^(1+alpha) and T ~ f^-beta, with A and B in the same unit of f.

    Raises ValueError where energy falls or rises without a minimum.
    """
    if not (static_w > 0 and dynamic_w > 0 and beta > 0 and 1 + alpha > beta):
        raise ValueError(
            "energy has no minimum over the clock: A, B and beta must exceed 0, and 1 + alpha must exceed beta"
        )
    return float((beta * static_w / (dynamic_w * (1 + alpha - beta))) ** (1 / (1 + alpha)))
