"""Watts and joules against the figures that VoltanaLLM publishes."""

from __future__ import annotations

import csv
import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.performance.catalog import Catalog
from orchestrator.performance.hardware import Hardware
from orchestrator.performance.power import (
    DECODE_SHARES,
    PREFILL_SHARES,
    best_clock_mhz,
    clock_time_ratio,
    decode_load,
    idle_w,
    power_figures,
    power_w,
)

SPLITWISE = Path(__file__).parents[2] / ".." / "shared" / "profiles" / "splitwise_sim" / "perf_model.csv.gz"

# VoltanaLLM §3.2, A100: clock, power of prefill and decode, time of both, energy of both over the highest clock.
ORACLE = np.array(
    [
        (705, 179, 150, 2.000, 1.527, 0.919, 0.765),
        (810, 194, 161, 1.741, 1.342, 0.866, 0.720),
        (1005, 221, 180, 1.403, 1.101, 0.797, 0.662),
        (1095, 252, 202, 1.288, 1.072, 0.831, 0.721),
        (1200, 292, 230, 1.175, 1.044, 0.880, 0.802),
        (1305, 338, 263, 1.080, 1.020, 0.936, 0.894),
        (1410, 390, 300, 1.000, 1.000, 1.000, 1.000),
    ]
)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture(scope="module")
def a100(catalog: Catalog) -> Hardware:
    return catalog.hardware("a100-80g")


def watts(*arguments: object) -> np.ndarray:
    result = power_w(*arguments)  # type: ignore[arg-type]
    assert result is not None
    return result


@pytest.mark.parametrize(("phase", "column"), [(True, 0), (False, 1)])
def test_the_published_table(a100: Hardware, phase: bool, column: int) -> None:
    clock = ORACLE[:, 0]
    power = watts(a100, clock, phase)
    time = clock_time_ratio(PREFILL_SHARES if phase else DECODE_SHARES, clock, 1410, 1005)
    energy = power * time / power[-1]
    assert power == pytest.approx(ORACLE[:, 1 + column], rel=0.005)
    assert time == pytest.approx(ORACLE[:, 3 + column], rel=0.005)
    assert energy == pytest.approx(ORACLE[:, 5 + column], rel=0.005)


@pytest.mark.parametrize("phase", [True, False])
def test_energy_is_least_between_the_ends(a100: Hardware, phase: bool) -> None:
    clock = np.arange(210.0, 1411, 15)
    shares = PREFILL_SHARES if phase else DECODE_SHARES
    energy = watts(a100, clock, phase) * clock_time_ratio(shares, clock, 1410, 1005)
    lowest = int(energy.argmin())
    assert 900 < clock[lowest] < 1100
    assert (np.diff(energy[: lowest + 1]) < 0).all() and (np.diff(energy[lowest:]) > 0).all()


def test_the_closed_form_finds_the_minimum_that_a_search_finds() -> None:
    static, dynamic, alpha, beta = 80.0, 310.0, 1.6, 0.4
    clock = np.linspace(0.05, 1.5, 200_001)
    energy = static * clock**-beta + dynamic * clock ** (1 + alpha - beta)
    assert best_clock_mhz(static, dynamic, alpha, beta) == pytest.approx(clock[energy.argmin()], abs=1e-4)


def test_energy_without_a_minimum_is_refused() -> None:
    for arguments in ((0, 1, 1, 0.5), (1, 1, 1, 0), (1, 1, 0.2, 1.2)):
        with pytest.raises(ValueError, match="no minimum"):
            best_clock_mhz(*arguments)


def test_the_published_curve_of_the_h100(catalog: Catalog) -> None:
    """VoltanaLLM §3.2: decode watts by batch, at the default clock."""
    batch = np.array([1, 8, 16, 32, 64, 128])
    power = watts(catalog.hardware("h100"), None, False, decode_load(batch))
    assert power == pytest.approx([304, 369, 435, 507, 557, 583], abs=1)


def test_the_h200_draws_what_the_h100_draws(catalog: Catalog) -> None:
    """The same die and TDP: anchors of different experiments must not decide which of the two needs less energy."""
    h100, h200 = catalog.hardware("h100"), catalog.hardware("h200")
    assert h200.power == h100.power and h200.tdp_w == h100.tdp_w
    assert "137-300 W" in h200.sources["power"], "the anchor that is not used is named"


def test_measured_power_of_the_a100(a100: Hardware) -> None:
    """Splitwise profiles: runs of 128 tokens after short prompts are nearly all decode; long prompts peak at the TDP."""
    if not SPLITWISE.exists():
        pytest.skip(f"no measured profiles at {SPLITWISE}")
    assert a100.tdp_w is not None
    with gzip.open(SPLITWISE, "rt") as text:
        rows = [r for r in csv.DictReader(text) if r["hardware"] == "a100-80gb" and float(r["average_power"]) > 0]
    decode = [float(r["average_power"]) * a100.tdp_w for r in rows if int(r["prompt_size"]) <= 512]
    peaks = [float(r["peak_power"]) * a100.tdp_w for r in rows if int(r["prompt_size"]) == 2048]
    assert len(decode) > 20 and len(peaks) > 3
    least, full = float(watts(a100, None, False, 0.0)), float(watts(a100, None, False, 1.0))
    assert min(decode) == pytest.approx(least, rel=0.03)
    assert np.quantile(decode, 0.9) == pytest.approx(full, rel=0.05)
    assert float(np.median(peaks)) == pytest.approx(float(watts(a100, None, True)), rel=0.06)


def test_load_and_phase_interpolate(a100: Hardware) -> None:
    assert watts(a100, None, False, 0.0) == pytest.approx(174)
    assert watts(a100, None, False, 0.5) == pytest.approx(237)
    assert watts(a100, None, 0.25, 1.0) == pytest.approx(0.25 * 390 + 0.75 * 300)
    assert watts(a100, None, True, 0.0) == pytest.approx(390), "prefill counts as saturated"
    assert watts(a100, np.array([[1005.0], [1410]]), np.array([0.0, 0.5, 1])).shape == (2, 3)
    bare = replace(a100, power=replace(a100.power, decode_least_w=None))  # type: ignore[type-var]
    assert watts(bare, 1410, False, 0.0) == pytest.approx(80), "without a least, an empty batch draws idle power"


def test_power_rises_with_the_clock_and_never_above_the_tdp(catalog: Catalog) -> None:
    for name in catalog.hardware_names():
        hardware = catalog.hardware(name)
        if not hardware.clocks_mhz or hardware.tdp_w is None:
            continue
        power = watts(hardware, np.array(hardware.clocks_mhz, float), np.array([[0.0], [0.5], [1.0]]))
        assert (np.diff(power, axis=1) >= 0).all() and power.max() <= hardware.tdp_w
        assert power.min() > hardware.power.idle_w  # type: ignore[union-attr]
    capped = catalog.hardware("h100-capped")
    assert watts(capped, None, True) == 450, "the cap binds"
    assert watts(capped, 1005, True) < 450


def test_a_clock_above_the_highest_counts_as_the_highest(a100: Hardware) -> None:
    assert watts(a100, 3000.0, True) == 390


def test_a_device_without_measurements_is_estimated_from_its_tdp(catalog: Catalog) -> None:
    l20, figures = catalog.hardware("l20"), power_figures(catalog.hardware("l20"))
    assert figures is not None and figures[1], "it says that it is an estimate"
    assert watts(l20, None, True) == pytest.approx(0.975 * 275)
    assert watts(l20, 900.0, True) == watts(l20, None, True), "no list of clocks"
    measured = power_figures(catalog.hardware("a100-80g"))
    assert measured is not None and not measured[1]
    clocked = watts(replace(l20, clocks_mhz=(1000, 2000)), np.array([1000.0, 2000]), True)
    assert clocked[0] < 0.6 * clocked[1]


def test_unknown_stays_unknown(catalog: Catalog) -> None:
    for name in ("halo", "cpu-core"):
        hardware = catalog.hardware(name)
        assert power_w(hardware, 1000.0, True) is None and idle_w(hardware) is None


@pytest.mark.parametrize("duty", [0.2, 0.4, 0.6])
def test_two_prefill_and_two_decode_devices_at_low_load_save_a_third(a100: Hardware, duty: float) -> None:
    """VoltanaLLM §3.2: energy at 1005 over 1410 MHz of the default is 0.67-0.68 for prefill duty 0.2-0.6."""

    def energy(clock: float) -> float:
        idle = idle_w(a100)
        assert idle is not None
        busy = duty * float(clock_time_ratio(PREFILL_SHARES, clock, 1410, 1005))
        prefill = busy * float(watts(a100, clock, True)) + (1 - busy) * idle
        return 2 * prefill + 2 * float(watts(a100, clock, False))

    assert energy(1005) / energy(1410) == pytest.approx(0.675, abs=0.015)
