"""Plots as inline SVG: axes with units, lines, bands, marks and bars. Colours and fonts are classes of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from orchestrator.report.page_scale import Floats, Scale, number

# Of the view box; the page scales a plot to the width of its column. Text of 12 stays readable on a phone.
WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 40
COLOURS = 7

# Places on an axis with their names, instead of round values.
Ticks = Sequence[tuple[float, str]]


class Plot:
    """A frame with two axes. `read_x`, `read_y` format values; `label` is what a screen reader says."""

    def __init__(
        self,
        label: str,
        x: tuple[float, float],
        y: tuple[float, float],
        read_x: Callable[[float], str] = number,
        read_y: Callable[[float], str] = number,
        log_x: bool = False,
        x_title: str = "",
        x_ticks: Ticks | None = None,
    ) -> None:
        self.label = label
        self.x = Scale(*x, LEFT, WIDTH - RIGHT, log_x)
        self.y = Scale(*y, HEIGHT - BOTTOM, TOP)
        self.read_x, self.read_y = read_x, read_y
        self._x_ticks = [(v, read_x(v)) for v in self.x.ticks()] if x_ticks is None else x_ticks
        self._named = dict(self._x_ticks) if x_ticks is not None else {}
        self._parts: list[str] = []
        self._axes(x_title)

    def _axes(self, x_title: str) -> None:
        base, left, right = self.y.start, self.x.start, self.x.end
        for value in self.y.ticks():
            at = _px(self.y(value))
            self._parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{at}" y2="{at}"/>')
            self._parts.append(
                f'<text x="{left - 6}" y="{at}" dy=".35em" text-anchor="end">{escape(self.read_y(value))}</text>'
            )
        self._parts.append(f'<line class="axis" x1="{left}" x2="{right}" y1="{base}" y2="{base}"/>')
        for value, name in self._x_ticks:
            at = _px(self.x(value))
            self._parts.append(f'<line class="axis" x1="{at}" x2="{at}" y1="{base}" y2="{base + 4}"/>')
            self._parts.append(f'<text x="{at}" y="{base + 17}" text-anchor="middle">{escape(name)}</text>')
        middle = (left + right) / 2
        self._parts.append(
            f'<text class="unit" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_title)}</text>'
        )

    def line(self, x: Floats, y: Floats, colour: int, title: str, dots: bool = False, dashed: bool = False) -> None:
        """A line through the points, with dots that tell their values if asked."""
        style = f"line c{colour % COLOURS}" + (" dashed" if dashed else "")
        self._parts.append(
            f'<polyline class="{style}" points="{points(self.x(x), self.y(y))}"><title>{escape(title)}</title></polyline>'
        )
        if dots:
            for at_x, at_y in zip(x.tolist(), y.tolist(), strict=True):
                text = f"{title}: {self.read_y(at_y)} at {self._named.get(at_x) or self.read_x(at_x)}"
                self.dot(at_x, at_y, colour, text)

    def dot(self, x: float, y: float, colour: int, title: str) -> None:
        """A point that tells `title` when the pointer rests on it or the keyboard reaches it."""
        self._parts.append(
            f'<circle class="dot f{colour % COLOURS}" cx="{_px(self.x(x))}" cy="{_px(self.y(y))}" r="4" tabindex="0" '
            f'aria-label="{escape(title)}"><title>{escape(title)}</title></circle>'
        )

    def band(self, x: Floats, low: Floats, high: Floats, colour: int, title: str) -> None:
        """The area between two lines."""
        at = self.x(x)
        shape = points(np.concatenate((at, at[::-1])), np.concatenate((self.y(low), self.y(high)[::-1])))
        self._parts.append(
            f'<polygon class="band f{colour % COLOURS}" points="{shape}"><title>{escape(title)}</title></polygon>'
        )

    def mark(self, value: float, text: str, colour: int | None, row: int = 0, top: bool = False) -> None:
        """A vertical line at `value` with `text`, on the side where there is room; rows keep several apart."""
        at = float(self.x(value))
        left = at > (self.x.start + self.x.end) / 2
        y = TOP + 14 + 15 * row if top else self.y.start - 8 - 15 * row
        style = "" if colour is None else f" c{colour % COLOURS}"
        self._parts.append(
            f'<line class="mark{style}" x1="{_px(at)}" x2="{_px(at)}" y1="{TOP}" y2="{self.y.start}">'
            f"<title>{escape(text)}</title></line>"
            f'<text class="marked" x="{_px(at + (-5 if left else 5))}" y="{y}" '
            f'text-anchor="{"end" if left else "start"}">{escape(text)}</text>'
        )

    def bound(self, value: float, text: str) -> None:
        """A horizontal line at `value` with `text` at its left, below it where the plot ends."""
        at = float(self.y(value))
        y = at + 14 if at < TOP + 18 else at - 5
        self._parts.append(
            f'<line class="mark" x1="{self.x.start}" x2="{self.x.end}" y1="{_px(at)}" y2="{_px(at)}">'
            f"<title>{escape(text)}</title></line>"
            f'<text class="marked" x="{self.x.start + 5}" y="{_px(y)}">{escape(text)}</text>'
        )

    def svg(self) -> str:
        """The plot."""
        return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.label)}">{"".join(self._parts)}</svg>'


def points(x: Floats, y: Floats) -> str:
    """Pixels as the attribute `points` of a line or polygon."""
    return " ".join(f"{_trim(a)},{_trim(b)}" for a, b in zip(x.tolist(), y.tolist(), strict=True))


def steps(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The corners of a step function, to draw as a line."""
    return np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]


def legend(entries: Sequence[tuple[str, int]]) -> str:
    """Names beside their colours; nothing for a single one."""
    if len(entries) < 2:
        return ""
    items = "".join(f'<li><span class="key b{c % COLOURS}"></span>{escape(name)}</li>' for name, c in entries)
    return f'<ul class="legend">{items}</ul>'


def figure(title: str, body: str, note: str = "", keys: Sequence[tuple[str, int]] = ()) -> str:
    """A plot under its title."""
    small = f" <small>{escape(note)}</small>" if note else ""
    return f"<figure><figcaption>{escape(title)}{small}</figcaption>{legend(keys)}{body}</figure>"


def _px(value: Floats | float) -> str:
    return _trim(float(value))


def _trim(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
