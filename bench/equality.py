"""Greedy float32 output of every way to serve a request, token by token against one plain run.

A difference counts as a tie where the plain run's two best logits are closer than 1e-4; at most one is allowed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import torch

from bench.fleet import collect, fleet
from bench.harness import Bench, Check, run
from bench.prompts import TokenPrompt, mixed
from orchestrator.core.sampling import Sampling
from orchestrator.frontend.text import TextModel
from workers.demo import MODEL_DIR
from workers.engine.base import EngineRequest, Key
from workers.engine.torch.engine import TorchEngine

TIE = 1e-4
CO_LOCATED = {"w0": "both"}
SPLIT = {"p0": "prefill", "d0": "decode"}
VARIANTS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "co-located, chunk 512, prefix reuse": (CO_LOCATED, {}),
    "co-located, chunk 37, no reuse": (CO_LOCATED, {"prefill_budget_tokens": 37, "prefix_cache": False}),
    "nixl, chunk 512, prefix reuse": (SPLIT, {"transport": "nixl"}),
    "nixl, chunk 37, no reuse": (SPLIT, {"transport": "nixl", "prefill_budget_tokens": 37, "prefix_cache": False}),
    "nixl, chunk 37, prefix reuse": (SPLIT, {"transport": "nixl", "prefill_budget_tokens": 37}),
    "gloo, chunk 512, no reuse": (SPLIT, {"transport": "gloo", "prefix_cache": False}),
    "gloo, chunk 37, prefix reuse": (SPLIT, {"transport": "gloo", "prefill_budget_tokens": 37}),
}
Outputs = list[list[int]]


def plain(prompts: Sequence[TokenPrompt]) -> tuple[Outputs, list[list[float]]]:
    """One request at a time in this process; also the gap between the two best log-probabilities of each token."""
    engine = TorchEngine(MODEL_DIR, kv_blocks=256, prefill_budget_tokens=8192, prefix_cache=False, num_threads=1)
    outputs, gaps = [], []
    for i, prompt in enumerate(prompts):
        engine.submit(
            EngineRequest(Key(str(i), 1), prompt.tokens, 0, Sampling(prompt.max_tokens, temperature=0, logprobs=2))
        )
        tokens: list[int] = []
        gap: list[float] = []
        while engine.has_work():
            for emission in engine.step():
                tokens += emission.tokens
                gap += [entry.top_logprobs[0] - entry.top_logprobs[1] for entry in emission.logprobs]
        outputs.append(tokens)
        gaps.append(gap)
    return outputs, gaps


async def served(
    prompts: Sequence[TokenPrompt], roles: dict[str, str], engine: dict[str, Any], at_once: int = 16
) -> Outputs:
    """All prompts through real worker processes, `at_once` at a time."""
    gate = asyncio.Semaphore(at_once)
    async with fleet(roles, **engine) as running:

        async def one(i: int, prompt: TokenPrompt) -> list[int]:
            async with gate:
                output, _ = await collect(
                    running.dispatcher, f"r{i}", prompt.tokens, Sampling(prompt.max_tokens, temperature=0)
                )
                return output

        outputs = list(await asyncio.gather(*(one(i, prompt) for i, prompt in enumerate(prompts))))
        await running.integrity()
        running.dispatcher.check_integrity()
        return outputs


def transformers_outputs(prompts: Sequence[TokenPrompt]) -> Outputs:
    """The same weights in transformers."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32)
    outputs = []
    for prompt in prompts:
        given = torch.tensor([prompt.tokens])
        with torch.inference_mode():
            full = model.generate(
                given, attention_mask=torch.ones_like(given), max_new_tokens=prompt.max_tokens, do_sample=False
            )
        outputs.append(full[0, len(prompt.tokens) :].tolist())
    return outputs


def compare(name: str, outputs: Outputs, expected: Outputs, gaps: list[list[float]]) -> tuple[int, int, list[str]]:
    """(requests that differ, of these not explained by a tie, a line for each)."""
    differ, wrong, lines = 0, 0, []
    for i, (got, want) in enumerate(zip(outputs, expected, strict=True)):
        if got == want:
            continue
        differ += 1
        at = next((k for k, (a, b) in enumerate(zip(got, want, strict=False)) if a != b), min(len(got), len(want)))
        gap = gaps[i][at] if at < len(gaps[i]) else float("inf")
        wrong += gap >= TIE
        lines.append(f"{name}: prompt {i} differs at token {at}, gap between the two best {gap:.2e}")
    return differ, wrong, lines


def measure(bench: Bench) -> None:
    """All variants: 300 prompts, 24 with --quick."""
    count = 24 if bench.quick else 300
    torch.set_num_threads(1)
    prompts = mixed(TextModel.load(MODEL_DIR), count, bench.seed, longest_output=80 if bench.quick else 400)
    expected, gaps = plain(prompts)
    rows = {"transformers": transformers_outputs(prompts)}
    for name, (roles, engine) in VARIANTS.items():
        rows[name] = asyncio.run(served(prompts, roles, engine))
    tokens = sum(map(len, expected))
    for name, outputs in rows.items():
        differ, wrong, lines = compare(name, outputs, expected, gaps)
        bench.figure(variant=name, requests=count, tokens=tokens, different=differ, ties=differ - wrong)
        bench.check(Check(f"{name}: differences that are no tie", wrong, "<=", 0))
        bench.check(Check(f"{name}: ties", differ - wrong, "<=", 1))
        for line in lines:
            bench.note(line)


if __name__ == "__main__":
    run("equality", measure, __doc__)
