"""HALO: one request on its own under each mapping, over a grid of prompt and output lengths; and where the engines cross over.

Source: HALO §6 and §9.1 to §9.6. The two grid means are what the array rate and the load rate were calibrated to: they test the
model's arithmetic, not HALO's claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from bench.harness import Bench, Check, run
from orchestrator.performance.batch import Batch
from orchestrator.performance.catalog import Catalog
from orchestrator.performance.latency.arithmetic import ARRAYS
from orchestrator.performance.latency.in_memory import InMemoryLatency
from orchestrator.performance.latency.in_memory_operators import InMemoryOperators, Linear
from orchestrator.performance.latency.mapping import Engine, Mapping

CATALOG = Catalog.load()
HARDWARE = CATALOG.hardware("halo")
MODELS = ("llama-2-7b", "qwen3-8b")
GRID = tuple((prompt, output) for prompt in (128, 512, 2048, 4096, 8192) for output in (128, 512, 2048))
OTHERS = (Mapping.CENT, Mapping.ATTACC, Mapping.CIM)
# TTFT ms, TPOT us, E2E ms, E2E of AttAcc and CENT over HALO's.
TABLE = {
    ("llama-2-7b", 128, 128): (9.6, 300, 47.9, 25.5, 1.38),
    ("llama-2-7b", 128, 2048): (9.6, 311, 647, 30.0, 1.03),
    ("llama-2-7b", 2048, 128): (47.6, 323, 88.9, 14.2, 6.00),
    ("llama-2-7b", 2048, 512): (47.6, 325, 214, 22.9, 3.08),
    ("llama-2-7b", 2048, 2048): (47.6, 334, 731, 26.7, 1.61),
    ("llama-2-7b", 8192, 128): (399, 395, 450, 3.6, 5.80),
    ("llama-2-7b", 8192, 2048): (399, 406, 1231, 16.3, 2.76),
    ("qwen3-8b", 2048, 512): (52.2, 370, 241.6, 23.3, 2.98),  # end-to-end time from the other two
}


@dataclass(frozen=True, slots=True)
class Served:
    """Times of one request."""

    ttft_s: float
    tpot_s: float
    e2e_s: float


@cache
def serve(model: str, mapping: Mapping, prompt: int, output: int) -> Served:
    """A request alone on the device; its `output` tokens come from as many decode steps, as in the source."""
    latency = InMemoryLatency(HARDWARE, CATALOG.model(model), mapping)
    ttft_s = float(latency.iteration_s(Batch.prefill(1, prompt)))
    steps_s = latency.iteration_s(Batch.decode(np.ones(output), prompt + np.arange(1.0, output + 1)))
    return Served(ttft_s, float(steps_s.mean()), ttft_s + float(steps_s.sum()))


def ratio(model: str, mapping: Mapping, prompt: int, output: int) -> float:
    """End-to-end time over that of HALO's mapping."""
    return serve(model, mapping, prompt, output).e2e_s / serve(model, Mapping.HALO, prompt, output).e2e_s


def mean_ratio(mapping: Mapping) -> float:
    """Geometric mean over models and grid."""
    return float(np.exp(np.mean([np.log(ratio(model, mapping, *point)) for model in MODELS for point in GRID])))


def worst(key: tuple[str, int, int], published: tuple[float, ...]) -> float:
    """Largest relative difference of a row from the published one."""
    halo = serve(key[0], Mapping.HALO, *key[1:])
    found = (halo.ttft_s * 1e3, halo.tpot_s * 1e6, halo.e2e_s * 1e3, ratio(key[0], Mapping.ATTACC, *key[1:]),
             ratio(key[0], Mapping.CENT, *key[1:]))  # fmt: skip
    return max(abs(a / b - 1) for a, b in zip(found, published, strict=True))


def table(bench: Bench) -> None:
    """Every point of the grid; the published rows are checked."""
    for model in MODELS:
        for prompt, output in GRID:
            halo, others = serve(model, Mapping.HALO, prompt, output), {}
            for mapping in OTHERS:
                others[f"{mapping.value}_ratio"] = ratio(model, mapping, prompt, output)
            bench.figure(
                model=model, prompt=prompt, output=output, ttft_ms=halo.ttft_s * 1e3, tpot_us=halo.tpot_s * 1e6,
                e2e_ms=halo.e2e_s * 1e3, **others,
            )  # fmt: skip
    for (model, prompt, output), published in TABLE.items():
        off = worst((model, prompt, output), published)
        bench.check(Check(f"{model} ({prompt}, {output}): worst difference from the table", off, "<=", 0.02))


def shape(bench: Bench) -> None:
    """Means, ordering and limits."""
    for mapping, published, tolerance in ((Mapping.ATTACC, 18.0, 0.5), (Mapping.CENT, 2.50, 0.08)):
        mean = mean_ratio(mapping)
        bench.note(f"geometric mean of {mapping.value} over halo: {mean:.2f} (calibrated to {published:g})")
        bench.check(Check(f"{mapping.value}: mean ratio off by", abs(mean - published), "<=", tolerance))
    bench.note(f"geometric mean of cim over halo: {mean_ratio(Mapping.CIM):.2f}")
    points = [(model, prompt, output) for model in MODELS for prompt, output in GRID]
    least = min(ratio(m, mapping, s, o) for m, s, o in points for mapping in OTHERS)
    bench.check(Check("least ratio of any mapping at any point", least, ">=", 1.0))
    prefill = max(serve(m, Mapping.ATTACC, s, o).ttft_s / serve(m, Mapping.HALO, s, o).ttft_s for m, s, o in points)
    bench.check(Check("attacc: worst TTFT over halo's", prefill, "<=", 1.10))
    decode = [serve(m, Mapping.CENT, s, o).tpot_s - serve(m, Mapping.HALO, s, o).tpot_s for m, s, o in points]
    bench.check(Check("cent: TPOT less halo's", max(map(abs, decode)), "==", 0))
    bench.check(
        Check("cent over halo at 65,536 output tokens", ratio(MODELS[0], Mapping.CENT, 512, 65_536), "<=", 1.01)
    )


def floors(bench: Bench) -> None:
    """Every weight read once per decode step: at the banks, or into the arrays."""
    model, engines = CATALOG.model("llama-2-7b"), HARDWARE.in_memory
    assert engines is not None
    weight_bytes = model.parameters - model.vocabulary * model.hidden
    rates = {Mapping.HALO: engines.dram_bytes_per_s, Mapping.ATTACC: engines.array_load_bytes_per_s}
    for mapping, bytes_per_s in rates.items():
        tpot_s = serve("llama-2-7b", mapping, 128, 128).tpot_s
        bench.check(
            Check(
                f"{mapping.value}: TPOT over the time to read the weights", tpot_s * bytes_per_s / weight_bytes, ">=", 1
            )
        )


def crossover(bench: Bench) -> None:
    """Rows from which the arrays are faster, by operator; and what it gains to choose for each."""
    model = CATALOG.model("llama-2-7b")
    operators, rows = InMemoryOperators(HARDWARE, model, ARRAYS), np.arange(1.0, 257.0)
    for operator in Linear:
        dram_s, array_s = (operators.linear_s(engine, operator, rows) for engine in (Engine.DRAM, Engine.ARRAY))
        first = float(rows[array_s < dram_s][0])
        bench.check(Check(f"{operator.value}: rows at the crossover", first, ">=", 32))
        bench.check(Check(f"{operator.value}: rows at the crossover", first, "<=", 64))
    batch = Batch.decode(np.exp2(np.arange(9.0)), 2048)
    chosen_s = InMemoryLatency(HARDWARE, model).iteration_s(batch)
    fixed_s = np.array([InMemoryLatency(HARDWARE, model, m).iteration_s(batch) for m in (Mapping.HALO, *OTHERS)])
    gain = float((fixed_s.min(axis=0) / chosen_s).min())
    bench.check(Check("best fixed mapping over the choice per operator, decodes of 1 to 256", gain, ">=", 1.0))


def measure(bench: Bench) -> None:
    """All of it; the same with --quick."""
    table(bench)
    shape(bench)
    floors(bench)
    crossover(bench)


if __name__ == "__main__":
    run("papers.halo", measure, __doc__)
