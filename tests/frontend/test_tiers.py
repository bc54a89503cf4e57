"""Service levels follow the store."""

from __future__ import annotations

from orchestrator.core.config import Tier
from orchestrator.frontend.tiers import update


def test_tiers_are_replaced_in_place() -> None:
    tiers = {"old": Tier("old", 1.0, 1.0), "kept": Tier("kept", 1.0, 1.0)}
    same = tiers
    update(tiers, (Tier("new", 2.0, 2.0), Tier("kept", 3.0, 3.0)))
    assert same is tiers and list(tiers) == ["new", "kept"] and tiers["kept"].ttft_ms == 3.0
