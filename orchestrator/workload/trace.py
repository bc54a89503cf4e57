"""A trace: requests with their arrival times and lengths."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One request of a trace. `arrival_s` is None where the trace has no arrivals.

    `prefix_ids` name the prompt's blocks of `PREFIX_BLOCK_TOKENS` tokens: equal ids at equal places mean equal text.
    """

    arrival_s: float | None
    input_tokens: int
    output_tokens: int
    prefix_ids: tuple[int, ...] = ()


PREFIX_BLOCK_TOKENS = 512


class TraceError(Exception):
    """A trace that cannot be read; str() names the file, the line and the remedy."""

    def __init__(self, what: str, where: str, do: str) -> None:
        super().__init__(f"{what}; {where}; {do}")
        self.what = what
        self.where = where
        self.do = do
