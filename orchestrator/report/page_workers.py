"""Queue depth and KV use over time: bands over each pool, and a panel per worker unless there are too many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

import numpy as np

from orchestrator.report.chrome import natural
from orchestrator.report.page_scale import Floats, number, percent, seconds, upper
from orchestrator.report.page_svg import Plot, figure, points, steps
from orchestrator.report.timeline import Series, Timeline, downsample

MOST_PANELS = 64
MOST_POOLS = 6
GRID = 200
# Of one strip in a panel.
WIDE, HIGH, GAP = 240, 44, 14
# Key of the series, title, colour, how its values read.
Kind = tuple[str, str, int, Callable[[float], str]]
KINDS: tuple[Kind, ...] = (
    ("queue", "waiting", 1, number),
    ("running", "running", 3, number),
    ("kv", "KV in use", 2, percent),
)


def worker_plots(timeline: Timeline, pools: Mapping[str, str] | None = None) -> tuple[list[str], list[str]]:
    """Wide figures of each pool, and a panel per worker (none for one worker or more than `MOST_PANELS`).

    `pools` gives the pool of a worker: prefill and decode workers wait for different things, and share no median.
    """
    names = sorted((n for n, of in timeline.workers.items() if any(len(s) for s in of.values())), key=natural)
    end_s = timeline.end_s
    if not names or end_s <= 0:
        return [], []
    groups: dict[str, list[str]] = {}
    order = {pool: index for index, pool in enumerate(dict.fromkeys((pools or {}).values()))}
    for name in sorted(names, key=lambda n: order.get((pools or {}).get(n, ""), len(order))):
        groups.setdefault((pools or {}).get(name, ""), []).append(name)
    if len(groups) > MOST_POOLS:
        groups = {"": names}
    grid = np.linspace(0.0, end_s, GRID)
    tops = _tops(timeline)
    whole = [_whole(timeline, pool, of, grid, kind, tops) for pool, of in groups.items() for kind in KINDS]
    if not 1 < len(names) <= MOST_PANELS:
        return [w for w in whole if w], []
    # Many panels share what a page may weigh.
    detail = max(40, min(240, 4800 // len(names)))
    return [w for w in whole if w], [_panel(n, timeline.workers[n], end_s, tops, detail) for n in names]


def _tops(timeline: Timeline) -> dict[str, float]:
    """Where the axes end. Counts are whole, so an axis of one request would have ticks of parts of it."""
    kv = _peak(timeline, "kv")
    counts = {key: upper(max(4.0, _peak(timeline, key))) for key in ("queue", "running")}
    return {**counts, "kv": 1.0 if kv > 0.1 or kv == 0 else upper(kv)}


def _peak(timeline: Timeline, key: str) -> float:
    peaks = (float(of[key].value.max()) for of in timeline.workers.values() if key in of and len(of[key]))
    return max(peaks, default=0.0)


def _whole(timeline: Timeline, pool: str, names: list[str], grid: Floats, kind: Kind, tops: Mapping[str, float]) -> str:
    key, title, colour, read = kind
    known = [timeline.workers[n][key] for n in names if len(timeline.workers[n].get(key, ()))]
    if not known:
        return ""
    where = f"{pool}: " if pool else ""
    heading = f"{title[0].upper()}{title[1:]}"
    plot = Plot(f"{where}{title} over time", (0, grid[-1]), (0, tops[key]), seconds, read, x_title="time")
    if len(known) == 1:
        thin = downsample(known[0], 2 * GRID)
        plot.line(*steps(np.append(thin.time_s, grid[-1]), np.append(thin.value, thin.value[-1])), colour, title)
        return figure(heading, plot.svg(), names[0])
    low, tenth, middle, ninth, high = np.percentile([s.at(grid) for s in known], (0, 10, 50, 90, 100), axis=0)
    plot.band(grid, low, high, colour, f"{where}{title}: least to most of {len(known)} workers")
    plot.band(grid, tenth, ninth, colour, f"{where}{title}: 10th to 90th percentile of {len(known)} workers")
    plot.line(grid, middle, colour, f"{where}{title}: median worker")
    return figure(heading, plot.svg(), f"{where}{len(known)} workers: median, p10–p90, min–max")


def _panel(name: str, series: Mapping[str, Series], end_s: float, tops: Mapping[str, float], detail: int) -> str:
    strips, facts, at = [], [], 4
    for key, title, colour, read in (KINDS[0], KINDS[2]):
        known = series.get(key)
        if known is None or not len(known):
            continue
        strips.append(_strip(downsample(known, detail), f"{name}: {title}", end_s, tops[key], at, colour, read))
        facts.append(f"{title} ≤ {read(float(known.value.max()))}")
        at += HIGH + GAP
    end = escape(seconds(end_s))
    axis = f'<text x="0" y="{at}">0</text><text x="{WIDE}" y="{at}" text-anchor="end">{end}</text>'
    return (
        f'<figure class="panel"><figcaption>{escape(name)} <small>{escape(", ".join(facts))}</small></figcaption>'
        f'<svg viewBox="0 0 {WIDE} {at + 4}" role="img" aria-label="{escape(name)}: {escape(", ".join(facts))}">'
        f"{''.join(strips)}{axis}</svg></figure>"
    )


def _strip(
    series: Series, title: str, end_s: float, top: float, at: int, colour: int, read: Callable[[float], str]
) -> str:
    time_s, value = np.append(series.time_s, end_s), np.append(series.value, series.value[-1])
    x, y = steps(time_s / end_s * WIDE, at + HIGH * (1 - np.clip(value / top, 0, 1)))
    base = np.array([at + HIGH], np.float64)
    shape = points(np.concatenate((x[:1], x, x[-1:])), np.concatenate((base, y, base)))
    text = escape(f"{title}, scale 0 to {read(top)}")
    return (
        f'<rect class="lane" x="0" y="{at}" width="{WIDE}" height="{HIGH}"/>'
        f'<polygon class="area f{colour}" points="{shape}"/><polyline class="line thin c{colour}" points="{points(x, y)}"/>'
        f'<line class="axis" x1="0" x2="{WIDE}" y1="{at + HIGH}" y2="{at + HIGH}"/>'
        f'<text class="lane-top" x="3" y="{at + 10}">{escape(read(top))}</text>'
        f'<rect class="hit" x="0" y="{at}" width="{WIDE}" height="{HIGH}"><title>{text}</title></rect>'
    )
