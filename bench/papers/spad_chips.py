"""SPAD's chips: peak rates, area, cost and TDP from geometry; sweeps, mean performance and level of the operator roofline.

Source: SPAD §3.1, §4, §9, §10.1 and §10.3 to §10.6: BLOOM-176B in fp16 on eight devices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bench.harness import Bench, Check, run
from orchestrator.performance.batch import Array, Batch
from orchestrator.performance.catalog import Catalog
from orchestrator.performance.chip import area, estimate, geometry, tensor_flops, vector_flops
from orchestrator.performance.hardware import Hardware
from orchestrator.performance.latency.tiles import Tiles
from orchestrator.performance.memory import kv_capacity_tokens

CATALOG = Catalog.load()
MODEL = CATALOG.model("bloom-176b")
RANKS = 8
REFERENCE, PREFILL_CHIP, DECODE_CHIP = (CATALOG.hardware(name) for name in ("h100", "spad-prefill", "spad-decode"))
PREFILL, DECODE = Batch.prefill(2, 1024), Batch.decode(64, 1024)
# Tensor PFLOP/s, vector TFLOP/s, die mm2, die USD, memory USD, cost over the H100's, TDP W.
CHIPS = {
    "spad-prefill": (1.92, 32.4, 784, 301, 192, 0.476, 596),
    "spad-decode": (0.54, 18.2, 520, 187, 720, 0.876, 507),
    "h100": (0.99, 66.9, 814, 315, 720, 1.0, 700),
}
HBM3_USD_PER_GIB = {6: (667, 795), 9: (907, 1035), 12: (1147, 1275)}
BANDWIDTHS = {1000: 1.59, 1500: 1.32, 2000: 1.17, 2500: 1.08, 4000: 0.97}
CORES = {44: 1.40, 66: 1.22, 108: 1.02, 144: 0.99, 160: 0.99}
MEANS: tuple[tuple[Hardware, str, Callable[[Array, Array], Batch], float], ...] = (
    (PREFILL_CHIP, "prefill", Batch.prefill, 1.08),
    (DECODE_CHIP, "prefill", Batch.prefill, 0.69),
    (PREFILL_CHIP, "decode", Batch.decode, 0.80),
    (DECODE_CHIP, "decode", Batch.decode, 0.97),
)


def seconds(hardware: Hardware, batch: Batch) -> Array:
    """Of one iteration on eight devices."""
    return Tiles(hardware, MODEL, RANKS).iteration_s(batch)


def row(
    bench: Bench, quantity: str, at: str, found: float, published: float, *, share: float = 0.0, units: float = 0.0
) -> None:
    """A figure, and a check that it is within `share` of the published one or within `units`."""
    bench.figure(quantity=quantity, at=at, found=float(found), published=float(published))
    off, bound = (abs(found / published - 1), share) if share else (abs(found - published), units)
    bench.check(Check(f"{quantity}, {at}: off by", round(float(off), 9), "<=", bound))


def chips(bench: Bench) -> None:
    """What follows from geometry alone."""
    reference_usd = estimate(REFERENCE).usd
    for name, (tensor, vector, die_mm2, die_usd, memory_usd, normalised, watts) in CHIPS.items():
        hardware = CATALOG.hardware(name)
        chip, figures = geometry(hardware), estimate(hardware)
        row(bench, "tensor PFLOP/s", name, tensor_flops(chip) / 1e15, tensor, units=0.005)
        row(bench, "vector TFLOP/s", name, vector_flops(chip) / 1e12, vector, units=0.05)
        row(bench, "die mm2, modelled", name, area(chip).total_mm2, die_mm2, share=0.01)
        row(bench, "die USD", name, figures.die_usd, die_usd, units=1)
        row(bench, "memory USD", name, figures.memory_usd, memory_usd, units=1)
        row(bench, "cost over the H100's", name, figures.usd / reference_usd, normalised, units=0.001)
        row(bench, "TDP W", name, figures.tdp_w, watts, units=1)
    for price, (decode, h100) in HBM3_USD_PER_GIB.items():
        row(bench, f"USD at {price} USD/GiB", "spad-decode", estimate(DECODE_CHIP, price).usd, decode, units=1)
        row(bench, f"USD at {price} USD/GiB", "h100", estimate(REFERENCE, price).usd, h100, units=1)


def sweeps(bench: Bench) -> None:
    """The H100 with less bandwidth on prefill, and with fewer cores on decode."""
    prefill_s, decode_s = seconds(REFERENCE, PREFILL), seconds(REFERENCE, DECODE)
    for gb_per_s, published in BANDWIDTHS.items():
        ratio = seconds(replace(REFERENCE, memory_bytes_per_s=gb_per_s * 1e9), PREFILL) / prefill_s
        row(bench, "prefill time over the H100's", f"{gb_per_s} GB/s", float(ratio), published, share=0.03)
    for cores, published in CORES.items():
        chip = replace(geometry(REFERENCE), cores=cores)
        ratio = seconds(replace(REFERENCE, chip=chip), DECODE) / decode_s
        row(bench, "decode time over the H100's", f"{cores} cores", float(ratio), published, share=0.03)
    levels = (("prefill", "2 x 1024", prefill_s, 0.21, 0.22), ("decode", "64 x 1024", decode_s, 0.042, 0.048))
    for phase, at, found, least, most in levels:
        bench.figure(quantity=f"H100 {phase} s", at=at, found=float(found), published=f"{least:g} to {most:g}")
        bench.check(Check(f"H100 {phase} s", float(found), ">=", least))
        bench.check(Check(f"H100 {phase} s", float(found), "<=", most))


def means(bench: Bench) -> None:
    """Geometric means over 1 to 64 requests of 256 to 8192 tokens, where both devices have the memory."""
    requests, tokens = np.meshgrid(np.exp2(np.arange(7.0)), np.exp2(np.arange(8.0, 14.0)))
    for hardware, phase, batch, published in MEANS:
        room = min(kv_capacity_tokens(h, MODEL, "float16", RANKS) for h in (hardware, REFERENCE))
        fits = requests * tokens <= room
        batches = batch(requests[fits], tokens[fits])
        ratio = np.exp(np.mean(np.log(seconds(REFERENCE, batches) / seconds(hardware, batches))))
        row(bench, f"mean {phase} performance", hardware.name, float(ratio), published, share=0.04)


def measure(bench: Bench) -> None:
    """All of it; the same with --quick."""
    chips(bench)
    sweeps(bench)
    means(bench)


if __name__ == "__main__":
    run("papers.spad_chips", measure, __doc__)
