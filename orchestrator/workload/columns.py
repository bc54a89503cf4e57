"""The table of CSV traces, recognised by their columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.workload import cells
from orchestrator.workload.notes import Notes
from orchestrator.workload.trace import BadRow, TraceRequest

FAILED = "failed requests (0 response tokens)"
RATES = "rate_rps"
"""A column that tells rates per client, as ServeGen publishes them, from a trace of requests."""


@dataclass(frozen=True, slots=True)
class CsvForm:
    """Where a CSV form keeps a request. `arrival` is None where arrivals must be generated; `clock` gives what reads them, one per file.

    `tier`, `client` and `prefix_ids` are columns that may be absent. Where `zero_is_failure`, requests without output failed.
    """

    name: str
    arrival: str | None
    input_tokens: str
    output_tokens: str
    clock: Callable[[], Callable[[str], float]] = lambda: float
    tier: str | None = None
    client: tuple[str, ...] = ()
    prefix_ids: str | None = None
    zero_is_failure: bool = False
    arrival_may_be_empty: bool = False

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns that must be there."""
        return (*((self.arrival,) if self.arrival else ()), self.input_tokens, self.output_tokens)


FORMS = (
    CsvForm("Azure", "TIMESTAMP", "ContextTokens", "GeneratedTokens", cells.WallClock),
    CsvForm(
        "Tandem",
        "arrival_s",
        "input_tokens",
        "output_tokens",
        tier="tier",
        client=("client", "client_id"),
        prefix_ids="prefix_ids",
        arrival_may_be_empty=True,
    ),
    CsvForm("lengths", "arrival_time_ns", "input_toks", "output_toks", lambda: cells.nanoseconds),
    CsvForm("Vidur with arrivals", "arrived_at", "num_prefill_tokens", "num_decode_tokens"),
    CsvForm("Vidur", None, "num_prefill_tokens", "num_decode_tokens"),
    CsvForm("splitwise-sim", "arrival_timestamp", "prompt_size", "token_size"),
    CsvForm("BurstGPT", "Timestamp", "Request tokens", "Response tokens", client=("Session ID",), zero_is_failure=True),
)


def recognise(header: Sequence[str]) -> CsvForm | str:
    """The first form whose columns are all in `header`; else the remedy, as text."""
    for form in FORMS:
        if set(form.needed) <= set(header):
            return form
    if RATES in header:
        return "these are rates per client, not requests; give them as servegen:FILE, which draws requests"
    if len(header) == 1 and (split := next((mark for mark in (";", "\t", "|") if mark in header[0]), None)):
        return f"its columns are apart by {split!r}; put commas there"
    return _nearest(header) or _known()


def _nearest(header: Sequence[str]) -> str | None:
    """What the form with the most of these columns lacks; spelling and case aside, for a near miss is a miss."""
    seen = {_plain(name): name for name in header}
    shares = [(sum(_plain(name) in seen for name in form.needed) / len(form.needed), form) for form in FORMS]
    share, form = max(shares, key=lambda pair: pair[0])
    if not share:
        return None
    renamed = [(seen[_plain(name)], name) for name in form.needed if name not in header and _plain(name) in seen]
    absent = [name for name in form.needed if _plain(name) not in seen]
    todo = [f"rename {', '.join(f'{old!r} to {new!r}' for old, new in renamed)}"] if renamed else []
    todo += [f"add {', '.join(absent)}"] if absent else []
    return f"nearest is the form {form.name} ({','.join(form.needed)}): {' and '.join(todo)}"


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _known() -> str:
    known = "; ".join(",".join(form.needed) for form in FORMS)
    return f"use a JSONL trace or a CSV with the columns {known}"


class CsvRows:
    """Makes requests of the rows below one header."""

    def __init__(self, form: CsvForm, header: Sequence[str], notes: Notes) -> None:
        self._form, self._notes, self._clock = form, notes, form.clock()
        self._arrival, self._tier, self._ids = (
            header.index(c) if c in header else None for c in (form.arrival, form.tier, form.prefix_ids)
        )
        self._input, self._output = header.index(form.input_tokens), header.index(form.output_tokens)
        self._client = next((header.index(c) for c in form.client if c in header), None)
        needed = [header.index(column) for column in form.needed]
        self._least = max(needed) + 1
        self._plain = self._tier is None and self._client is None and self._ids is None

    def request(self, row: Sequence[str]) -> TraceRequest | None:
        """The request; None for a failed one, which is noted. Raises BadRow."""
        if len(row) < self._least:
            raise BadRow(f"the line has {len(row)} of {self._least} columns", "complete or remove the line")
        arrival = None if self._arrival is None else self._seconds(row[self._arrival])
        input_tokens = cells.tokens(row[self._input], self._form.input_tokens)
        output_tokens = cells.tokens(row[self._output], self._form.output_tokens)
        if self._form.zero_is_failure and output_tokens == 0:
            self._notes.leave_out(FAILED)
            return None
        if self._plain:
            return TraceRequest(arrival, input_tokens, output_tokens)
        ids, tier, client = (self._cell(row, place) for place in (self._ids, self._tier, self._client))
        return TraceRequest(
            arrival,
            input_tokens,
            output_tokens,
            cells.ids_of_text(ids, "prefix_ids") if ids else (),
            tier or None,
            client or None,
        )

    def _cell(self, row: Sequence[str], place: int | None) -> str:
        return row[place] if place is not None and place < len(row) else ""

    def _seconds(self, cell: str) -> float | None:
        if not cell and self._form.arrival_may_be_empty:
            return None
        try:
            value = self._clock(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise BadRow(f"{self._form.arrival} {cell!r} is not a time")
        return value
