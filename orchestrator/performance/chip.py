"""What a tiled 4 nm accelerator peaks at, measures, costs and draws, from its geometry. Source: SPAD §4.

Masks, packaging, design and yield loss are left out. Areas in mm2 before `Area.total_mm2` adds the overhead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.performance.error import CatalogError
from orchestrator.performance.hardware import Chip, Hardware

GIB = 1 << 30
OVERHEAD = 0.10  # of the die, and of the board's power
HOST_MM2 = 39.0  # PCIe x32
LINK_MM2 = 28.0
WAFER_MM = 300.0
WAFER_USD = 20_000.0
REFERENCE_W_PER_MM2 = 480 / 814  # of the H100's die: 700 W less 10 % for the board, less five stacks


@dataclass(frozen=True, slots=True)
class MemoryKind:
    """One 32-bit channel (GDDR) or stack (HBM): its interface on the die, its price, its power.

    Power is `watts_per_package`, or `pj_per_bit` at the full bandwidth.
    """

    package_mm2: float
    usd_per_gib: float
    watts_per_package: float = 0.0
    pj_per_bit: float = 0.0


MEMORY_KINDS = {
    "hbm3": MemoryKind(package_mm2=17.6, usd_per_gib=9.0, watts_per_package=30.0),
    "hbm3e": MemoryKind(package_mm2=17.6, usd_per_gib=11.0, watts_per_package=30.0),  # price of §3.2, the rest as HBM3
    "gddr7": MemoryKind(package_mm2=6.625, usd_per_gib=3.0, pj_per_bit=4.5),
}


def memory_kind(chip: Chip) -> MemoryKind:
    """Raises CatalogError for a kind that the source has no figures for."""
    try:
        return MEMORY_KINDS[chip.memory_kind.lower()]
    except KeyError:
        known = ", ".join(MEMORY_KINDS)
        raise CatalogError(
            f"no figures for {chip.memory_kind!r} memory", "memory_kind", f"use one of {known}"
        ) from None


def tensor_flops(chip: Chip) -> float:
    """Peak of the systolic arrays, FLOP/s."""
    return chip.cores * chip.lanes * chip.array_rows * chip.array_columns * 2 * chip.tensor_ghz * 1e9


def vector_flops(chip: Chip) -> float:
    """Peak of the vector units, FLOP/s."""
    return chip.cores * chip.lanes * chip.vector_width * 2 * chip.vector_ghz * 1e9


def memory_bytes_per_s(chip: Chip) -> float:
    """Bus width times pin rate."""
    return chip.bus_bits * chip.pin_gbps * 1e9 / 8


@dataclass(frozen=True, slots=True)
class Area:
    """Parts of a die, mm2."""

    cores_mm2: float
    cache_mm2: float
    memory_mm2: float
    host_mm2: float = HOST_MM2
    link_mm2: float = LINK_MM2

    @property
    def total_mm2(self) -> float:
        """With the overhead."""
        parts = self.cores_mm2 + self.cache_mm2 + self.memory_mm2 + self.host_mm2 + self.link_mm2
        return parts / (1 - OVERHEAD)


def area(chip: Chip) -> Area:
    """Fitted to the breakdowns of both SPAD chips; predicts 818 mm2 for the H100 of 814."""
    macs, vector = chip.lanes * chip.array_rows * chip.array_columns, chip.lanes * chip.vector_width
    core_mm2 = 0.365 + 1.65 * (1.834e-4 * macs + 1.71e-3 * chip.l1_kib + 0.0075 * vector)
    return Area(
        cores_mm2=chip.cores * core_mm2,
        cache_mm2=47 + 2.0 * chip.l2_mib,
        memory_mm2=chip.memory_packages * memory_kind(chip).package_mm2,
    )


def dies_per_wafer(die_mm2: float) -> float:
    """Whole dies of a round wafer, less those that the edge cuts."""
    return math.pi * (WAFER_MM / 2) ** 2 / die_mm2 - math.pi * WAFER_MM / math.sqrt(2 * die_mm2)


def die_usd(die_mm2: float) -> float:
    """Price of one die."""
    return WAFER_USD / dies_per_wafer(die_mm2)


def memory_usd(chip: Chip, memory_bytes: float, usd_per_gib: float | None = None) -> float:
    """Price of the memory; `usd_per_gib` replaces the usual price, of which HBM3's is the least certain (6 to 12)."""
    price = memory_kind(chip).usd_per_gib if usd_per_gib is None else usd_per_gib
    return price * memory_bytes / GIB


def memory_w(chip: Chip) -> float:
    """Power of the memory at its full bandwidth."""
    kind = memory_kind(chip)
    return kind.watts_per_package * chip.memory_packages + kind.pj_per_bit * 1e-12 * 8 * memory_bytes_per_s(chip)


def tdp_w(chip: Chip, die_mm2: float) -> float:
    """Nameplate power: the H100's power density over the die, the memory, and the board. It is not energy."""
    return (REFERENCE_W_PER_MM2 * die_mm2 + memory_w(chip)) / (1 - OVERHEAD)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Figures of one device. `die_mm2` is the catalog's where it has one, since a measured die beats the fit."""

    tensor_flops: float
    vector_flops: float
    memory_bytes_per_s: float
    die_mm2: float
    die_usd: float
    memory_usd: float
    tdp_w: float

    @property
    def usd(self) -> float:
        """Die and memory."""
        return self.die_usd + self.memory_usd


def estimate(hardware: Hardware, usd_per_gib: float | None = None) -> Estimate:
    """All of the above. Raises CatalogError for hardware without chip geometry."""
    chip = geometry(hardware)
    die_mm2 = area(chip).total_mm2 if hardware.die_mm2 is None else hardware.die_mm2
    return Estimate(
        tensor_flops(chip), vector_flops(chip), memory_bytes_per_s(chip), die_mm2,
        die_usd(die_mm2), memory_usd(chip, hardware.memory_bytes, usd_per_gib), tdp_w(chip, die_mm2),
    )  # fmt: skip


def geometry(hardware: Hardware) -> Chip:
    """The chip inside. Raises CatalogError if the catalog has none."""
    if hardware.chip is None:
        where = f"hardware {hardware.name}"
        raise CatalogError("its chip geometry is unknown", where, "use a roofline model, or add chip to a catalog")
    return hardware.chip
