"""Numbers as people read them."""

from __future__ import annotations

import math


def duration(seconds: float | None) -> str:
    """`850µs`, `12.3ms`, `4.20s`, `5m30s`, `3h12m`, `2d4h`; `-` for None."""
    if seconds is None or math.isnan(seconds):
        return "-"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f}µs" if seconds > 0 else "0s"
    if seconds < 1:
        return f"{seconds * 1e3:.1f}ms"
    if seconds < 60:
        return f"{seconds:.2f}s"
    whole = int(seconds)
    for size, unit, next_size, next_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // next_size}{next_unit}"
    raise AssertionError(seconds)


def age(seconds: float) -> str:
    """A whole number of the largest fitting unit: `12s`, `5m`, `3h`, `2d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def size(count: float) -> str:
    """Bytes: `512 B`, `1.5 MiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def parse_duration(text: str) -> float:
    """Seconds of `90`, `60s`, `5m`, `1h` or `500ms`; raises ValueError otherwise."""
    for suffix, factor in (("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)):
        if text.endswith(suffix):
            number = float(text.removesuffix(suffix))
            if not math.isfinite(number) or number < 0:
                raise ValueError(f"{text!r} is not a duration")
            return number * factor
    raise AssertionError(text)


def share(part: float, whole: float) -> str:
    """`12/400 (3%)`; without the share if `whole` is zero."""
    return f"{part:.0f}/{whole:.0f} ({100 * part / whole:.0f}%)" if whole else f"{part:.0f}/0"
