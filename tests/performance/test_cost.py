"""Fleets against SPAD's tables, and hourly costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.performance.catalog import Catalog, CatalogError
from orchestrator.performance.cost import (
    Amortisation,
    Basis,
    Figures,
    Fleet,
    HourlyCost,
    fleet,
    hourly_cost,
    saving,
)

P, D, CAPPED = "spad-prefill", "spad-decode", "h100-capped"
A100_RULE = {"a100-80g": Figures(price_usd=1035 / 2, tdp_w=700 / 2)}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.mark.parametrize(
    ("machines", "cost", "tdp"),
    [
        ({"h100": 36}, 36, 36),
        ({"h100": 21, "a100-80g": 9}, 25.5, 25.5),
        ({"h100": 13, "a100-80g": 32}, 29, 29),
        ({"h100": 21, CAPPED: 4}, 25, 23.6),
        ({"h100": 6, CAPPED: 21}, 27, 19.5),
        ({P: 18, D: 7}, 14.7, 20.4),
        ({P: 8, D: 17}, 18.7, 19.1),
    ],
)
def test_fleets_of_spad(catalog: Catalog, machines: dict[str, int], cost: float, tdp: float) -> None:
    """SPAD §9, provisioning: cost and TDP in H100 machines."""
    counted = fleet(machines, catalog.hardware, rules=A100_RULE)
    assert counted.cost == pytest.approx(cost, abs=0.06)
    assert counted.tdp == pytest.approx(tdp, abs=0.06)


@pytest.mark.parametrize(
    ("machines", "h100s", "cost", "tdp"),
    [
        ({P: 18, D: 6}, 24, 42, None),
        ({P: 18, D: 7}, 25, 41, 18),
        ({P: 21, D: 7}, 27, 40, None),
        ({P: 8, D: 17}, 22, 15, None),
        ({P: 8, D: 17}, 23, 19, 17),
        ({P: 13, D: 14}, 27, 32, None),
        ({P: 18, D: 7}, 19, 23, -7),
        ({P: 8, D: 17}, 21, 11, 9),
        ({P: 18, D: 7}, 26, 43, 22),
        ({P: 8, D: 17}, 27, 31, 29),
        ({P: 18, D: 7}, 23, 36, 11),
        ({P: 8, D: 17}, 24, 22, 20),
    ],
)
def test_savings_of_spad(catalog: Catalog, machines: dict[str, int], h100s: int, cost: int, tdp: int | None) -> None:
    """SPAD §9: other SLO levels and reallocation, in percent, within a point; §12 has the 18 % of TDP."""
    ours, theirs = fleet(machines, catalog.hardware), fleet({"h100": h100s}, catalog.hardware)
    assert theirs == Fleet(h100s, h100s)
    assert 100 * saving(ours.cost, theirs.cost) == pytest.approx(cost, abs=1)
    if tdp is not None:
        assert 100 * saving(ours.tdp, theirs.tdp) == pytest.approx(tdp, abs=1)


def test_tdp_saving_against_the_capped_baseline(catalog: Catalog) -> None:
    """SPAD §12: 13 % for code."""
    capped = fleet({"h100": 21, CAPPED: 4}, catalog.hardware)
    assert 100 * saving(fleet({P: 18, D: 7}, catalog.hardware).tdp, capped.tdp) == pytest.approx(13, abs=1)


def test_costs_of_one_device(catalog: Catalog) -> None:
    """SPAD §3.1 and §10: normalised cost 0.476 and 0.876."""
    assert fleet({P: 1}, catalog.hardware).cost == pytest.approx(0.476, abs=0.001)
    assert fleet({D: 1}, catalog.hardware).cost == pytest.approx(0.876, abs=0.001)


def test_a_device_of_unknown_price_is_no_part_of_cost_planning(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="price_usd is unknown; hardware halo; leave the device out"):
        fleet({"halo": 1}, catalog.hardware)
    assert hourly_cost(catalog.hardware("halo")) is None


def test_amortised_cost_states_its_rule(catalog: Catalog) -> None:
    h100 = catalog.hardware("h100")
    rule = Amortisation(years=2, utilization=0.5, markup=20, usd_per_kwh=0.1)
    cost = hourly_cost(h100, devices=8, rule=rule)
    assert cost is not None and cost.basis is Basis.AMORTISED
    assert cost.usd == pytest.approx(8 * (1035 * 20 / (2 * 8766 * 0.5) + 0.7 * 0.1))
    plain, decode = hourly_cost(h100), hourly_cost(catalog.hardware(D))
    assert plain is not None and decode is not None
    assert decode.usd / plain.usd == pytest.approx(907 / 1035)


def test_rent_goes_before_amortisation(catalog: Catalog) -> None:
    rented = replace(catalog.hardware("h100"), rent_usd_per_hour=2.5)
    assert hourly_cost(rented, devices=4) == HourlyCost(10.0, Basis.RENT)
