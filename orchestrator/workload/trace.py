"""A trace: requests with their arrival times and lengths."""

from __future__ import annotations

from dataclasses import dataclass

SAMPLE = "sample"
"""The name of the trace that ships with Tandem."""


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One request of a trace. `arrival_s` is None where the trace has no arrivals.

    `prefix_ids` name the prompt's blocks of `PREFIX_BLOCK_TOKENS` tokens: equal ids at equal places mean equal text.
    `tier` is the service tier, `client` who sent it or the conversation it belongs to; None where the trace does not say.
    """

    arrival_s: float | None
    input_tokens: int
    output_tokens: int
    prefix_ids: tuple[int, ...] = ()
    tier: str | None = None
    client: str | None = None


PREFIX_BLOCK_TOKENS = 512


class TraceError(Exception):
    """A trace that cannot be read; str() names the file, the line and the remedy."""

    def __init__(self, what: str, where: str, do: str) -> None:
        super().__init__(f"{what}; {where}; {do}")
        self.what = what
        self.where = where
        self.do = do


class BadRow(Exception):
    """A row that is no request; whoever knows its line makes it a `TraceError`."""

    def __init__(self, what: str, do: str = "correct or remove the line") -> None:
        super().__init__(what)
        self.what = what
        self.do = do

    def at(self, where: str) -> TraceError:
        """The error with its place."""
        return TraceError(self.what, where, self.do)
