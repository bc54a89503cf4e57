"""What is wrong with a configuration, and how to put it right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.core.quote import MOST_QUOTED_CHARS


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: where (`line` counts from 1), the field's path, the value as written, why it is wrong, what to do."""

    file: str
    line: int
    path: str
    value: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.path}: value {self.value} is wrong because {self.reason}; {self.remedy}"


class ConfigError(Exception):
    """A configuration that cannot be used. `problems` holds every fault found, in file order; str() is one a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda p: p.line)
        super().__init__("\n".join(str(p) for p in self.problems))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A remedy for a misspelt `word`: the nearest known one if there is one, and always the list."""
    names = sorted(known)
    word = word[:MOST_QUOTED_CHARS]  # comparing names is slow
    lower = {n.lower(): n for n in names}
    near = difflib.get_close_matches(word.replace("_", "").lower(), lower, n=1, cutoff=0.6)
    guess = f"did you mean {lower[near[0]]!r}? " if near else ""
    return f"{guess}use one of: {', '.join(names)}" if names else f"{guess}remove it"
