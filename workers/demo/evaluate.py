"""Exact-match accuracy of the demo model on held-out prompts: `python -m workers.demo.evaluate [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer
from tqdm import tqdm
from transformers import LlamaForCausalLM

from workers.demo import MODEL_DIR
from workers.demo.shape import load
from workers.demo.tasks import TASKS, Prompt, check, draw
from workers.demo.tokenizer import IM_END, IM_START, PAD

BATCH = 64
MAX_TOKENS = 420


@dataclass(frozen=True, slots=True)
class Score:
    """Result of one task. Output lengths are in tokens, with the end token; `drawn_*` describe the numbers of `pick`."""

    task: str
    decoding: str
    prompts: int
    exact: float
    shortest_tokens: int
    longest_tokens: int
    drawn_distinct: int | None = None
    drawn_mean: float | None = None
    drawn_stdev: float | None = None
    wrong: tuple[str, ...] = ()


def answers(
    model: LlamaForCausalLM, tokenizer: Tokenizer, texts: Sequence[str], *, sampled: bool
) -> list[tuple[str, int]]:
    """The model's answer to each user message and its length in tokens, in order; greedy, or sampled at temperature 1."""
    pad, end = tokenizer.token_to_id(PAD), tokenizer.token_to_id(IM_END)
    rows = [tokenizer.encode(f"{IM_START}user\n{t}{IM_END}\n{IM_START}assistant\n").ids for t in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([[pad] * (longest - len(r)) + r for r in rows])
    mask = torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows])
    choice: dict[str, Any] = (
        {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0} if sampled else {"do_sample": False}
    )
    with torch.inference_mode():
        out = cast(Any, model).generate(
            ids,
            attention_mask=mask,
            max_new_tokens=MAX_TOKENS,
            eos_token_id=end,
            pad_token_id=pad,
            **choice,
        )
    spoken = [[t for t in row if t != pad] for row in out[:, longest:].tolist()]
    return [(tokenizer.decode(row), len(row)) for row in spoken]


def score(
    model: LlamaForCausalLM, tokenizer: Tokenizer, task: str, prompts: Sequence[Prompt], *, sampled: bool
) -> Score:
    """Accuracy on `prompts`, which are run in batches of similar answer length."""
    ordered = sorted(prompts, key=lambda p: len(p.answer or ""))
    got: list[tuple[str, int]] = []
    for i in range(0, len(ordered), BATCH):
        got += answers(model, tokenizer, [p.text for p in ordered[i : i + BATCH]], sampled=sampled)
    right = [check(p, text) for p, (text, _) in zip(ordered, got, strict=True)]
    wrong = [f"{p.text} -> {text[:120]}" for p, (text, _), ok in zip(ordered, got, right, strict=True) if not ok]
    lengths = [n for _, n in got]
    first = (
        [int(text.split(" ", 1)[0]) for (text, _), ok in zip(got, right, strict=True) if ok] if task == "pick" else []
    )
    return Score(
        task,
        "sampled" if sampled else "greedy",
        len(ordered),
        statistics.fmean(right),
        min(lengths),
        max(lengths),
        len(set(first)) if first else None,
        round(statistics.fmean(first), 1) if first else None,
        round(statistics.stdev(first), 1) if len(first) > 1 else None,
        tuple(wrong[:10]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_DIR)
    parser.add_argument("--prompts", type=int, default=300, help="held-out prompts per task")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--task", choices=list(TASKS), action="append", help="only this task (may be repeated)")
    parser.add_argument("--sampled", action="store_true", help="also sample every task at temperature 1")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    model = load(args.model)
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    rng = random.Random(args.seed)
    runs = [(task, sampled) for task in args.task or TASKS for sampled in (False, True)]
    scores: list[Score] = []
    for task, sampled in tqdm([(t, s) for t, s in runs if s == (t == "pick") or (s and args.sampled)], unit="task"):
        prompts = [draw(rng, task, held=True) for _ in range(args.prompts)]
        scores.append(score(model, tokenizer, task, prompts, sampled=sampled))
    print(f"{'task':<12} {'decoding':<8} {'prompts':>7} {'exact':>8} {'tokens':>9}  drawn")
    for s in scores:
        drawn = f"{s.drawn_distinct} distinct, {s.drawn_mean} ± {s.drawn_stdev}" if s.drawn_distinct else ""
        span = f"{s.shortest_tokens}-{s.longest_tokens}"
        print(f"{s.task:<12} {s.decoding:<8} {s.prompts:>7} {s.exact:>8.2%} {span:>9}  {drawn}")
        for line in s.wrong:
            print(f"    {line}")
    if args.json:
        args.json.write_text(json.dumps([asdict(s) for s in scores], indent=2) + "\n")


if __name__ == "__main__":
    main()
