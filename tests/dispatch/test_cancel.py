"""A request that somebody other than its client cancels."""

import asyncio

import pytest

from orchestrator.core.cluster import Role
from orchestrator.core.request import RequestState
from orchestrator.core.sampling import Finish
from tests.dispatch.links import dispatcher, submit, tokens


@pytest.mark.parametrize("emitted", [0, 1], ids=["before the first token", "after it"])
async def test_its_client_is_told(emitted):
    service, links = dispatcher(w0=Role.BOTH)
    stream = submit(service, "r")
    if emitted:
        service.link_message(links["w0"], tokens(links["w0"].last("submit").submit.key, 0, 7))
    assert service.cancel("r")
    async with asyncio.timeout(5):
        deltas = [delta async for delta in stream]
    assert [delta.finish for delta in deltas] == [None] * emitted + [Finish.CANCELLED]
    assert deltas[-1].first_index == emitted
    assert service.find("r").state is RequestState.CANCELLED
    assert links["w0"].last("cancel")
    assert not service.cancel("r")
