"""HALO's operator model and mappings against its published and calibrated figures. Source: HALO §4 to §6, §9.1 to §9.6."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from orchestrator.performance.batch import Batch
from orchestrator.performance.catalog import Catalog
from orchestrator.performance.error import CatalogError
from orchestrator.performance.latency.arithmetic import ARRAYS
from orchestrator.performance.latency.base import Point, ScalarModel
from orchestrator.performance.latency.in_memory import InMemoryLatency
from orchestrator.performance.latency.in_memory_operators import InMemoryOperators, Linear
from orchestrator.performance.latency.mapping import Engine, Mapping
from orchestrator.performance.latency.row import Row, arrays, one

CATALOG = Catalog.load()
HALO = CATALOG.hardware("halo")
LLAMA, QWEN = CATALOG.model("llama-2-7b"), CATALOG.model("qwen3-8b")
MODELS = ("llama-2-7b", "qwen3-8b")
PROMPTS, OUTPUTS = (128, 512, 2048, 4096, 8192), (128, 512, 2048)
GRID = [(prompt, output) for prompt in PROMPTS for output in OUTPUTS]
FIXED = (Mapping.HALO, Mapping.CENT, Mapping.ATTACC, Mapping.CIM)


@dataclass(frozen=True)
class Served:
    """One request on its own."""

    ttft_s: float
    tpot_s: float
    e2e_s: float


@cache
def serve(model: str, mapping: Mapping, prompt: int, output: int) -> Served:
    latency = InMemoryLatency(HALO, CATALOG.model(model), mapping)
    ttft = float(latency.iteration_s(Batch.prefill(1, prompt)))
    steps = latency.iteration_s(Batch.decode(np.ones(output), prompt + np.arange(1, output + 1)))
    return Served(ttft, float(steps.mean()), ttft + float(steps.sum()))


def mean_ratio(figure: str, mapping: Mapping, models=MODELS) -> float:
    """Geometric mean over the grid of `mapping` over HALO."""
    rows = [(model, *point) for model in models for point in GRID]
    ratios = [
        getattr(serve(model, mapping, s, o), figure) / getattr(serve(model, Mapping.HALO, s, o), figure)
        for model, s, o in rows
    ]
    return float(np.exp(np.mean(np.log(ratios))))


def test_mean_speedups_over_the_grid():
    assert mean_ratio("e2e_s", Mapping.ATTACC) == pytest.approx(18.0, abs=0.5)
    assert mean_ratio("e2e_s", Mapping.CENT) == pytest.approx(2.50, abs=0.08)


@pytest.mark.parametrize(
    ("model", "attacc", "cent", "cim", "prefill_cent", "decode_attacc"),
    [("llama-2-7b", 17.9, 2.53, 20.0, 7.0, 28.3), ("qwen3-8b", 18.1, 2.47, 18.6, 6.9, 28.4)],
)
def test_mean_speedups_of_each_model(model, attacc, cent, cim, prefill_cent, decode_attacc):
    assert mean_ratio("e2e_s", Mapping.ATTACC, (model,)) == pytest.approx(attacc, rel=0.01)
    assert mean_ratio("e2e_s", Mapping.CENT, (model,)) == pytest.approx(cent, rel=0.01)
    assert mean_ratio("e2e_s", Mapping.CIM, (model,)) == pytest.approx(cim, rel=0.01)
    assert mean_ratio("ttft_s", Mapping.CENT, (model,)) == pytest.approx(prefill_cent, rel=0.01)
    assert mean_ratio("tpot_s", Mapping.ATTACC, (model,)) == pytest.approx(decode_attacc, rel=0.01)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("prompt", "output"), GRID)
def test_halo_is_the_fastest_mapping(model, prompt, output):
    halo, cent, attacc, cim = (serve(model, mapping, prompt, output) for mapping in FIXED)
    assert halo.e2e_s <= min(cent.e2e_s, attacc.e2e_s, cim.e2e_s)
    assert cent.tpot_s == halo.tpot_s
    assert attacc.ttft_s == pytest.approx(halo.ttft_s, rel=0.10)


@pytest.mark.parametrize("model", MODELS)
def test_limits(model):
    def ratio(mapping, prompt, output):
        return serve(model, mapping, prompt, output).e2e_s / serve(model, Mapping.HALO, prompt, output).e2e_s

    outputs = (512, 2048, 8192, 65536)
    cent = [ratio(Mapping.CENT, 512, output) for output in outputs]
    assert cent == sorted(cent, reverse=True)
    assert cent[-1] == pytest.approx(1, abs=0.01)
    for output in (16384, 65536):
        decode = serve(model, Mapping.ATTACC, 512, output).tpot_s / serve(model, Mapping.HALO, 512, output).tpot_s
        assert ratio(Mapping.ATTACC, 512, output) == pytest.approx(decode, rel=0.01)
    attacc = [ratio(Mapping.ATTACC, prompt, 512) for prompt in PROMPTS]
    assert attacc == sorted(attacc, reverse=True)


def test_attacc_tends_to_the_decode_ratio_of_about_30():
    served = [serve("llama-2-7b", mapping, 128, 2048) for mapping in (Mapping.ATTACC, Mapping.HALO)]
    assert served[0].e2e_s / served[1].e2e_s == pytest.approx(30, abs=1)


@pytest.mark.parametrize(
    ("prompt", "output", "ttft_ms", "tpot_us", "e2e_ms", "attacc", "cent"),
    [
        (128, 128, 9.6, 300, 47.9, 25.5, 1.38),
        (128, 2048, 9.6, 311, 647, 30.0, 1.03),
        (2048, 128, 47.6, 323, 88.9, 14.2, 6.00),
        (2048, 512, 47.6, 325, 214, 22.9, 3.08),
        (2048, 2048, 47.6, 334, 731, 26.7, 1.61),
        (8192, 128, 399, 395, 450, 3.6, 5.80),
        (8192, 2048, 399, 406, 1231, 16.3, 2.76),
    ],
)
def test_table_of_llama(prompt, output, ttft_ms, tpot_us, e2e_ms, attacc, cent):
    halo = serve("llama-2-7b", Mapping.HALO, prompt, output)
    assert halo.ttft_s * 1e3 == pytest.approx(ttft_ms, rel=0.01)
    assert halo.tpot_s * 1e6 == pytest.approx(tpot_us, rel=0.01)
    assert halo.e2e_s * 1e3 == pytest.approx(e2e_ms, rel=0.01)
    assert serve("llama-2-7b", Mapping.ATTACC, prompt, output).e2e_s / halo.e2e_s == pytest.approx(attacc, rel=0.01)
    assert serve("llama-2-7b", Mapping.CENT, prompt, output).e2e_s / halo.e2e_s == pytest.approx(cent, rel=0.01)


def test_table_row_of_qwen():
    halo = serve("qwen3-8b", Mapping.HALO, 2048, 512)
    assert halo.ttft_s == pytest.approx(52.2e-3, rel=0.01)
    assert halo.tpot_s == pytest.approx(370e-6, rel=0.01)
    assert serve("qwen3-8b", Mapping.ATTACC, 2048, 512).e2e_s / halo.e2e_s == pytest.approx(23.3, rel=0.01)
    assert serve("qwen3-8b", Mapping.CENT, 2048, 512).e2e_s / halo.e2e_s == pytest.approx(2.98, rel=0.01)


@pytest.mark.parametrize("operator", [operator for operator in Linear if operator is not Linear.HEAD])
def test_engines_cross_over_between_32_and_64_rows(operator):
    operators, rows = InMemoryOperators(HALO, LLAMA, ARRAYS), np.arange(1.0, 257.0)
    dram, array = (operators.linear_s(engine, operator, rows) for engine in (Engine.DRAM, Engine.ARRAY))
    wins = array < dram
    crossover = rows[wins][0]
    assert 32 < crossover < 64
    assert wins[rows >= crossover].all()
    assert operators.crossover_tokens == pytest.approx(43, abs=0.5)
    assert crossover == pytest.approx(operators.crossover_tokens, rel=0.05)


@pytest.mark.parametrize("write_back", [False, True])
@pytest.mark.parametrize("model", [LLAMA, QWEN], ids=MODELS)
def test_choosing_per_operator_is_never_slower_than_a_fixed_mapping(model, write_back):
    rng = np.random.default_rng(3)
    prefills, decodes = rng.integers(0, 5, 2000).astype(float), rng.integers(0, 130, 2000).astype(float)
    batch = replace(
        Batch.prefill(prefills, rng.integers(1, 700, 2000), rng.integers(0, 300, 2000)),
        decode_requests=decodes, decode_context_tokens=decodes * rng.integers(1, 8000, 2000),
    )  # fmt: skip
    chosen = InMemoryLatency(HALO, model, Mapping.FASTEST, write_back).iteration_s(batch)
    faster = 0
    for mapping in FIXED:
        fixed = InMemoryLatency(HALO, model, mapping, write_back).iteration_s(batch)
        assert (chosen <= fixed).all()
        faster += int((chosen < fixed).sum())
    assert faster > 2000


def test_choosing_follows_the_batch():
    chosen = InMemoryLatency(HALO, LLAMA)
    for requests, mapping in ((1, Mapping.HALO), (256, Mapping.ATTACC)):
        batch = Batch.decode(requests, 2048)
        assert chosen.iteration_s(batch) == InMemoryLatency(HALO, LLAMA, mapping).iteration_s(batch)
    short, long = Batch.prefill(1, 16), Batch.prefill(1, 2048)
    halo = InMemoryLatency(HALO, LLAMA, Mapping.HALO)
    assert chosen.iteration_s(short) < 0.5 * halo.iteration_s(short)
    assert chosen.iteration_s(long) == halo.iteration_s(long)


def test_decode_stays_above_the_floor_of_its_bandwidth():
    """6.6 GB of int8 weights at the banks, or loaded into the arrays."""
    weights = LLAMA.parameters - LLAMA.vocabulary * LLAMA.hidden
    assert weights == pytest.approx(6.6e9, rel=0.01)
    floor, attacc_floor = weights / HALO.in_memory.dram_bytes_per_s, weights / HALO.in_memory.array_load_bytes_per_s
    assert floor == pytest.approx(219e-6, rel=0.01)
    assert attacc_floor == pytest.approx(9.4e-3, rel=0.01)
    assert floor < serve("llama-2-7b", Mapping.HALO, 128, 128).tpot_s < 1.5 * floor
    assert attacc_floor < serve("llama-2-7b", Mapping.ATTACC, 128, 128).tpot_s < 1.1 * attacc_floor


def test_write_back_adds_the_kv_bytes_at_the_external_bandwidth():
    """0.54 GB of int8 KV at 2048 tokens: 0.16 ms."""
    batch = Batch.prefill(1, 2048)
    plain, written = (InMemoryLatency(HALO, LLAMA, Mapping.HALO, on).iteration_s(batch) for on in (False, True))
    assert written - plain == pytest.approx(0.16e-3, rel=0.01)
    at_banks = [InMemoryLatency(HALO, LLAMA, Mapping.CENT, on).iteration_s(batch) for on in (False, True)]
    assert at_banks[0] == at_banks[1]


def test_mixed_batches_share_a_pass_only_on_one_engine():
    prefill, decode = Batch.prefill(1, 512), Batch.decode(8, 1024)
    mixed = replace(prefill, decode_requests=8.0, decode_context_tokens=8192.0)

    def saved(mapping):
        model = InMemoryLatency(HALO, LLAMA, mapping)
        return model.iteration_s(prefill) + model.iteration_s(decode) - model.iteration_s(mixed)

    loads = 32 * (6.6e9 - 131e6) / 32 / HALO.in_memory.array_load_bytes_per_s
    assert saved(Mapping.CIM) == pytest.approx(loads, rel=0.05)
    assert saved(Mapping.HALO) < 0.01 * loads


@pytest.mark.parametrize("mapping", Mapping)
def test_one_row_is_the_same_in_floats_and_in_arrays(mapping):
    rng = np.random.default_rng(5)
    batch = replace(
        Batch.prefill(rng.integers(0, 3, 30).astype(float), rng.integers(1, 900, 30), rng.integers(0, 90, 30)),
        decode_requests=rng.integers(0, 90, 30).astype(float), decode_context_tokens=rng.integers(90, 9000, 30) * 1.0,
    )  # fmt: skip
    model = InMemoryLatency(HALO, QWEN, mapping, write_back=True)
    assert isinstance(model, ScalarModel)
    rows = [model.one_s(Row(*(float(field[i]) for field in arrays(batch)))) for i in range(30)]
    assert rows == pytest.approx(model.iteration_s(batch), rel=1e-12)


def test_empty_rows_take_no_time():
    model = InMemoryLatency(HALO, LLAMA)
    assert model.iteration_s(Batch.decode(np.array([0.0, 1.0, 64.0]), 1000))[0] == 0
    assert model.iteration_s(Batch()) == 0
    assert model.one_s(one()) == 0


def test_full_points_broadcast():
    times = InMemoryLatency(HALO, LLAMA).iteration_s(Batch.decode(1, 1000), Point(clock=np.ones(3)))
    assert times.shape == (3,)
    assert (times == InMemoryLatency(HALO, LLAMA).one_s(one(decode_requests=1, decode_context_tokens=1000))).all()


def test_partitions_and_clocks_are_refused():
    for point in (Point(sm_share=0.5), Point(clock=np.array([1.0, 0.8]))):
        with pytest.raises(CatalogError, match="neither partitions nor clocks; hardware halo"):
            InMemoryLatency(HALO, LLAMA).iteration_s(Batch.decode(1, 1), point)


def test_hardware_without_engines_is_refused():
    with pytest.raises(CatalogError, match="no in-memory engines; hardware h100"):
        InMemoryLatency(CATALOG.hardware("h100"), LLAMA)
