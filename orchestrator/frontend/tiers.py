"""Follows the service levels of the spec in force, so that `pdctl apply` changes them while the front door runs."""

from __future__ import annotations

import asyncio
import logging

from orchestrator.core.config import ConfigError, Tier, parse
from orchestrator.state import Store, StoreError

log = logging.getLogger(__name__)
POLL_S = 0.5


async def follow_tiers(store: Store, tiers: dict[str, Tier]) -> None:
    """Keep `tiers` as the store says until cancelled; what cannot be read leaves them as they are."""
    seen = None
    while True:
        try:
            document = await asyncio.to_thread(store.get, "cluster", "spec")
            if document is not None and document["spec"].get("tiers") != seen:
                update(tiers, parse(document).spec.tiers)
                seen = document["spec"].get("tiers")
        except (StoreError, ConfigError) as error:
            log.warning("tiers stay as they are: %s", error)
        await asyncio.sleep(POLL_S)


def update(tiers: dict[str, Tier], wanted: tuple[Tier, ...]) -> None:
    """Make `tiers` hold `wanted`, in their order; whoever reads it meanwhile on the same loop sees all or nothing."""
    tiers.clear()
    tiers.update({tier.name: tier for tier in wanted})
