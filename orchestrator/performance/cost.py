"""What fleets, workers and runs cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from orchestrator.performance.error import CatalogError
from orchestrator.performance.hardware import Hardware

HOURS_PER_YEAR = 8766.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """Cost and TDP in units of one machine of the reference device, with the same number of devices per machine."""

    cost: float
    tdp: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Price and TDP to count a device with, where a comparison has its own rule (SPAD §3.2: an A100 is half an H100 in both)."""

    price_usd: float
    tdp_w: float


def fleet(
    machines: Mapping[str, int],
    hardware: Callable[[str], Hardware],
    reference: str = "h100",
    rules: Mapping[str, Figures] | None = None,
) -> Fleet:
    """Cost and TDP of `machines` (device name -> number), over one machine of `reference`.

    Raises CatalogError for a device whose price or TDP is unknown. Source: SPAD §4.
    """

    def figures(name: str) -> Figures:
        if rules and name in rules:
            return rules[name]
        device = hardware(name)
        return Figures(_known(device, device.price_usd, "price_usd"), _known(device, device.tdp_w, "tdp_w"))

    one = figures(reference)
    counted = [(number, figures(name)) for name, number in machines.items()]
    return Fleet(
        cost=sum(number * f.price_usd for number, f in counted) / one.price_usd,
        tdp=sum(number * f.tdp_w for number, f in counted) / one.tdp_w,
    )


def saving(fleet_value: float, baseline: float) -> float:
    """What is saved against `baseline`, as a share of it; negative where it costs more."""
    return 1 - fleet_value / baseline


class Basis(Enum):
    """Where an hourly cost comes from."""

    RENT = "rent"
    AMORTISED = "amortised"


@dataclass(frozen=True, slots=True)
class Amortisation:
    """Spreads `price_usd` over `years` of which `utilization` is used, and adds electricity at TDP.

    `markup` multiplies `price_usd`, which in the shipped catalog is what die and memory cost to make, not a list price.
    """

    years: float = 4.0
    utilization: float = 0.8
    markup: float = 1.0
    usd_per_kwh: float = 0.0


@dataclass(frozen=True, slots=True)
class HourlyCost:
    """US dollars per hour, and where the figure comes from."""

    usd: float
    basis: Basis


def hourly_cost(hardware: Hardware, devices: int = 1, rule: Amortisation = Amortisation()) -> HourlyCost | None:
    """Cost per hour of `devices` alike: the catalog's rent where it has one, else its price amortised by `rule`; None where unknown."""
    if hardware.rent_usd_per_hour is not None:
        return HourlyCost(devices * hardware.rent_usd_per_hour, Basis.RENT)
    if hardware.price_usd is None:
        return None
    hours = rule.years * HOURS_PER_YEAR * rule.utilization
    electricity = (hardware.tdp_w or 0.0) / 1000 * rule.usd_per_kwh
    return HourlyCost(devices * (hardware.price_usd * rule.markup / hours + electricity), Basis.AMORTISED)


def _known(hardware: Hardware, value: float | None, field: str) -> float:
    if value is None:
        do = f"leave the device out of cost planning, or set {field} in a catalog of your own"
        raise CatalogError(f"{field} is unknown", f"hardware {hardware.name}", do)
    return value
