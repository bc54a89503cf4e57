"""The table of CSV traces, recognised by their columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class CsvForm:
    """Where a CSV form keeps a request. `arrival` is None where arrivals must be generated; `seconds` reads one."""

    name: str
    arrival: str | None
    input_tokens: str
    output_tokens: str
    seconds: Callable[[str], float] = float

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns that must be there."""
        return (*((self.arrival,) if self.arrival else ()), self.input_tokens, self.output_tokens)


def _wall_clock_s(text: str) -> float:
    return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC).timestamp()


def _nanoseconds(text: str) -> float:
    return float(text) * 1e-9


FORMS = (
    CsvForm("Azure", "TIMESTAMP", "ContextTokens", "GeneratedTokens", _wall_clock_s),
    CsvForm("ServeGen sample", "arrival_s", "input_tokens", "output_tokens"),
    CsvForm("lengths", "arrival_time_ns", "input_toks", "output_toks", _nanoseconds),
    CsvForm("Vidur with arrivals", "arrived_at", "num_prefill_tokens", "num_decode_tokens"),
    CsvForm("Vidur", None, "num_prefill_tokens", "num_decode_tokens"),
    CsvForm("splitwise-sim", "arrival_timestamp", "prompt_size", "token_size"),
    CsvForm("BurstGPT", "Timestamp", "Request tokens", "Response tokens"),
)

_NOT_REQUESTS: Mapping[str, str] = {
    "rate_rps": "these are rates per client, not requests; use a file of requests drawn from them",
}


def recognise(header: Sequence[str]) -> CsvForm | str:
    """The first form whose columns are all in `header`; else the remedy, as text."""
    for form in FORMS:
        if set(form.needed) <= set(header):
            return form
    for column, remedy in _NOT_REQUESTS.items():
        if column in header:
            return remedy
    known = "; ".join(",".join(form.needed) for form in FORMS)
    return f"use a Mooncake JSONL or a CSV with the columns {known}"
