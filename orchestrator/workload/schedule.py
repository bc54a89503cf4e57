"""From a trace to a schedule: which requests, when, how long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.workload.notes import Notes
from orchestrator.workload.selection import shaped
from orchestrator.workload.shape import Shape
from orchestrator.workload.trace import TraceRequest

__all__ = ["Planned", "Shape", "arrivals", "plan"]


@dataclass(frozen=True, slots=True)
class Planned:
    """One request to send, `at_s` after the start. `clipped` where the model's context forced it to be shorter.

    `tier` and `client` are those of the trace, None where it has none.
    """

    index: int
    at_s: float
    input_tokens: int
    output_tokens: int
    prefix_ids: tuple[int, ...] = ()
    clipped: bool = False
    tier: str | None = None
    client: str | None = None


def arrivals(shape: Shape, max_model_tokens: int | None = None, notes: Notes | None = None) -> Iterator[Planned]:
    """The schedule in order of time, read as it is taken; the same for the same shape. Raises TraceError when it is first asked.

    Never holds the trace: at most 32,768 rows to put them in order, or 600 s of published distributions. See `shaped` for how `rate`
    is met. Requests without input or output tokens count as having one.
    """
    for index, row in enumerate(shaped(shape, notes)):
        yield _planned(index, row, shape, max_model_tokens)


def plan(shape: Shape, max_model_tokens: int | None = None) -> list[Planned]:
    """The whole schedule at once."""
    return list(arrivals(shape, max_model_tokens))


def _planned(index: int, row: TraceRequest, shape: Shape, max_model_tokens: int | None) -> Planned:
    wanted_in = max(1, min(row.input_tokens, shape.max_input_tokens or row.input_tokens))
    wanted_out = max(1, min(row.output_tokens, shape.max_output_tokens or row.output_tokens))
    tokens_in, tokens_out = wanted_in, wanted_out
    if max_model_tokens is not None and wanted_in + wanted_out > max_model_tokens:
        # Output keeps its length up to half of the context; the prompt gives way first.
        tokens_out = min(wanted_out, max(1, max_model_tokens // 2))
        tokens_in = max(1, min(wanted_in, max_model_tokens - tokens_out))
    clipped = (tokens_in, tokens_out) != (wanted_in, wanted_out)
    at_s = row.arrival_s or 0.0
    return Planned(index, at_s, tokens_in, tokens_out, row.prefix_ids, clipped, row.tier, row.client)
