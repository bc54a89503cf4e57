"""Options that hold a time."""

from __future__ import annotations

from orchestrator.cli.errors import usage
from orchestrator.cli.units import parse_duration


def seconds(text: str, option: str) -> float:
    """Seconds of `90`, `60s`, `5m`, `1h` or `500ms`; raises a usage error that names `option`."""
    try:
        return parse_duration(text)
    except ValueError:
        raise usage(f"{text!r} is not a duration", option, "use seconds, or 500ms, 60s, 5m, 1h") from None
