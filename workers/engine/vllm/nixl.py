"""vLLM's NixlConnector: the decode server reads the prefill server's blocks over NIXL.

The role belongs to the request: a server serves both. Source: vLLM 0.32, `kv_connector/v1/nixl/pull_scheduler.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from workers.engine.vllm.handoff import HandoffError, Shape

KEY = "kv_transfer_params"
NEEDED = ("remote_engine_id", "remote_request_id", "remote_host", "remote_port", "remote_block_ids")
"""Without one of these a decode server computes the prompt itself, and only logs a warning."""
LEAST_LEASE_S = 6
"""The decode side renews six times a lease, in whole seconds."""


class NixlHandoff:
    """See Handoff. The parameters are relayed as they came."""

    name = "nixl"
    shape = Shape(peer_first=False, concurrent=False)

    def prefill_fields(self) -> dict[str, Any]:
        empty = dict.fromkeys(("remote_engine_id", "remote_block_ids", "remote_host", "remote_port"))
        return {KEY: {"do_remote_decode": True, "do_remote_prefill": False, **empty}}

    def collect(self, answer: Mapping[str, Any]) -> bytes:
        parameters = answer.get(KEY)
        if not isinstance(parameters, dict):
            raise HandoffError(f"vLLM returned no {KEY}: start it with --kv-transfer-config and NixlConnector")
        if missing := [name for name in NEEDED if not parameters.get(name)]:
            raise HandoffError(f"{KEY} of the prefill leg lacks {', '.join(missing)}")
        return orjson.dumps(parameters)

    def computed_tokens(self, answer: Mapping[str, Any]) -> int | None:
        found = answer[KEY].get("remote_num_tokens")
        return found if isinstance(found, int) else None

    def decode_fields(self, handoff: bytes) -> dict[str, Any]:
        try:
            return {KEY: orjson.loads(handoff)}
        except orjson.JSONDecodeError as error:
            raise HandoffError(f"{KEY} are no JSON: {error}") from None

    def server_config(self, lease_s: float, on_cpu: bool) -> dict[str, Any]:
        extra: dict[str, Any] = {"kv_lease_duration": max(LEAST_LEASE_S, math.ceil(lease_s))}
        config: dict[str, Any] = {"kv_connector": "NixlConnector", "kv_role": "kv_both"}
        if on_cpu:
            config["kv_buffer_device"] = "cpu"
            extra["num_threads"] = 0
        return {**config, "kv_connector_extra_config": extra}
