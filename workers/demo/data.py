"""Training conversations of the demo model as padded batches of token ids."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from workers.demo.tasks import HELP, PICK_HIGH, PICK_LOW, TASKS, Prompt, draw, numbers
from workers.demo.tokenizer import IM_END, IM_START, PAD, SYSTEMS
from workers.demo.words import any_word

IGNORE = -100
PICK = -200  # the target is every number that `pick` may draw, with equal weight
POOL = 512

_GREETINGS = ("hello", "hi", "help", "who are you", "what can you do", "Hello!", "What can you do?", "Who are you?")


@dataclass(frozen=True, slots=True)
class Batch:
    """`ids` and `targets`: int64, shape (sequences, tokens); targets are shifted by one and IGNORE outside answers.

    `weights`, float32 of the same shape, let a long answer count as much as sqrt(tokens), so that counting does not drown
    the short tasks.
    """

    ids: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


def _other(rng: random.Random) -> Prompt:
    """Anything that is not a task; the model answers with what it can do."""
    if rng.random() < 0.5:
        return Prompt("other", rng.choice(_GREETINGS), HELP)
    return Prompt("other", " ".join(any_word(rng, 0.5) for _ in range(rng.randint(1, 8))), HELP)


def _prompt(rng: random.Random) -> Prompt:
    if rng.random() < 0.02:
        return _other(rng)
    name = rng.choices(list(TASKS), [t.share for t in TASKS.values()])[0]
    return draw(rng, name, held=False)


Row = tuple[list[int], list[int], list[float]]


class Conversations:
    """Endless seeded stream of batches of at most `batch_tokens` padded tokens, each of sequences of similar length."""

    def __init__(self, tokenizer: Tokenizer, seed: int, batch_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._rng = random.Random(seed)
        self._batch_tokens = batch_tokens
        self._pad = int(tokenizer.token_to_id(PAD) or 0)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text).ids)

    def _conversation(self) -> Row:
        rng = self._rng
        ids: list[int] = []
        targets: list[int] = []
        weights: list[float] = []
        if rng.random() < 0.2:
            ids += self._encode(f"{IM_START}system\n{rng.choice(SYSTEMS)}{IM_END}\n")
        for _ in range(rng.choices((1, 2, 3), (0.75, 0.18, 0.07))[0]):
            prompt = _prompt(rng)
            answer = prompt.answer
            if answer is None:
                answer = numbers(rng.randint(PICK_LOW, PICK_HIGH), 1, -1)
            ids += self._encode(f"{IM_START}user\n{prompt.text}{IM_END}\n{IM_START}assistant\n")
            targets += [IGNORE] * (len(ids) - 1 - len(targets))
            weights += [0.0] * (len(targets) - len(weights))
            spoken = self._encode(f"{answer}{IM_END}")
            ids += spoken + self._encode("\n")
            targets += [PICK, *spoken[1:]] if prompt.answer is None else spoken
            weights += [len(spoken) ** -0.5] * len(spoken)
        targets += [IGNORE] * (len(ids) - len(targets))
        weights += [0.0] * (len(ids) - len(weights))
        return ids, targets, weights

    def _pad_batch(self, rows: list[Row]) -> Batch:
        longest = max(len(ids) for ids, _, _ in rows)
        ids = torch.full((len(rows), longest), self._pad)
        targets = torch.full((len(rows), longest), IGNORE)
        weights = torch.zeros(len(rows), longest)
        for i, (row, target, weight) in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            targets[i, : len(target)] = torch.tensor(target)
            weights[i, : len(weight)] = torch.tensor(weight)
        return Batch(ids, targets, weights)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            pool = sorted((self._conversation() for _ in range(POOL)), key=lambda row: len(row[0]))
            groups: list[list[Row]] = [[]]
            for row in pool:
                if groups[-1] and len(row[0]) * (len(groups[-1]) + 1) > self._batch_tokens:
                    groups.append([])
                groups[-1].append(row)
            self._rng.shuffle(groups)
            for group in groups:
                yield self._pad_batch(group)
