"""What a running server says it is, and whether it answers at all."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from tests.vllm.driver import Driven
from workers.engine.vllm.client import HttpError
from workers.engine.vllm.facts import Facts, facts_of
from workers.engine.vllm.server import healthy


async def test_facts(driven: Driven) -> None:
    assert await facts_of(driven.client, "m") == Facts("0.32.0", "m", 512, 64, 4, "auto")


async def test_another_model(driven: Driven) -> None:
    with pytest.raises(HttpError, match=r"it serves m, not tiny: set spec\.model\.name"):
        await facts_of(driven.client, "tiny")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", {}),
        ("version", []),
        ("models", {"data": None}),
        ("models", {"data": [{"id": "m"}]}),
        ("models", {"data": [{"id": "m", "max_model_len": None}]}),
        ("models", {"data": ["m"]}),
        ("models", []),
    ],
)
async def test_server_that_is_no_vllm(driven: Driven, field: str, value: Any) -> None:
    setattr(driven.double, field, value)
    with pytest.raises(HttpError, match="not as vLLM does"):
        await facts_of(driven.client, "m")


@pytest.mark.parametrize(
    "text",
    ["", 'vllm:cache_config_info{block_size="4",num_gpu_blocks="None"} 1.0\n', 'vllm:cache_config_info{a="b"} 1.0\n'],
)
async def test_metrics_without_a_cache(driven: Driven, text: str) -> None:
    driven.double.metrics = text
    with pytest.raises(HttpError, match="name no KV cache"):
        await facts_of(driven.client, "m")


async def test_health(driven: Driven) -> None:
    driven.double.health = deque([503, 200])
    assert [await healthy(driven.client) for _ in range(3)] == [False, True, True]


async def test_path_that_is_missing(driven: Driven, monkeypatch: pytest.MonkeyPatch) -> None:
    async def get(path: str, timeout_s: float) -> tuple[int, bytes]:
        return 404, b""

    monkeypatch.setattr(driven.client, "get", get)
    with pytest.raises(HttpError, match="/version answered 404"):
        await facts_of(driven.client, "m")
