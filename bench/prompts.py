"""Mixed token prompts for the demo model: its tasks, shared prefixes, and random ids of many lengths."""

from __future__ import annotations

import random
from dataclasses import dataclass

from orchestrator.frontend.text import TextModel
from workers.demo.tasks import TASKS, draw


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """`max_tokens` bounds the output."""

    tokens: tuple[int, ...]
    max_tokens: int


def mixed(text: TextModel, count: int, seed: int, longest_output: int = 400) -> list[TokenPrompt]:
    """`count` prompts: half are tasks, a quarter share one of four long prefixes, a quarter are random ids of 1 to 700 tokens."""
    rng = random.Random(seed)
    ordinary = range(10, text.vocab_size - 1)
    prefixes = [rng.choices(ordinary, k=rng.choice((48, 100, 160, 333))) for _ in range(4)]
    prompts = []
    for i in range(count):
        if i % 4 in (0, 2):
            message = draw(rng, rng.choice(list(TASKS)), held=True).text
            tokens = text.apply_chat_template([{"role": "user", "content": message}])
            prompts.append(TokenPrompt(tuple(tokens), longest_output))
        elif i % 4 == 1:
            tail = rng.choices(ordinary, k=rng.randint(1, 40))
            prompts.append(TokenPrompt((*rng.choice(prefixes), *tail), min(longest_output, rng.randint(1, 60))))
        else:
            tokens = rng.choices(ordinary, k=rng.choice((1, 15, 16, 17, 32, rng.randint(2, 700))))
            prompts.append(TokenPrompt(tuple(tokens), min(longest_output, rng.randint(1, 60))))
    return prompts
