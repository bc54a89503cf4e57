"""Public traces beside the checkout, and what their publishers' inventory says about them."""

from __future__ import annotations

from pathlib import Path

import pytest

TRACES = Path(__file__).parents[3] / "shared" / "traces"


def public(name: str) -> Path:
    """The file, or a skip."""
    if not (TRACES / name).exists():
        pytest.skip(f"the public trace {name} is not on this machine")
    return TRACES / name
