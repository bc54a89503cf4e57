"""Words of the demo model's tasks, and how letters stand for a word the model has no token for."""

from __future__ import annotations

import random

_TEXT = """
apple banana cherry lemon mango peach pear plum grape melon olive tomato potato carrot onion pepper bread butter
cheese honey sugar coffee water milk dog cat horse cow sheep goat pig duck goose eagle robin tiger lion bear wolf
fox rabbit mouse whale shark dolphin salmon turtle frog snake spider ant bee river lake ocean island mountain valley
forest desert garden tree flower grass leaf rain snow wind cloud storm summer winter spring autumn sun moon star
planet rocket train bridge road house window door table chair lamp clock book paper pencil letter music piano guitar
drum violin song dance red green blue yellow orange purple black white silver gold copper iron stone glass castle
tower market school doctor farmer baker pilot sailor king queen friend hello world yes no one two tandem token cache
worker block kettle anchor
"""
WORDS: tuple[str, ...] = tuple(_TEXT.split())
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def random_letters(rng: random.Random, longest: int = 6) -> str:
    """A made-up word of 1 to `longest` lower-case letters."""
    return "".join(rng.choice(_LETTERS) for _ in range(rng.randint(1, longest)))


def any_word(rng: random.Random, made_up: float) -> str:
    """A word of the list, or with probability `made_up` a made-up one."""
    return random_letters(rng) if rng.random() < made_up else rng.choice(WORDS)
