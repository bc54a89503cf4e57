"""Weights, KV capacity, and what does not fit."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from orchestrator.performance.catalog import Catalog, CatalogError
from orchestrator.performance.memory import (
    activation_bytes,
    divides,
    element_bytes,
    kv_bytes_per_token,
    kv_capacity_tokens,
    weight_bytes,
)

DISTSERVE = Path(__file__).parents[2] / ".." / "shared" / "profiles" / "distserve" / "max_num_tokens.csv.gz"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


def test_sizes_of_dtypes() -> None:
    assert [element_bytes(d) for d in ("float32", "bfloat16", "float8", "float4")] == [4, 2, 1, 0.5]
    with pytest.raises(CatalogError, match=r"unknown dtype 'bf16'; .*did you mean 'bfloat16'"):
        element_bytes("bf16")


def test_bloom_weighs_352_gb(catalog: Catalog) -> None:
    assert weight_bytes(catalog.model("bloom-176b"), "float16") == pytest.approx(352e9, rel=0.002)


@pytest.mark.parametrize(("name", "tokens"), [("spad-prefill", 35_600), ("spad-decode", 66_400), ("h100", 66_400)])
def test_a_machine_of_eight_holds_what_spad_says(catalog: Catalog, name: str, tokens: int) -> None:
    """SPAD §5.2."""
    capacity = kv_capacity_tokens(catalog.hardware(name), catalog.model("bloom-176b"), "float16", tensor_parallel=8)
    assert capacity == pytest.approx(tokens, rel=0.01)


def test_measured_capacities_of_voltana(catalog: Catalog) -> None:
    """VoltanaLLM §3.1: KVmax on A100-80GB, where the engine also keeps captured graphs."""
    a100 = catalog.hardware("a100-80g")
    llama = kv_capacity_tokens(a100, catalog.model("llama-3.1-8b"))
    qwen = kv_capacity_tokens(a100, catalog.model("qwen3-32b"), tensor_parallel=2)
    assert llama == pytest.approx(457_600, rel=0.06)
    assert qwen == pytest.approx(325_037, rel=0.06)
    assert llama > 457_600 and qwen > 325_037


def test_measured_capacities_of_distserve(catalog: Catalog) -> None:
    """OPT-13B on A100-80GB without pipeline stages; DistServe uses a little more than 0.9 of the memory."""
    if not DISTSERVE.exists():
        pytest.skip(f"no measured profiles at {DISTSERVE}")
    with gzip.open(DISTSERVE, "rt") as text:
        rows = [r for r in csv.DictReader(text) if (r["model"], r["pp"]) == ("facebook/opt-13b", "1")]
    a100, opt = catalog.hardware("a100-80g"), catalog.model("opt-13b")
    assert len(rows) == 5
    for row in rows:
        ratio = kv_capacity_tokens(a100, opt, "float16", int(row["tp"])) / int(row["max_num_tokens"])
        assert 0.94 < ratio < 0.98, row


def test_capacity_is_what_is_left(catalog: Catalog) -> None:
    h100, model = catalog.hardware("h100"), catalog.model("llama-3.1-8b")
    tokens = kv_capacity_tokens(h100, model)
    used = weight_bytes(model, "bfloat16") + tokens * kv_bytes_per_token(model, "bfloat16")
    usable = 0.9 * h100.memory_bytes
    assert used <= usable < used + kv_bytes_per_token(model, "bfloat16")
    assert kv_capacity_tokens(h100, model, utilization=0.5) < tokens
    assert kv_capacity_tokens(h100, model, kv_dtype="float8") == pytest.approx(2 * tokens, abs=1)
    reserve = activation_bytes(model, "bfloat16", 8192)
    left = kv_capacity_tokens(h100, model, activation_tokens=8192)
    assert (tokens - left) * kv_bytes_per_token(model, "bfloat16") == pytest.approx(reserve, rel=0.001)


def test_few_kv_heads_are_repeated(catalog: Catalog) -> None:
    model = catalog.model("qwen2.5-3b")  # two KV heads
    whole = kv_bytes_per_token(model, "bfloat16")
    assert [kv_bytes_per_token(model, "bfloat16", t) for t in (1, 2, 4, 8)] == [whole, whole / 2, whole / 2, whole / 2]
    split = weight_bytes(model, "bfloat16", 8)
    projections = 2 * model.layers * model.hidden * model.head_dim * model.kv_heads * 2
    assert split == pytest.approx((weight_bytes(model, "bfloat16") - projections) / 8 + projections / 2)


def test_splits_that_cannot_be_made(catalog: Catalog) -> None:
    model = catalog.model("r1-distill-qwen-7b")  # 28 heads, four KV heads
    assert [t for t in (1, 2, 3, 4, 8) if divides(model, t)] == [1, 2, 4]
    with pytest.raises(
        CatalogError, match=r"28 heads and 4 KV heads cannot be split over 8 devices; .*use tensor parallel 1, 2, 4"
    ):
        kv_capacity_tokens(catalog.hardware("h100"), model, tensor_parallel=8)
    with pytest.raises(CatalogError, match="over 0 devices"):
        kv_capacity_tokens(catalog.hardware("h100"), model, tensor_parallel=0)


@pytest.mark.parametrize(
    ("device", "model", "dtype", "degree"),
    [
        ("a100-80g", "llama-2-70b", "bfloat16", 2),
        ("h100", "bloom-176b", "bfloat16", 8),
        ("l20", "qwen3-32b", "bfloat16", 2),
    ],
)
def test_what_does_not_fit_names_the_smallest_degree_that_does(
    catalog: Catalog, device: str, model: str, dtype: str, degree: int
) -> None:
    hardware, shape = catalog.hardware(device), catalog.model(model)
    with pytest.raises(CatalogError, match=rf"{device}, tensor parallel 1; use tensor parallel {degree} or") as raised:
        kv_capacity_tokens(hardware, shape, dtype)
    assert f"needs {weight_bytes(shape, dtype) / 1e9:.1f} GB" in raised.value.what
    assert f"{hardware.memory_bytes * 0.9 / 1e9:.1f} GB are usable" in raised.value.what
    assert kv_capacity_tokens(hardware, shape, dtype, degree) > 0
    if degree > 2:
        with pytest.raises(CatalogError):
            kv_capacity_tokens(hardware, shape, dtype, degree // 2)


def test_what_fits_no_split_asks_for_a_larger_device(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match=r"use a device with more than (\d+\.\d) GB$") as raised:
        kv_capacity_tokens(catalog.hardware("cpu-core"), catalog.model("bloom-176b"), "float32")
    assert float(raised.value.do.split()[-2]) > 704 / 0.9


def test_a_share_beyond_the_memory_is_refused(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match=r"utilization = 1.2 is wrong"):
        kv_capacity_tokens(catalog.hardware("h100"), catalog.model("demo"), utilization=1.2)
