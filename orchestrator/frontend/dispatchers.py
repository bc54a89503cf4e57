"""The dispatchers of a front door: one for each served model, with a router of its own, as KV of one model is of no use to another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.core.config import Tier
from orchestrator.frontend.dispatcher import Dispatcher
from orchestrator.frontend.link import WorkerLink
from orchestrator.frontend.records import RequestRecord


class Dispatchers:
    """The one of the default model comes first."""

    def __init__(self, dispatchers: Sequence[Dispatcher]) -> None:
        self._all = tuple(dispatchers)
        self._by_model = {dispatcher.model.name: dispatcher for dispatcher in self._all}

    def __iter__(self) -> Iterator[Dispatcher]:
        return iter(self._all)

    @property
    def default(self) -> Dispatcher:
        return self._all[0]

    def of(self, model: str) -> Dispatcher | None:
        """The one of a model, the default one for ""; None if nobody serves it."""
        return self._by_model.get(model) if model else self.default

    @property
    def workers(self) -> Mapping[str, WorkerLink]:
        """Every connected worker by name."""
        return {name: link for dispatcher in self._all for name, link in dispatcher.workers.items()}

    @property
    def running(self) -> int:
        """Requests that are not over."""
        return sum(dispatcher.running for dispatcher in self._all)

    def requests(self) -> list[RequestRecord]:
        """See RequestSource."""
        if len(self._all) == 1:
            return self.default.requests()
        found = [record for dispatcher in self._all for record in dispatcher.requests()]
        return sorted(found, key=lambda record: record.arrived_at)

    def find(self, request_id: str) -> RequestRecord | None:
        """See RequestSource."""
        return next((found for d in self._all if (found := d.find(request_id)) is not None), None)

    def check_integrity(self) -> None:
        """See RequestSource."""
        for dispatcher in self._all:
            dispatcher.check_integrity()

    def follow(self, tiers: Mapping[str, Tier]) -> None:
        """Take the tiers of the spec, which may change."""
        for dispatcher in self._all:
            dispatcher.tiers = tiers

    async def drain(self, budget_s: float) -> bool:
        """As of a Dispatcher."""
        return all(await asyncio.gather(*(dispatcher.drain(budget_s) for dispatcher in self._all)))

    async def close(self) -> None:
        """As of a Dispatcher."""
        await asyncio.gather(*(dispatcher.close() for dispatcher in self._all))
