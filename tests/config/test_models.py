"""Several models in one file: names, pools, engines."""

from __future__ import annotations

import pytest

from orchestrator.core.config import Cluster, ConfigError, loads
from orchestrator.core.config.dump import dump, parse
from orchestrator.core.config.serving import EngineKind

HEAD = "apiVersion: pd/v1\nkind: Cluster\nspec:\n"
TWO = """  model: {path: demo, name: one}
  models: [{path: demo, name: two, dtype: bfloat16}]
"""
ONLY = "only vLLM workers use servers that run already"
URLS = "they must be URLs"


def spec_of(text: str) -> Cluster:
    return loads(HEAD + text)


def test_each_pool_serves_one_model_with_one_engine() -> None:
    pools = """  pools:
  - {name: a, role: both}
  - {name: b, role: both, model: two, engine: vllm}
"""
    cluster = spec_of(TWO + pools)
    spec = cluster.spec
    assert [model.served_name for model in spec.served] == ["one", "two"]
    assert [spec.model_of(pool).served_name for pool in spec.pools] == ["one", "two"]
    assert [spec.engine_of(pool) for pool in spec.pools] == [EngineKind.TORCH, EngineKind.VLLM]
    assert parse(dump(cluster)) == cluster


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        (TWO, "spec.pools", "no worker can prefill two"),
        ("  models: [{path: demo}]\n", "spec.models[0].name", "clients ask for a model by its name"),
        ("  models: [{path: demo, name: demo}]\n", "spec.models[0].name", "another model has this name"),
        (TWO + "  pools: [{name: a, role: both, model: tow}]\n", "spec.pools[0].model", "no model has this name"),
        ("  models: [{path: nowhere, name: two}]\n", "spec.models[0].path", "there is no such directory"),
        ("  pools: [{name: a, role: both, servers: 'http://h:1'}]\n", "spec.pools[0].servers", ONLY),
        ("  engine: {kind: vllm}\n  pools: [{name: a, role: both, servers: 'h:1'}]\n", "spec.pools[0].servers", URLS),
        (
            "  engine: {kind: vllm}\n  pools: [{name: a, role: both, servers: 'http://h:1 http://h:2'}]\n",
            "spec.pools[0].servers",
            "2 servers for 1 workers",
        ),
        (
            "  pools: [{name: a, role: prefill}, {name: b, role: decode, engine: vllm}]\n",
            "spec.pools",
            "KV of one engine cannot be read by another",
        ),
    ],
)
def test_what_cannot_run_is_named(text: str, path: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        spec_of(text)
    assert (path, reason) in [(problem.path, problem.reason) for problem in caught.value.problems]
