"""Prompts of many lengths, some of which end with a KV block, and what servers make of them."""

from __future__ import annotations

import random

import requests

TOKENS = 24
BLOCK_TOKENS = 32


def prompts(count: int, seed: int = 3) -> list[list[int]]:
    """Token ids of prompts; every fifth fills its last block."""
    draw = random.Random(seed)
    lengths = [draw.randrange(1, 9) * BLOCK_TOKENS if i % 5 == 0 else draw.randrange(2, 300) for i in range(count)]
    return [[draw.randrange(10, 1500) for _ in range(length)] for length in lengths]


def greedy(url: str, model: str, prompt: list[int], **more: object) -> dict[str, list[object]]:
    """`text`, `tokens` and the likeliest two of each (`top`) of a completion; without `logprobs`, the text alone."""
    body = {"model": model, "prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "logprobs": 2, "ignore_eos": True}
    answer = requests.post(f"{url}/v1/completions", json={**body, **more}, timeout=120)
    assert answer.status_code == 200, answer.text
    choice = answer.json()["choices"][0]
    told = choice["logprobs"] or {"tokens": [], "top_logprobs": []}
    return {"text": choice["text"], "tokens": told["tokens"], "top": told["top_logprobs"]}


def metric(url: str, name: str) -> float:
    """Sum of a metric's samples on /metrics of a vLLM server; `name` may end with part of its labels."""
    head, _, label = name.partition("{")
    lines = requests.get(f"{url}/metrics", timeout=30).text.splitlines()
    return sum(
        float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(head + "{") and label.rstrip("}") in line
    )
