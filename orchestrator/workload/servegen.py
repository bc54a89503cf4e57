"""Draws requests from ServeGen's published distributions: a renewal process for each client and 600 s window.

Source: ServeGen, arXiv 2505.09999: rates and coefficients of variation per client and window, lengths per client and 6 h.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orchestrator.workload.marginals import Ints, Marginals
from orchestrator.workload.notes import Notes
from orchestrator.workload.opening import first_line, text_of
from orchestrator.workload.trace import TraceError, TraceRequest

PREFIX = "servegen:"
WINDOW_S = 600.0
RATES, LENGTHS = "_client_rates.csv", "_length_pdfs.jsonl"
COLUMNS = ("client_id", "window_start_s", "rate_rps", "cv")
NO_LENGTHS = "clients without length distributions"
Floats = npt.NDArray[np.float64]
Windows = Mapping[float, list[tuple[int, float, float]]]


def servegen(rates: Path, seed: int, start_s: float = 0.0, notes: Notes | None = None) -> Iterator[TraceRequest]:
    """Requests in order of time, from `start_s` after the start of the published period on. Raises TraceError.

    One window at a time is in memory. Each client and window has a stream of its own: a slice holds the same requests as the whole.
    """
    windows = _windows(rates)
    lengths = Marginals.read(_lengths_of(rates))
    clients = {client for rows in windows.values() for client, _, _ in rows}
    unknown = {client for client in clients if not lengths.knows(client)}
    if unknown == clients:
        raise TraceError(
            "no client has length distributions", str(_lengths_of(rates)), "give the file of the same name"
        )
    if notes is not None:
        notes.leave_out(NO_LENGTHS, len(unknown))
    return _draw(windows, lengths, unknown, seed, start_s)


def _draw(windows: Windows, lengths: Marginals, unknown: set[int], seed: int, start_s: float) -> Iterator[TraceRequest]:
    for window_s in sorted(windows):
        if window_s + WINDOW_S <= start_s:
            continue
        at: list[Floats] = []
        parts: list[tuple[Ints, Ints, Ints]] = []
        for client, rate, cv in windows[window_s]:
            if client in unknown:
                continue
            draw = np.random.default_rng([seed, 5, client, int(window_s)])
            # A sample of n gaps has a coefficient of variation of sqrt(n) at most; more would be one burst without end.
            times = renewal(draw, rate, min(cv, max(1.0, math.sqrt(rate * WINDOW_S))), WINDOW_S)
            at.append(window_s + times)
            inputs, outputs = lengths.at(client, window_s).draw(draw, len(times))
            parts.append((np.full(len(times), client), inputs, outputs))
        if not at:
            continue
        times = np.concatenate(at)
        order = np.argsort(times, kind="stable")
        columns = (np.concatenate(column)[order].tolist() for column in zip(*parts, strict=True))
        for time_s, client, tokens_in, tokens_out in zip(times[order].tolist(), *columns, strict=True):
            if time_s >= start_s:
                yield TraceRequest(time_s, tokens_in, tokens_out, client=str(client))


def renewal(draw: np.random.Generator, rate: float, cv: float, length_s: float) -> Floats:
    """Arrivals within `length_s` of a Gamma renewal process in equilibrium: the window opens at a random phase of a gap.

    The gap that covers the opening is length-biased, which for Gamma(k) is Gamma(k + 1); so the mean count is `rate * length_s` exactly.
    """
    if cv == 0:
        return np.arange(draw.random() / rate, length_s, 1 / rate)
    shape, scale = 1 / cv**2, cv**2 / rate
    parts = [np.array([draw.random() * draw.gamma(shape + 1, scale)])]
    reached = float(parts[0][0])
    while reached < length_s:
        expected = (length_s - reached) * rate
        gaps = reached + np.cumsum(draw.gamma(shape, scale, int(expected + 4 * cv * math.sqrt(expected)) + 16))
        parts.append(gaps)
        reached = float(gaps[-1])
    times = np.concatenate(parts)
    return times[times < length_s]


def _lengths_of(rates: Path) -> Path:
    stem = rates.name.removesuffix(".gz")
    if not stem.endswith(RATES):
        remedy = f"give a file NAME{RATES}[.gz] with NAME{LENGTHS}[.gz] beside it"
        raise TraceError("the name does not tell where the length distributions are", str(rates), remedy)
    beside = [rates.with_name(stem.removesuffix(RATES) + LENGTHS + end) for end in (".gz", "")]
    found = next((file for file in beside if file.exists()), None)
    if found is None:
        remedy = f"put {beside[0].name} beside it"
        raise TraceError("these are rates per client, without their length distributions", str(rates), remedy)
    return found


def _windows(rates: Path) -> Windows:
    windows: dict[float, list[tuple[int, float, float]]] = {}
    with text_of(rates) as text:
        first, number = first_line(text, rates)
        try:
            rows = csv.DictReader(itertools.chain([first], text))
            for row in rows:
                client, start_s, rate, cv = int(row[COLUMNS[0]]), *(float(row[c]) for c in COLUMNS[1:])
                if not (rate > 0 and cv >= 0 and start_s >= 0 and all(map(math.isfinite, (rate, cv, start_s)))):
                    raise ValueError("rate_rps must be above 0, cv and window_start_s 0 or more")
                windows.setdefault(start_s, []).append((client, rate, cv))
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            where = f"{rates}:{rows.line_num + number - 1}"
            remedy = f"give numbers in the columns {','.join(COLUMNS)}"
            raise TraceError(f"no rates of a client ({type(error).__name__}: {error})", where, remedy) from None
    if not windows:
        raise TraceError("the file has no rates", str(rates), "give a file with at least one window")
    return windows
