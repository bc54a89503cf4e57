"""Transport pairs of a decode worker over the restarts of the workers that it pulls from."""

import asyncio

import pytest

from bench.fleet import collect, fleet
from orchestrator.core.sampling import Sampling

SAMPLING = Sampling(max_tokens=4, temperature=0, ignore_eos=True)


@pytest.mark.parametrize("transport", ["nixl", "gloo"])
async def test_only_the_newest_incarnation_of_a_peer_is_kept(transport):
    prompt = list(range(20, 60))
    async with fleet({"p0": "prefill", "d0": "decode"}, transport=transport) as running:
        expected = await collect(running.dispatcher, "first", prompt, SAMPLING)
        for restart in range(2):
            await asyncio.to_thread(running.kill, "p0")
            await asyncio.to_thread(running.start, "p0", "prefill")
            await serving(running, "p0")
            assert await collect(running.dispatcher, f"again-{restart}", prompt, SAMPLING) == expected
            assert not running.dispatcher.find(f"again-{restart}").co_located
        newest = f"p0@{running.workers['p0'].incarnation}"
        assert list((await running.integrity())["d0"].connected_peers) == [newest]


async def serving(running, name, within_s=30.0):
    """Wait until the front door has heard of the newest incarnation."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        link = running.dispatcher.workers[name]
        if link.incarnation == running.workers[name].incarnation and link.status is not None:
            return
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)
