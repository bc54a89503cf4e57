"""The demo model's tasks: random prompts, their exact answers, and a checker.

Every prompt text belongs either to training or to the held-out set, by a hash of the text.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from workers.demo.words import WORDS, random_letters

MAX_NUMBER = 400
PICK_LOW, PICK_HIGH = 5, 200
HELP = "I am a small demo model. I can count, list, repeat, spell and reverse. Try: count to 40"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A user message and its answer; `answer` is None where the model draws a number first (task `pick`)."""

    task: str
    text: str
    answer: str | None


@dataclass(frozen=True, slots=True)
class Task:
    """`draw` returns the fields of a phrasing and the answer. `share` is the fraction of training prompts."""

    share: float
    phrasings: tuple[str, ...]
    draw: Callable[[random.Random], tuple[dict[str, object], str | None]]


def held_out(text: str) -> bool:
    """True for one prompt text in six: these are never trained on."""
    return hashlib.sha256(text.lower().encode()).digest()[0] % 6 == 0


def numbers(start: int, stop: int, step: int = 1) -> str:
    """`start`, `start + step`, ... up to and including `stop` if it is met, separated by spaces."""
    return " ".join(map(str, range(start, stop + (1 if step > 0 else -1), step)))


def _limit(rng: random.Random, low: int = 1, most: int = MAX_NUMBER) -> int:
    return rng.randint(low, 60) if rng.random() < 0.5 else rng.randint(low, most)


def _count(rng: random.Random) -> tuple[dict[str, object], str]:
    n = _limit(rng)
    return {"n": n}, numbers(1, n)


def _count_from(rng: random.Random) -> tuple[dict[str, object], str]:
    a = rng.randint(1, MAX_NUMBER - 1)
    b = min(MAX_NUMBER, a + rng.randint(1, 25))
    return {"a": a, "b": b}, numbers(a, b)


def _count_down(rng: random.Random) -> tuple[dict[str, object], str]:
    n = _limit(rng)
    return {"n": n}, numbers(n, 1, -1)


def _even(rng: random.Random) -> tuple[dict[str, object], str]:
    n = _limit(rng, 2)
    return {"n": n}, numbers(2, n, 2)


def _multiples(rng: random.Random) -> tuple[dict[str, object], str]:
    k = rng.choice((3, 4, 5, 10))
    n = k * rng.randint(1, min(30, MAX_NUMBER // k))
    return {"k": k, "n": n}, numbers(k, n, k)


def _times(rng: random.Random, word: str) -> tuple[dict[str, object], str]:
    n = rng.randint(1, 20)
    return {"w": word, "n": n}, " ".join(f"{i} {word}" for i in range(1, n + 1))


def _repeat(rng: random.Random) -> tuple[dict[str, object], str]:
    return _times(rng, rng.choice(WORDS))


def _repeat_any(rng: random.Random) -> tuple[dict[str, object], str]:
    return _times(rng, random_letters(rng))


def _spell(rng: random.Random) -> tuple[dict[str, object], str]:
    word = rng.choice(WORDS)
    return {"w": word}, " ".join(word)


def _spell_any(rng: random.Random) -> tuple[dict[str, object], str]:
    word = random_letters(rng)
    return {"w": word}, " ".join(word)


def _items(rng: random.Random, most: int) -> list[str]:
    mixed = rng.sample(WORDS, most) + [str(i) for i in rng.sample(range(1, 101), most)]
    start = rng.choice((0, most // 2, most))
    return rng.sample(mixed[start : start + most], rng.randint(2, most))


def _copy(rng: random.Random) -> tuple[dict[str, object], str]:
    text = " ".join(_items(rng, rng.choice((4, 6))))
    return {"list": text}, text


def _reverse(rng: random.Random) -> tuple[dict[str, object], str]:
    chosen = _items(rng, 5)
    return {"list": " ".join(chosen)}, " ".join(reversed(chosen))


def _pick(rng: random.Random) -> tuple[dict[str, object], None]:
    return {}, None


_REPEAT = ("repeat {w} {n} times", "say {w} {n} times", "write {w} {n} times", "repeat {w} x {n}")
_SPELL = ("spell {w}", "spell the word {w}", "spell out {w}", "how do you spell {w}")
TASKS: dict[str, Task] = {
    "count": Task(0.13, ("count to {n}", "count up to {n}", "count from 1 to {n}", "list the numbers to {n}"), _count),
    "count_from": Task(
        0.08,
        ("count from {a} to {b}", "list the numbers from {a} to {b}", "start at {a} and count to {b}"),
        _count_from,
    ),
    "count_down": Task(
        0.11, ("count down from {n}", "count backwards from {n}", "count down from {n} to 1"), _count_down
    ),
    "even": Task(
        0.11, ("list the even numbers to {n}", "list the even numbers up to {n}", "even numbers to {n}"), _even
    ),
    "multiples": Task(
        0.05,
        ("list the multiples of {k} to {n}", "list the multiples of {k} up to {n}", "count by {k} to {n}"),
        _multiples,
    ),
    "repeat": Task(0.08, _REPEAT, _repeat),
    "repeat_any": Task(0.03, _REPEAT, _repeat_any),
    "spell": Task(0.07, _SPELL, _spell),
    "spell_any": Task(0.04, _SPELL, _spell_any),
    "copy": Task(0.12, ("list {list}", "say the list {list}", "write the list {list}"), _copy),
    "reverse": Task(0.15, ("reverse {list}", "reverse the list {list}", "say backwards {list}"), _reverse),
    "pick": Task(
        0.03,
        (
            "pick a number and count down",
            "pick a number and count down to 1",
            "pick a number and count down from it",
            "choose a number and count down",
            "choose any number, then count down",
            "pick a random number and count down",
        ),
        _pick,
    ),
}
CLAIMED: tuple[str, ...] = tuple(name for name in TASKS if not name.endswith("_any"))
POLITE = ("please ", "can you ", "now ", "could you please ", "then ")
ENDINGS = (".", "!", "?", " please")


def _dress(rng: random.Random, text: str) -> str:
    if rng.random() < 0.3:
        text = rng.choice(POLITE) + text
    if rng.random() < 0.4:
        text = text[0].upper() + text[1:]
    return text + rng.choice(ENDINGS) if rng.random() < 0.3 else text


def draw(rng: random.Random, task: str, *, held: bool) -> Prompt:
    """A random prompt of `task` from the held-out set (`held`) or from the training set."""
    while True:
        fields, answer = TASKS[task].draw(rng)
        text = _dress(rng, rng.choice(TASKS[task].phrasings).format(**fields))
        if held_out(text) == held:
            return Prompt(task, text, answer)


def check(prompt: Prompt, output: str) -> bool:
    """True if `output` is exactly right; for `pick`, if it counts down to 1 from a number in the allowed range."""
    if prompt.answer is not None:
        return output == prompt.answer
    first = output.split(" ", 1)[0]
    if not first.isdecimal() or not PICK_LOW <= int(first) <= PICK_HIGH:
        return False
    return output == numbers(int(first), 1, -1)
