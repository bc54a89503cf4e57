"""The prefix index of a front door that dials a worker whose cache is already warm."""

import asyncio

from bench.fleet import collect, fleet
from orchestrator.core.hashing import block_hashes
from orchestrator.core.sampling import Sampling

PROMPT = list(range(20, 100))


async def test_a_new_link_learns_what_the_worker_has_cached():
    hashes = block_hashes(PROMPT, 16)
    async with fleet({"w0": "both"}) as running:
        await collect(running.dispatcher, "warm", PROMPT, Sampling(max_tokens=1, temperature=0))
        router = running.dispatcher.router

        def held():
            return int(router.prefix.matches(hashes, 1)[0])

        await until(lambda: held() == len(hashes))
        store = running.discovery.store
        store.update("endpoint", "w0", lambda doc: {**doc, "state": "starting"})
        await until(lambda: not running.dispatcher.ready)
        assert held() == 0
        store.update("endpoint", "w0", lambda doc: {**doc, "state": "ready"})
        await until(lambda: held() == len(hashes))


async def until(condition, within_s=10.0):
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)
