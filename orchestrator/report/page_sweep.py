"""Figures against the offered rate, from one report per rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orchestrator.report.page_scale import number, percent, seconds, upper
from orchestrator.report.page_svg import Plot, figure

Sweep = Sequence[tuple[float, Mapping[str, Any]]]
AXIS = "offered rate, requests/s"


def sweep_plots(sweep: Sweep) -> list[str]:
    """Goodput, attainment and tail latency against the rate; nothing for an empty sweep."""
    ordered = sorted(sweep, key=lambda pair: pair[0])
    if not ordered:
        return []
    rates = np.array([rate for rate, _ in ordered])
    end = upper(float(rates.max()))
    goodput = _of(ordered, "goodput_rps")
    served = np.array([d["throughput"]["requests_per_s"] for _, d in ordered])
    top = upper(max(float(np.nanmax(np.append(goodput, 0.0))), float(served.max())))
    plot = Plot("Goodput against rate", (0, end), (0, top), x_title=AXIS)
    plot.line(rates, served, 0, "completed", dots=True, dashed=True)
    keys = [("completed", 0)]
    if not np.isnan(goodput).all():
        plot.line(*_known(rates, goodput), 3, "goodput", dots=True)
        keys.append(("goodput", 3))
    out = [figure("Goodput", plot.svg(), "requests/s against rate", keys)]
    attained = _of(ordered, "slo_attainment")
    if not np.isnan(attained).all():
        plot = Plot("SLO attainment against rate", (0, end), (0, 1), number, percent, x_title=AXIS)
        plot.line(*_known(rates, attained), 3, "in SLO", dots=True)
        out.append(figure("In SLO", plot.svg(), "share of requests against rate"))
    out += [_tail(rates, ordered, key, name, end) for key, name in (("ttft_s", "TTFT"), ("tpot_s", "TPOT"))]
    return [o for o in out if o]


def _tail(rates: Any, ordered: Sweep, key: str, name: str, end: float) -> str:
    lines = [
        (point, colour, *_known(rates, np.array([d[key][point] for _, d in ordered], np.float64)))
        for point, colour in (("p50", 1), ("p90", 2), ("p99", 4))
    ]
    if not any(len(x) for _, _, x, _ in lines):
        return ""
    top = upper(max(float(y.max()) for _, _, _, y in lines if len(y)))
    plot = Plot(f"{name} against rate", (0, end), (0, top), number, seconds, x_title=AXIS)
    for point, colour, x, y in lines:
        plot.line(x, y, colour, f"{name} {point}", dots=True)
    return figure(name, plot.svg(), "against rate", [(point, colour) for point, colour, _, _ in lines])


def _of(ordered: Sweep, key: str) -> Any:
    return np.array([d[key] for _, d in ordered], np.float64)


def _known(x: Any, y: Any) -> tuple[Any, Any]:
    return x[~np.isnan(y)], y[~np.isnan(y)]
