"""Which paged-attention call, block layout and page size run on this device, and does the engine give the CPU's tokens there?

Decides `block_tokens` on CUDA. On a machine without CUDA it runs the gathered path on the CPU, which every device can run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from bench.harness import Bench, Check, run
from orchestrator.core.sampling import Sampling
from workers.demo import MODEL_DIR
from workers.engine.base import EngineRequest, Key
from workers.engine.torch.engine import TorchEngine

PAGES = (16, 32, 64, 128, 256)
AGREEMENT = 2e-2
"""Largest difference to attention in float32 that bf16 explains."""


@dataclass(frozen=True, slots=True)
class Case:
    """One decode step: `batch` queries against `context` tokens each, in blocks of `block_tokens`, KV in the pool's layout."""

    q: torch.Tensor  # (batch, heads, head_dim)
    pool: torch.Tensor  # (block, layer, 2, token, kv_head, head_dim)
    tables: torch.Tensor  # (batch, blocks per request), int32
    context: int

    @classmethod
    def make(cls, device: str, dtype: torch.dtype, block_tokens: int, batch: int, context: int) -> Case:
        """Random blocks in random order, two layers, 32 query and 8 KV heads of 128."""
        generator = torch.Generator().manual_seed(0)
        per_request = -(-context // block_tokens)
        blocks = batch * per_request
        pool = torch.randn(blocks, 2, 2, block_tokens, 8, 128, generator=generator).to(device, dtype)
        tables = torch.randperm(blocks, generator=generator).view(batch, per_request).to(device, torch.int32)
        return cls(torch.randn(batch, 32, 128, generator=generator).to(device, dtype), pool, tables, context)


def gathered(case: Case, layer: int = 1) -> torch.Tensor:
    """Copy the blocks together and call SDPA: runs everywhere."""
    batch, heads, head_dim = case.q.shape
    kv = case.pool[:, layer][case.tables.long()]  # (batch, blocks, 2, token, kv_head, head_dim)
    keys, values = (kv[:, :, i].flatten(1, 2)[:, : case.context].transpose(1, 2) for i in (0, 1))
    q = case.q.view(batch, keys.shape[1], heads // keys.shape[1], head_dim)
    return F.scaled_dot_product_attention(q, keys, values).reshape(batch, heads, head_dim)


def varlen(case: Case, layer: int = 1) -> torch.Tensor:
    """FlashAttention through torch, reading pages in place. Raises whatever this version or device does not support."""
    from torch.nn.attention.varlen import varlen_attn

    batch = len(case.q)
    used = torch.full((batch,), case.context, dtype=torch.int32, device=case.q.device)
    starts = torch.arange(batch + 1, dtype=torch.int32, device=case.q.device)
    keys, values = case.pool[:, layer, 0], case.pool[:, layer, 1]
    attend: Any = varlen_attn
    out: torch.Tensor = attend(
        case.q, keys, values, starts, None, 1, case.context, seqused_k=used, block_table=case.tables, enable_gqa=True
    )
    return out


CALLS: dict[str, Callable[[Case], torch.Tensor]] = {"gather + SDPA": gathered, "varlen_attn with block_table": varlen}


def seconds(call: Callable[[], object], device: str, rounds: int) -> float:
    """Best time of `rounds`, in seconds."""
    best = float("inf")
    for _ in range(rounds + 2):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def tokens(device: str, block_tokens: int, dtype: str = "float32") -> list[list[int]]:
    """Greedy output of the demo model for a few prompts."""
    engine = TorchEngine(
        MODEL_DIR, device=device, dtype=dtype, kv_blocks=max(64, 8192 // block_tokens), block_tokens=block_tokens
    )
    outputs: dict[Key, list[int]] = {}
    for i in range(8):
        key = Key(str(i), 1)
        outputs[key] = []
        prompt = [(7 * i + 3 * j) % 500 + 20 for j in range(5 + 40 * i)]
        engine.submit(EngineRequest(key, prompt, 0, Sampling(48, temperature=0)))
    while engine.has_work():
        for emission in engine.step():
            outputs[emission.key] += emission.tokens
    engine.check_integrity()
    return list(outputs.values())


def attention(bench: Bench, device: str, dtype: torch.dtype, batch: int, context: int) -> None:
    """Every call at every page size: does it run, is it right, how long does it take."""
    for block_tokens in PAGES:
        case = Case.make(device, dtype, block_tokens, batch, context)
        exact = gathered(Case(case.q.float(), case.pool.float(), case.tables, case.context))
        for name, call in CALLS.items():
            try:
                worst = float((call(case).float() - exact).abs().max())
                took = seconds(lambda call=call, case=case: call(case), device, 3 if bench.quick else 20)  # type: ignore[misc]
            except Exception as error:  # a probe reports what a device refuses
                bench.figure(
                    call=name,
                    block_tokens=block_tokens,
                    result=f"{type(error).__name__}: {str(error).splitlines()[0][:80]}",
                )
                continue
            read = 2 * batch * context * 8 * 128 * case.q.element_size()
            bench.figure(
                call=name,
                block_tokens=block_tokens,
                result="runs",
                ms=1e3 * took,
                gb_per_s=read / took / 1e9,
                worst=worst,
            )
            bench.check(Check(f"{name}, {block_tokens} tokens: agrees", worst, "<=", AGREEMENT))


def measure(bench: Bench) -> None:
    """Attention calls, then the engine's tokens against the CPU's."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    cuda = device == "cuda"
    bench.note(f"device: {torch.cuda.get_device_name() if cuda else 'cpu (no CUDA here: the CUDA rows are missing)'}")
    attention(bench, device, torch.bfloat16 if cuda else torch.float32, *((64, 2048) if cuda else (8, 512)))
    expected = tokens("cpu", 16)
    for block_tokens in (16, 256):
        different = sum(a != b for a, b in zip(tokens(device, block_tokens), expected, strict=True))
        bench.check(Check(f"engine, {block_tokens} tokens per block: requests that differ", different, "<=", 0))


if __name__ == "__main__":
    run("gpu.probe", measure, __doc__)
