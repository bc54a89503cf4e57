"""What a running server says it is."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from workers.engine.vllm.bodies import TOKENS
from workers.engine.vllm.client import HttpClient, HttpError
from workers.engine.vllm.metrics import read

ASK_S = 10.0


@dataclass(frozen=True, slots=True)
class Facts:
    """`kv_blocks` without vLLM's placeholder; `max_model_len` in tokens, prompt and output."""

    version: str
    model: str
    max_model_len: int
    kv_blocks: int
    block_tokens: int
    cache_dtype: str


async def facts_of(client: HttpClient, wanted_model: str) -> Facts:
    """Ask the server; raises HttpError for one that is no vLLM or serves other models."""
    try:
        version = orjson.loads(await _get(client, "/version"))["version"]
        models = {entry["id"]: entry for entry in orjson.loads(await _get(client, "/v1/models"))["data"]}
        limit = int(models[wanted_model]["max_model_len"]) if wanted_model in models else 0
    except (KeyError, TypeError, ValueError) as error:
        raise HttpError(f"it answers, but not as vLLM does: {error}") from None
    if wanted_model not in models:
        raise HttpError(
            f"it serves {', '.join(models)}, not {wanted_model}: set spec.model.name or --served-model-name"
        )
    config = read(await _get(client, "/metrics")).config
    blocks, size = config.get("num_gpu_blocks", "None"), config.get("block_size", "None")
    if not (blocks.isdigit() and size.isdigit()):
        raise HttpError(f"its metrics name no KV cache (num_gpu_blocks={blocks}, block_size={size})")
    # One block is vLLM's placeholder.
    return Facts(version, wanted_model, limit, int(blocks) - 1, int(size), config.get("cache_dtype", ""))


async def streams_tokens(client: HttpClient) -> bool:
    """It has /inference/v1/generate, whatever it says to an empty question."""
    status, _ = await client.ask(TOKENS, b"{}", ASK_S)
    return status not in (404, 405)


async def _get(client: HttpClient, path: str) -> bytes:
    status, body = await client.get(path, ASK_S)
    if status != 200:
        raise HttpError(f"{path} answered {status}")
    return body
