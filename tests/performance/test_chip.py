"""Figures of SPAD's chips and the H100 from their geometry. Source: SPAD §3.1, §4, §10.1."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.performance import chip as chips
from orchestrator.performance.catalog import Catalog
from orchestrator.performance.error import CatalogError

CATALOG = Catalog.load()
PREFILL, DECODE, H100 = (CATALOG.hardware(name) for name in ("spad-prefill", "spad-decode", "h100"))
DEVICES = (PREFILL, DECODE, H100)


@pytest.mark.parametrize(
    ("hardware", "petaflops", "vector_teraflops"), [(PREFILL, 1.92, 32.4), (DECODE, 0.54, 18.2), (H100, 0.99, 66.9)]
)
def test_peak_rates(hardware, petaflops, vector_teraflops):
    chip = chips.geometry(hardware)
    assert round(chips.tensor_flops(chip) / 1e15, 2) == petaflops
    assert round(chips.vector_flops(chip) / 1e12, 1) == vector_teraflops


@pytest.mark.parametrize("hardware", DEVICES)
def test_the_bus_gives_the_bandwidth_of_the_catalog(hardware):
    """The pin rate of HBM3 is published with two digits."""
    chip = chips.geometry(hardware)
    assert chips.memory_bytes_per_s(chip) == pytest.approx(hardware.memory_bytes_per_s, rel=0.01)


@pytest.mark.parametrize(("hardware", "mm2"), [(PREFILL, 784), (DECODE, 520), (H100, 814)])
def test_area_is_that_of_the_published_die(hardware, mm2):
    assert chips.area(chips.geometry(hardware)).total_mm2 == pytest.approx(mm2, rel=0.01)
    assert hardware.die_mm2 == mm2


def test_area_predicts_the_h100_at_818():
    assert round(chips.area(chips.geometry(H100)).total_mm2) == 818


@pytest.mark.parametrize(("hardware", "parts"), [(PREFILL, (422, 111, 106, 39, 28)), (DECODE, (206, 107, 88, 39, 28))])
def test_parts_of_the_die(hardware, parts):
    area = chips.area(chips.geometry(hardware))
    found = (area.cores_mm2, area.cache_mm2, area.memory_mm2, area.host_mm2, area.link_mm2)
    assert found == pytest.approx(parts, abs=0.5)


@pytest.mark.parametrize(
    ("hardware", "die", "memory", "watts"), [(PREFILL, 301, 192, 596), (DECODE, 187, 720, 507), (H100, 315, 720, 700)]
)
def test_cost_and_power(hardware, die, memory, watts):
    estimate = chips.estimate(hardware)
    assert estimate.die_usd == pytest.approx(die, abs=1)
    assert estimate.memory_usd == pytest.approx(memory, abs=1e-6)
    assert estimate.tdp_w == pytest.approx(watts, abs=1)
    assert hardware.price_usd == pytest.approx(estimate.usd, abs=1)
    assert hardware.tdp_w == pytest.approx(estimate.tdp_w, abs=1)


@pytest.mark.parametrize("hardware", [PREFILL, DECODE])
def test_an_unpublished_die_is_priced_by_its_modelled_area(hardware):
    sketched = chips.estimate(replace(hardware, die_mm2=None))
    published = chips.estimate(hardware)
    assert sketched.die_mm2 != published.die_mm2
    assert sketched.die_usd == pytest.approx(published.die_usd, abs=1)
    assert sketched.tdp_w == pytest.approx(published.tdp_w, abs=1)


def test_normalised_cost():
    usd = chips.estimate(H100).usd
    assert chips.estimate(PREFILL).usd / usd == pytest.approx(0.476, abs=0.001)
    assert chips.estimate(DECODE).usd / usd == pytest.approx(0.876, abs=0.001)


@pytest.mark.parametrize(("usd_per_gib", "decode", "h100"), [(6, 667, 795), (9, 907, 1035), (12, 1147, 1275)])
def test_price_of_hbm3_decides(usd_per_gib, decode, h100):
    assert chips.estimate(DECODE, usd_per_gib).usd == pytest.approx(decode, abs=1)
    assert chips.estimate(H100, usd_per_gib).usd == pytest.approx(h100, abs=1)


def test_the_h200_costs_its_die_and_more_memory():
    h200 = CATALOG.hardware("h200")
    assert chips.estimate(h200).usd == pytest.approx(1866, abs=1)
    assert h200.price_usd == 1866


def test_larger_dies_cost_more_per_area():
    usd = [chips.die_usd(mm2) / mm2 for mm2 in (100, 200, 400, 800)]
    assert usd == sorted(usd)


def test_hardware_without_geometry_is_refused():
    with pytest.raises(CatalogError, match="geometry is unknown; hardware halo;"):
        chips.estimate(CATALOG.hardware("halo"))


def test_unknown_memory_is_refused():
    odd = replace(chips.geometry(H100), memory_kind="core")
    with pytest.raises(CatalogError, match=r"'core'.*hbm3"):
        chips.area(odd)
