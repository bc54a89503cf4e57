"""Latency distributions: what share of requests was at least that quick, per tier, against the SLO."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from orchestrator.report.columns import Columns, Flags, Floats
from orchestrator.report.page_scale import percent, seconds
from orchestrator.report.page_svg import COLOURS, Plot, figure

POINTS = 400
# A spread this wide between the 1st percentile and the maximum reads better by logarithm.
WIDE = 30.0


def latency_plots(columns: Columns) -> list[str]:
    """Figures of TTFT, TPOT and E2E."""
    kinds = (
        ("TTFT", "time to first token: share of requests within", columns.ttft_s, columns.ttft_slo_s),
        ("TPOT", "time per output token: share of requests within", columns.tpot_s, columns.tpot_slo_s),
        ("E2E", "arrival to last token: share of requests within", columns.e2e_s, np.full(len(columns.e2e_s), np.nan)),
    )
    return [_plot(columns, name, note, values, slo_s) for name, note, values, slo_s in kinds]


def _plot(columns: Columns, name: str, note: str, values: Floats, slo_s: Floats) -> str:
    measured = columns.completed & ~np.isnan(values)
    if not measured.any():
        return figure(name, '<p class="empty">No completed request has this figure.</p>', note)
    groups = list(_groups(columns, measured))
    marks = list(_marks(groups, slo_s))
    known = values[measured]
    low, high = float(np.percentile(known, 1)), float(known.max())
    log = low > 0 and high / low > WIDE
    reach = max([high, *(v for v, _, _ in marks if v < 4 * high)])
    start = max(low, high * 1e-5) * 0.8 if log else 0.0
    plot = Plot(
        f"Distribution of {name}", (start, reach * 1.02), (0, 1), seconds, percent, log, x_title=_axis(name, log)
    )
    for tier, colour, chosen in groups:
        x, y = cdf(values[chosen])
        if len(x) > 1:
            plot.line(x, y, colour, f"{tier}: {len(values[chosen])} requests")
        for point in (50, 90, 99):
            at = float(np.percentile(values[chosen], point))
            plot.dot(at, point / 100, colour, f"{tier}: p{point} {name} {seconds(at)}")
    for row, (value, text, line) in enumerate(marks[:4]):
        if value <= reach:
            # The curve is low left of its middle and high right of it; the text stands where it is not.
            plot.mark(value, text, line, row, top=float(np.mean(known <= value)) < 0.5)
    return figure(name, plot.svg(), note, [(tier, colour) for tier, colour, _ in groups])


def _axis(name: str, log: bool) -> str:
    return f"{name} (log scale)" if log else name


def _groups(columns: Columns, measured: Flags) -> Iterator[tuple[str, int, Flags]]:
    """Name, colour and requests of each line: all, and the largest tiers where there are several."""
    yield "all", 0, measured
    if len(columns.tiers) < 2:
        return
    counts = np.bincount(columns.tier[measured], minlength=len(columns.tiers))
    largest = sorted(np.argsort(-counts, kind="stable")[: COLOURS - 1].tolist())
    for colour, index in enumerate(largest, 1):
        if counts[index]:
            yield columns.tiers[index], colour, measured & (columns.tier == index)


def _marks(groups: list[tuple[str, int, Flags]], slo_s: Floats) -> Iterator[tuple[float, str, int | None]]:
    """The SLO of each group whose requests share one; groups with the same bound share a mark."""
    shown = groups if len(groups) == 1 else groups[1:]
    sharing: dict[float, list[tuple[str, int]]] = {}
    for tier, colour, chosen in shown:
        bounds = np.unique(slo_s[chosen])
        bounds = bounds[~np.isnan(bounds)]
        if len(bounds) == 1:
            sharing.setdefault(float(bounds[0]), []).append((tier, colour))
    for value, of in sorted(sharing.items()):
        if len(of) == 1 and len(shown) > 1:
            yield value, f"SLO {of[0][0]} {seconds(value)}", of[0][1]
        else:
            some = "" if len(of) == len(shown) else " " + ", ".join(tier for tier, _ in of)
            yield value, f"SLO{some} {seconds(value)}", None


def cdf(values: Floats) -> tuple[Floats, Floats]:
    """At most `POINTS` points of the distribution of `values`: those at evenly spaced ranks, and both ends."""
    ordered = np.sort(values)
    count = len(ordered)
    ranks = np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(np.intp))
    return ordered[ranks], (ranks + 1) / count
