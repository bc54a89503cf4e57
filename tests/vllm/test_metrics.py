"""What a server says of itself on /metrics, and what becomes of it in a worker's statistics."""

from __future__ import annotations

import asyncio

import pytest

from tests.vllm.driver import Driven
from tests.vllm.server_double import ServerDouble
from workers.engine.vllm import watch as module
from workers.engine.vllm.metrics import Sample, read
from workers.engine.vllm.watch import MetricsWatch

TEXT = b"""\
# HELP python_gc_objects_collected_total Objects collected during gc
python_gc_objects_collected_total{generation="0"} 7.0
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 3.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.25
vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="128"} 1.0
vllm:iteration_tokens_total_sum{engine="0",model_name="m"} 900.0
vllm:iteration_tokens_total_bucket{engine="0",le="8.0",model_name="m"} 11.0
vllm:iteration_tokens_total_count{engine="0",model_name="m"} 12.0
vllm:iteration_tokens_total_count{engine="1",model_name="m"} 13.0
vllm:iteration_tokens_total_created{engine="0",model_name="m"} 1.7e+09
vllm:prompt_tokens_by_source_total{engine="0",source="external_kv_transfer"} 64.0
vllm:prompt_tokens_by_source_total{engine="0",source="local_compute"} 100.0
vllm:prompt_tokens_by_source_total{engine="1",source="external_kv_transfer"} 6.0
vllm:request_success_total{engine="0",finished_reason="stop"} 4.0
vllm:nixl_bytes_transferred_sum 1.5e+06
"""


def test_sums_over_engines() -> None:
    sample = read(TEXT)
    assert sample.engines == 2
    assert sample.get("num_requests_running") == 5.0
    assert sample.kv_usage == pytest.approx(0.375)
    assert sample.steps == 25
    assert sample.get("nixl_bytes_transferred_sum") == 1_500_000
    assert sample.config["num_gpu_blocks"] == "128"


def test_labels_that_tell_apart() -> None:
    sample = read(TEXT)
    assert sample.external_tokens == 70
    assert sample.get("prompt_tokens_by_source_total") == 170
    assert sample.get('request_success_total{finished_reason="stop"}') == 4


def test_buckets_and_foreign_lines_are_left_out() -> None:
    names = read(TEXT).values
    assert not [n for n in names if n.endswith(("_bucket", "_created")) or n.startswith("python")]


def test_nothing() -> None:
    assert read(b"") == Sample()
    assert (Sample().kv_usage, Sample().steps, Sample().external_tokens) == (0.0, 0, 0)


def test_label_values_may_hold_braces_and_quotes() -> None:
    text = b'vllm:cache_config_info{block_size="16",extra="{\\"a\\": 1}",num_gpu_blocks="9"} 1.0\n'
    assert read(text).config.items() >= {"block_size": "16", "num_gpu_blocks": "9"}.items()


async def test_a_sample_becomes_statistics(driven: Driven) -> None:
    watch = MetricsWatch(driven.engine, driven.client)
    stats = driven.engine.stats
    watch.take(read(driven.double.metrics.encode()))
    assert (stats.preemptions, stats.steps) == (2, 40)
    assert stats.kv_used_blocks == 16, "a quarter of 64: somebody else's"
    later = Sample(
        {
            "iteration_tokens_total_count": 50.0,
            "inter_token_latency_seconds_count": 10.0,
            "inter_token_latency_seconds_sum": 0.2,
            "nixl_bytes_transferred_sum": 4096.0,
            "nixl_num_kv_expired_reqs_total": 3.0,
        }
    )
    watch.take(later)
    assert (stats.steps, stats.kv_used_blocks, stats.lease_expiries) == (50, 0, 3)
    assert stats.step_time_s == pytest.approx(0.02)
    assert driven.engine.pulls == (4096, 0, 0)
    watch.take(later)
    assert stats.step_time_s == pytest.approx(0.02), "no token, no news"
    assert watch.sample is later
    driven.engine.check_integrity()


async def test_counters_never_go_back(driven: Driven) -> None:
    watch, stats = MetricsWatch(driven.engine, driven.client), driven.engine.stats
    stats.lease_expiries, stats.cached_prompt_tokens = 2, 32
    expired, hits = "nixl_num_kv_expired_reqs_total", "prefix_cache_hits_total"
    for said, told in ((1, 2), (2, 2), (3, 3)):
        watch.take(Sample({expired: float(said), hits: 16.0 * said}))
        assert (stats.lease_expiries, stats.cached_prompt_tokens) == (told, 16 * told)


async def test_watch_outlives_metrics_that_cannot_be_read(driven: Driven, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    good, asked, enough = driven.double.metrics.encode(), list[str](), asyncio.Event()

    async def get(path: str, timeout_s: float) -> tuple[int, bytes]:
        asked.append(path)
        if len(asked) == 3:
            enough.set()
        return 200, good if len(asked) == 2 else b"vllm:steps nonsense\n"

    monkeypatch.setattr(driven.client, "get", get)
    task = asyncio.create_task(MetricsWatch(driven.engine, driven.client).run())
    await asyncio.wait_for(enough.wait(), 10)
    task.cancel()
    assert driven.engine.stats.steps == 40


async def test_watch_reads_again_and_again(driven: Driven, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    watch = MetricsWatch(driven.engine, driven.client)
    double: ServerDouble = driven.double
    seen: list[int] = []
    enough = asyncio.Event()

    def take(sample: Sample) -> None:
        seen.append(sample.steps)
        double.metrics = double.metrics.replace(f"}} {len(seen) + 39}.0", f"}} {len(seen) + 40}.0")
        if len(seen) == 3:
            enough.set()

    monkeypatch.setattr(watch, "take", take)
    task = asyncio.create_task(watch.run())
    await asyncio.wait_for(enough.wait(), 10)
    task.cancel()
    assert seen[:3] == [40, 41, 42]


async def test_server_that_is_gone_leaves_the_numbers(
    driven: Driven, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    calls: list[str] = []
    enough = asyncio.Event()

    async def get(path: str, timeout_s: float) -> tuple[int, bytes]:
        calls.append(path)
        if len(calls) == 3:
            enough.set()
        raise module.HttpError("gone")

    monkeypatch.setattr(driven.client, "get", get)
    driven.engine.stats.steps = 5
    task = asyncio.create_task(MetricsWatch(driven.engine, driven.client).run())
    await asyncio.wait_for(enough.wait(), 10)
    task.cancel()
    assert driven.engine.stats.steps == 5
    assert caplog.text.count("gone") == 1, "said once"
