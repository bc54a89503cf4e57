"""Transfers between workers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from orchestrator.performance.catalog import Catalog
from orchestrator.performance.links import Link, transfer_s

MEASURED = Path(__file__).parents[2] / "bench" / "results" / "transfer.json"
LINK = Link("wire", 10e9, 5e-6)


def test_latency_plus_bytes_over_rate() -> None:
    assert transfer_s(LINK, 10e9) == pytest.approx(1 + 5e-6)
    assert transfer_s(LINK, np.array([0.0, 1e9, 2e9])) == pytest.approx([0, 0.1 + 5e-6, 0.2 + 5e-6])


def test_sharers_and_efficiency_slow_the_bytes_and_not_the_latency() -> None:
    assert transfer_s(LINK, 1e9, sharers=3) - 5e-6 == pytest.approx(0.3)
    assert transfer_s(LINK, 1e9, efficiency=0.5) - 5e-6 == pytest.approx(0.2)


def test_line_rates() -> None:
    """One direction: half of what vendors quote for NVLink; Gb/s over 8 for networks."""
    catalog = Catalog.load()
    rates = {
        **{
            "nvlink3": 600 / 2,
            "nvlink4": 900 / 2,
            "nvlink5": 1800 / 2,
            "infiniband-hdr": 200 / 8,
            "infiniband-ndr": 400 / 8,
        },
        **{"ethernet-10g": 10 / 8, "ethernet-100g": 100 / 8, "ethernet-400g": 400 / 8},
        **{"pcie4-x16": 16 * 16 / 8 * 128 / 130, "pcie5-x16": 16 * 32 / 8 * 128 / 130},
    }
    for name, rate in rates.items():
        assert catalog.link(name).bytes_per_s / 1e9 == pytest.approx(rate, rel=0.001), name
    assert set(catalog.link_names()) - set(rates) == {"loopback", "shared-memory"}


def test_links_within_one_machine_are_those_that_were_measured() -> None:
    figures = json.loads(MEASURED.read_text())["figures"]
    rate = {f["transport"]: f["median_gb_per_s"] for f in figures if f["blocks"] == "churned"}
    catalog = Catalog.load()
    assert catalog.link("shared-memory").bytes_per_s / 1e9 == pytest.approx(rate["nixl"], rel=0.25)
    assert catalog.link("loopback").bytes_per_s / 1e9 == pytest.approx(rate["gloo"], rel=0.25)


def test_a_prompt_of_bloom_over_infiniband() -> None:
    """1500 tokens of 4.01 MB over eight devices at 50 GB/s each take about 15 ms. Source: SPAD §3.1, §5.2."""
    per_device = 1500 * 4.014e6 / 8
    assert transfer_s(Catalog.load().link("infiniband-ndr"), per_device) == pytest.approx(15.06e-3, rel=0.01)
