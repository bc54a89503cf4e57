"""Queue depth and KV use over time: bands over each pool, and a panel per worker unless there are too many."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html import escape

import numpy as np

from orchestrator.report.chrome import natural
from orchestrator.report.page_scale import Floats, number, percent, seconds, upper
from orchestrator.report.page_svg import Plot, figure, points, steps
from orchestrator.report.timeline import FRONT_DOOR, Series, Timeline, downsample

MOST_PANELS = 64
MOST_POOLS = 6
GRID = 200
_LIFE = re.compile(r" \(\d+\)$")
_STRIPS = {"queue", "kv"}
Workers = Mapping[str, Mapping[str, Series]]
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
    """Wide figures of the front door and of each pool, and a panel per worker (none for one or more than `MOST_PANELS`).

    `pools` gives the pool of a worker: prefill and decode workers wait for different things, and share no median.
    """
    end_s = timeline.end_s
    if end_s <= 0:
        return [], []
    workers = {name: of for name, of in timeline.workers.items() if name != FRONT_DOOR}
    names = sorted((n for n, of in workers.items() if any(len(s) for s in of.values())), key=natural)
    door = timeline.workers.get(FRONT_DOOR, {}).get("queue", ())
    grid, tops = np.linspace(0.0, end_s, GRID), _tops(workers)
    whole = [_front_door(door, end_s)] if isinstance(door, Series) and len(door) else []
    groups = _groups(names, pools or {})
    whole += [_whole(workers, pool, of, grid, kind, tops) for pool, of in groups.items() for kind in KINDS]
    if not 1 < len(names) <= MOST_PANELS:
        return [w for w in whole if w], []
    # Many panels share what a page may weigh.
    detail = max(40, min(240, 4800 // len(names)))
    return [w for w in whole if w], [
        _panel(n, workers[n], end_s, tops, detail) for n in names if _STRIPS & workers[n].keys()
    ]


def _groups(names: list[str], pools: Mapping[str, str]) -> dict[str, list[str]]:
    """Workers by pool, in the order of the pools. A second life of a worker, `decode-0 (2)`, is in the pool of the first."""
    of_name = {name: pools.get(name, pools.get(_LIFE.sub("", name), "")) for name in names}
    order = {pool: index for index, pool in enumerate(dict.fromkeys(pools.values()))}
    groups: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda n: order.get(of_name[n], len(order))):
        groups.setdefault(of_name[name], []).append(name)
    return groups if len(groups) <= MOST_POOLS else {"": names}


def _front_door(queue: Series, end_s: float) -> str:
    """What no worker has yet: where a cluster is too small, the queue grows here and not at the workers."""
    top = upper(max(4.0, float(queue.value.max())))
    title = "waiting at the front door"
    plot = Plot(f"{title} over time", (0, end_s), (0, top), seconds, number, x_title="time")
    _step_line(plot, queue, end_s, KINDS[0][2], title)
    return figure(title.capitalize(), plot.svg(), "requests without a worker")


def _step_line(plot: Plot, series: Series, end_s: float, colour: int, title: str) -> None:
    thin = downsample(series, 2 * GRID)
    plot.line(*steps(np.append(thin.time_s, end_s), np.append(thin.value, thin.value[-1])), colour, title)


def _tops(workers: Workers) -> dict[str, float]:
    """Where the axes end. Counts are whole, so an axis of one request would have ticks of parts of it."""
    kv = _peak(workers, "kv")
    counts = {key: upper(max(4.0, _peak(workers, key))) for key in ("queue", "running")}
    return {**counts, "kv": 1.0 if kv > 0.1 or kv == 0 else upper(kv)}


def _peak(workers: Workers, key: str) -> float:
    peaks = (float(of[key].value.max()) for of in workers.values() if key in of and len(of[key]))
    return max(peaks, default=0.0)


def _whole(workers: Workers, pool: str, names: list[str], grid: Floats, kind: Kind, tops: Mapping[str, float]) -> str:
    key, title, colour, read = kind
    known = [workers[n][key] for n in names if len(workers[n].get(key, ()))]
    if not known:
        return ""
    where = f"{pool}: " if pool else ""
    heading = f"{title[0].upper()}{title[1:]}"
    plot = Plot(f"{where}{title} over time", (0, grid[-1]), (0, tops[key]), seconds, read, x_title="time")
    if len(known) == 1:
        _step_line(plot, known[0], float(grid[-1]), colour, title)
        return figure(heading, plot.svg(), next(n for n in names if workers[n].get(key) is known[0]))
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
