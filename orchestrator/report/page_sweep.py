"""Figures against what a sweep varies, from one report per value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orchestrator.report.columns import Columns
from orchestrator.report.page_scale import Floats, number, percent, seconds, upper
from orchestrator.report.page_svg import Plot, Ticks, figure

# A bound this many times as high as all that was measured would flatten it.
FAR = 4.0

# The value that was varied (requests per second, or a setting of any kind), and the report of that run.
Sweep = Sequence[tuple[Any, Mapping[str, Any]]]


def shared_bounds(columns: Columns) -> dict[str, float]:
    """`ttft_s` and `tpot_s`, each where all requests that have such a bound have the same one."""
    found = {}
    for key, bounds in (("ttft_s", columns.ttft_slo_s), ("tpot_s", columns.tpot_slo_s)):
        distinct = np.unique(bounds[~np.isnan(bounds)])
        if len(distinct) == 1:
            found[key] = float(distinct[0])
    return found


def sweep_plots(sweep: Sweep, axis: str = "rate", bounds: Mapping[str, float] | None = None) -> list[str]:
    """Goodput, attainment and tail latency against the values of the sweep; nothing for an empty one.

    `bounds` are the SLO of every run, as `shared_bounds` finds them; a sweep of tiers has none. Values that are
    not all numbers stand side by side in the order given.
    """
    if not sweep:
        return []
    slo = {} if bounds is None or axis.removeprefix("spec.").startswith("tiers") else bounds
    title = "offered rate, requests/s" if axis == "rate" else axis
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value, _ in sweep)
    if numeric:
        sweep = sorted(sweep, key=lambda pair: float(pair[0]))
        x, ticks = np.array([float(value) for value, _ in sweep]), None
        low = min(0.0, float(x.min()))
        span = (low, upper(float(x.max())))
    else:
        x = np.arange(len(sweep), dtype=np.float64)
        ticks = [(float(i), _short(str(value))) for i, (value, _) in enumerate(sweep)]
        span = (-0.5, len(sweep) - 0.5)
    return _Plots([document for _, document in sweep], x, span, ticks, title, axis, slo).all()


def _short(text: str) -> str:
    return text if len(text) <= 14 else f"{text[:13]}…"


class _Plots:
    def __init__(
        self,
        documents: Sequence[Mapping[str, Any]],
        x: Floats,
        span: tuple[float, float],
        ticks: Ticks | None,
        title: str,
        axis: str,
        slo: Mapping[str, float],
    ) -> None:
        self.documents, self.x, self.span, self.ticks = documents, x, span, ticks
        self.title, self.axis, self.slo = title, axis, slo

    def all(self) -> list[str]:
        """The figures that have something to show."""
        plots = [self._goodput(), self._attained(), self._tail("ttft_s", "TTFT"), self._tail("tpot_s", "TPOT")]
        return [plot for plot in plots if plot]

    def _goodput(self) -> str:
        served = np.array([d["throughput"]["requests_per_s"] for d in self.documents], np.float64)
        goodput = self._of("goodput_rps")
        top = upper(float(np.nanmax(np.append(goodput, served))))
        plot = self._plot("Goodput", top, number)
        plot.line(self.x, served, 0, "completed", dots=True, dashed=True)
        keys = [("completed", 0)]
        if not np.isnan(goodput).all():
            plot.line(*self._known(goodput), 3, "goodput", dots=True)
            keys.append(("goodput", 3))
        return figure("Goodput", plot.svg(), f"requests/s against {self.axis}", keys)

    def _attained(self) -> str:
        attained = self._of("slo_attainment")
        if np.isnan(attained).all():
            return ""
        plot = self._plot("SLO attainment", 1.0, percent)
        plot.line(*self._known(attained), 3, "in SLO", dots=True)
        return figure("In SLO", plot.svg(), f"share of requests against {self.axis}")

    def _tail(self, key: str, name: str) -> str:
        lines = [(point, colour, self._of(key, point)) for point, colour in (("p50", 1), ("p90", 2), ("p99", 4))]
        known = np.concatenate([self._known(y)[1] for _, _, y in lines])
        if not len(known):
            return ""
        highest, bound = float(known.max()), self.slo.get(key, math.inf)
        is_near = bound < FAR * highest
        plot = self._plot(name, upper(max(highest, bound) if is_near else highest), seconds)
        if is_near:
            plot.bound(bound, f"SLO {seconds(bound)}")
        for point, colour, y in lines:
            plot.line(*self._known(y), colour, f"{name} {point}", dots=True)
        return figure(name, plot.svg(), f"against {self.axis}", [(point, colour) for point, colour, _ in lines])

    def _plot(self, name: str, top: float, read: Any) -> Plot:
        label = f"{name} against {self.axis}"
        return Plot(label, self.span, (0, top), number, read, x_title=self.title, x_ticks=self.ticks)

    def _of(self, *path: str) -> Floats:
        values: list[Any] = list(self.documents)
        for part in path:
            values = [value[part] for value in values]
        return np.array(values, np.float64)

    def _known(self, y: Floats) -> tuple[Floats, Floats]:
        return self.x[~np.isnan(y)], y[~np.isnan(y)]
