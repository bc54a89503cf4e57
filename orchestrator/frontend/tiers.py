"""The service levels of the spec in force, followed so that `pdctl apply` changes them while the front door runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from orchestrator.core.config import ConfigError, Spec, Tier, parse
from orchestrator.state import Document, Store, StoreError

log = logging.getLogger(__name__)
POLL_S = 0.5


class UnknownTier(Exception):
    """A request names a tier that the cluster does not have; the text lists those that it has."""


class Tiers(dict[str, Tier]):
    """Tiers by name, in the order of the spec. `default` is the tier of requests that name none: one of them."""

    __slots__ = ("default",)

    def __init__(self, tiers: Iterable[Tier], default: str | None = None) -> None:
        """The first is the default unless `default` names another; there must be one."""
        super().__init__({tier.name: tier for tier in tiers})
        self.default = default or next(iter(self))

    @classmethod
    def of(cls, spec: Spec) -> Tiers:
        """Those of a spec."""
        return cls(spec.tiers, spec.tier(None).name)

    def follow(self, spec: Spec) -> None:
        """Hold those of another spec; whoever reads them meanwhile on the same loop sees all or nothing."""
        self.clear()
        self.update({tier.name: tier for tier in spec.tiers})
        self.default = spec.tier(None).name

    def choose(self, name: str | None) -> str:
        """The tier that a request of `name` is of, None or "" for the default; raises UnknownTier."""
        if not name:
            return self.default
        if name not in self:
            raise UnknownTier(", ".join(sorted(self)))
        return name


async def follow_tiers(store: Store, tiers: Tiers) -> None:
    """Keep `tiers` as the store says until cancelled; what cannot be read leaves them as they are."""
    seen = None
    while True:
        try:
            document = await asyncio.to_thread(store.get, "cluster", "spec")
            if document is not None and (said := _said(document)) != seen:
                tiers.follow(parse(document).spec)
                seen = said
        except (StoreError, ConfigError) as error:
            log.warning("tiers stay as they are: %s", error)
        await asyncio.sleep(POLL_S)


def _said(document: Document) -> tuple[Any, Any]:
    """What the document of a spec says of tiers."""
    spec = document["spec"]
    return spec.get("tiers"), spec.get("frontDoor", {}).get("defaultTier")
