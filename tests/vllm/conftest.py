from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.vllm.driver import Driven, driving
from tests.vllm.server_double import ServerDouble, serving


@pytest.fixture
async def double() -> AsyncIterator[ServerDouble]:
    async with serving(ServerDouble()) as server:
        yield server


@pytest.fixture
async def driven(double: ServerDouble) -> AsyncIterator[Driven]:
    async with driving(double) as one:
        yield one


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Driven, Driven]]:
    """A prefill and a decode worker whose servers reach each other."""
    async with serving(ServerDouble()) as first, serving(ServerDouble()) as second:
        first.peers, second.peers = [second], [first]
        async with driving(first) as prefill, driving(second) as decode:
            yield prefill, decode
