"""SPAD's operator roofline against its published sweeps. Source: SPAD §5, §10.3 to §10.6."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.performance.batch import Batch
from orchestrator.performance.catalog import Catalog
from orchestrator.performance.chip import geometry
from orchestrator.performance.error import CatalogError
from orchestrator.performance.hardware import Hardware
from orchestrator.performance.latency.arithmetic import FLOATS
from orchestrator.performance.latency.base import Point, ScalarModel
from orchestrator.performance.latency.dense import dense_pairs
from orchestrator.performance.latency.row import Row, arrays, one
from orchestrator.performance.latency.tile_operators import Calibration
from orchestrator.performance.latency.tiles import Tiles
from orchestrator.performance.memory import kv_capacity_tokens

CATALOG = Catalog.load()
BLOOM = CATALOG.model("bloom-176b")
PREFILL_CHIP, DECODE_CHIP, H100 = (CATALOG.hardware(name) for name in ("spad-prefill", "spad-decode", "h100"))
PREFILL, DECODE = Batch.prefill(2, 1024), Batch.decode(64, 1024)


def seconds(hardware: Hardware, batch: Batch):
    return Tiles(hardware, BLOOM, tensor_parallel=8).iteration_s(batch)


def with_bandwidth(gb_per_s: float) -> Hardware:
    return replace(H100, memory_bytes_per_s=gb_per_s * 1e9)


def with_cores(cores: int) -> Hardware:
    return replace(H100, chip=replace(geometry(H100), cores=cores))


BANDWIDTH_SWEEP = [(1000, 1.59), (1500, 1.32), (2000, 1.17), (2500, 1.08), (4000, 0.97)]
CORE_SWEEP = [(44, 1.40), (66, 1.22), (108, 1.02), (144, 0.99), (160, 0.99)]


@pytest.mark.parametrize(("gb_per_s", "published"), BANDWIDTH_SWEEP)
def test_bandwidth_sweep_of_prefill(gb_per_s, published):
    assert seconds(with_bandwidth(gb_per_s), PREFILL) / seconds(H100, PREFILL) == pytest.approx(published, rel=0.03)


@pytest.mark.parametrize(("cores", "published"), CORE_SWEEP)
def test_core_sweep_of_decode(cores, published):
    assert seconds(with_cores(cores), DECODE) / seconds(H100, DECODE) == pytest.approx(published, rel=0.03)


def fitting(hardware: Hardware) -> tuple[np.ndarray, np.ndarray]:
    """Requests and tokens of the grid that fit eight of `hardware` and eight H100."""
    room = min(kv_capacity_tokens(h, BLOOM, "float16", 8) for h in (hardware, H100))
    requests, tokens = np.meshgrid(2.0 ** np.arange(7), 2.0 ** np.arange(8, 14))
    fits = requests * tokens <= room
    return requests[fits], tokens[fits]


@pytest.mark.parametrize(
    ("hardware", "phase", "published"),
    [
        (PREFILL_CHIP, Batch.prefill, 1.08),
        (DECODE_CHIP, Batch.prefill, 0.69),
        (PREFILL_CHIP, Batch.decode, 0.80),
        (DECODE_CHIP, Batch.decode, 0.97),
    ],
)
def test_mean_performance_over_the_h100(hardware, phase, published):
    batches = phase(*fitting(hardware))
    mean = np.exp(np.mean(np.log(seconds(H100, batches) / seconds(hardware, batches))))
    assert mean == pytest.approx(published, rel=0.04)


def test_the_grid_is_cut_by_memory():
    assert kv_capacity_tokens(PREFILL_CHIP, BLOOM, "float16", 8) == pytest.approx(35_600, rel=0.01)
    assert kv_capacity_tokens(H100, BLOOM, "float16", 8) == pytest.approx(66_400, rel=0.01)
    assert len(fitting(PREFILL_CHIP)[0]) < len(fitting(DECODE_CHIP)[0]) < 42


def test_absolute_level():
    assert 0.21 <= seconds(H100, PREFILL) <= 0.22
    assert 0.042 <= seconds(H100, DECODE) <= 0.048


def prefill_share(hardware: Hardware) -> float:
    """SPAD §5.1: prefill of 2 x 1024 over the H100's."""
    return 0.48 * 989e12 / hardware.compute_flops["float16"] + 0.25 * 3352e9 / hardware.memory_bytes_per_s + 0.27


def decode_share(hardware: Hardware) -> float:
    """SPAD §5.1: decode of 64 x 1024 over the H100's. In the core sweep the compute rate is left as it is."""
    cores, flops = geometry(hardware).cores, hardware.compute_flops["float16"]
    return 0.43 * 3352e9 / hardware.memory_bytes_per_s + 0.20 * 132 / cores + 0.06 * 989e12 / flops + 0.31


@pytest.mark.parametrize("hardware", [*(with_bandwidth(row[0]) for row in BANDWIDTH_SWEEP), PREFILL_CHIP])
def test_share_model_agrees_on_prefill(hardware):
    assert seconds(hardware, PREFILL) / seconds(H100, PREFILL) == pytest.approx(prefill_share(hardware), rel=0.03)


@pytest.mark.parametrize("hardware", [*(with_cores(row[0]) for row in CORE_SWEEP), DECODE_CHIP])
def test_share_model_agrees_on_decode(hardware):
    assert seconds(hardware, DECODE) / seconds(H100, DECODE) == pytest.approx(decode_share(hardware), rel=0.03)


def test_share_model_is_rougher_on_chips_in_the_other_role():
    """It is fitted to the sweeps, which leave arrays and vector units as they are."""
    prefill = seconds(DECODE_CHIP, PREFILL) / seconds(H100, PREFILL)
    assert prefill == pytest.approx(prefill_share(DECODE_CHIP), rel=0.05)
    decode = seconds(PREFILL_CHIP, DECODE) / seconds(H100, DECODE)
    assert decode == pytest.approx(decode_share(PREFILL_CHIP), rel=0.05)


def test_mixed_batches_share_gemms_but_not_attention():
    mixed = replace(PREFILL, decode_requests=64.0, decode_context_tokens=65536.0)
    together, apart = seconds(H100, mixed), seconds(H100, PREFILL) + seconds(H100, DECODE)
    assert seconds(H100, PREFILL) < together < apart


def test_one_row_is_the_same_in_floats_and_in_arrays():
    rng = np.random.default_rng(7)
    batch = replace(
        Batch.prefill(rng.integers(0, 4, 50).astype(float), rng.integers(1, 4000, 50), rng.integers(0, 500, 50)),
        decode_requests=rng.integers(0, 65, 50).astype(float), decode_context_tokens=rng.integers(64, 64000, 50) * 1.0,
    )  # fmt: skip
    model, point = Tiles(DECODE_CHIP, CATALOG.model("llama-2-70b"), 4), Point(sm_share=0.6, clock=0.9)
    assert isinstance(model, ScalarModel)
    together = model.iteration_s(batch, point)
    rows = [model.one_s(Row(*(float(field[i]) for field in arrays(batch))), point) for i in range(50)]
    assert rows == pytest.approx(together, rel=1e-12)


def test_empty_rows_take_no_time():
    assert seconds(H100, Batch()) == 0
    assert Tiles(H100, BLOOM, 8).one_s(one()) == 0
    assert seconds(H100, Batch.decode(np.array([0.0, 3.0]), 10))[0] == 0


def test_dense_pairs_are_exact_for_unequal_prompts():
    def dense(tokens, pairs, context):
        return dense_pairs(Row(tokens, pairs, context, 3.0, 0.0, 0.0), FLOATS)

    lengths, cached = np.array([10.0, 700.0, 33.0]), np.array([5.0, 0.0, 90.0])
    assert dense(lengths.sum(), (lengths * (lengths + 1) / 2).sum(), lengths.sum()) == (lengths**2).sum()
    assert dense(300.0, (100 * (cached + 50.5)).sum(), (cached + 100).sum()) == (100 * (cached + 100)).sum()
    assert dense(lengths.sum(), 1.0, (lengths + cached).sum()) == 1.0  # never fewer than the causal pairs


def test_fewer_and_slower_cores_take_longer_with_the_same_bandwidth():
    model = Tiles(H100, BLOOM, 8)
    half = model.iteration_s(PREFILL, Point(sm_share=0.5))
    assert half == pytest.approx(float(model.iteration_s(PREFILL, Point(clock=0.5))))
    assert model.iteration_s(PREFILL) * 1.3 < half < model.iteration_s(PREFILL) * 2
    decode = model.iteration_s(DECODE, Point(sm_share=np.array([0.5, 1.0])))
    assert decode[1] < decode[0] < 1.3 * decode[1]


def test_one_device_needs_no_all_reduce():
    llama = CATALOG.model("llama-3.1-8b")
    with_link = Tiles(H100, llama).iteration_s(DECODE)
    assert with_link == Tiles(replace(H100, scale_up_bytes_per_s=1.0), llama).iteration_s(DECODE)


def test_grouped_queries_read_less_kv():
    llama = CATALOG.model("llama-3.1-8b")
    ungrouped = replace(llama, kv_heads=llama.heads)
    long = Batch.decode(16, 16384)
    assert Tiles(H100, llama).iteration_s(long) < 0.6 * Tiles(H100, ungrouped).iteration_s(long)


def test_calibration_changes_the_result():
    ideal = Calibration(compute=1.0, memory=1.0, exponent=64.0, gemm_s=0, vector_s=0, feed_bytes_per_s=1e15)
    llama = CATALOG.model("llama-3.1-8b")
    floor = 2 * (llama.parameters - 2 * llama.vocabulary * llama.hidden) / H100.memory_bytes_per_s
    decode = Tiles(H100, llama, calibration=ideal).iteration_s(Batch.decode(1, 1))
    assert floor < decode < 1.1 * floor


@pytest.mark.parametrize("degree", [0, 3])
def test_a_split_that_does_not_divide_is_refused(degree):
    with pytest.raises(CatalogError, match=f"over {degree} devices; model bloom-176b"):
        Tiles(H100, BLOOM, degree)


def test_hardware_without_geometry_is_refused():
    with pytest.raises(CatalogError, match="hardware l20"):
        Tiles(CATALOG.hardware("l20"), BLOOM, 8)
