"""What a front door makes of workers that leave, and of a policy or a document that it cannot use."""

import asyncio

import pytest

from orchestrator.core.cluster import Role
from orchestrator.frontend.discovery import Discovery
from orchestrator.frontend.dispatchers import Dispatchers
from orchestrator.state.open import open_store
from tests.dispatch.links import dispatcher

ENDPOINT = {
    "name": "w0",
    "address": "127.0.0.1:1",
    "session_address": "127.0.0.1:1",
    "incarnation": 1,
    "state": "ready",
}
DESIRED = {"name": "w0", "role": "both", "drain": None, "drained": False}


@pytest.fixture
async def followed(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/state.db")
    store.put("cluster", "spec", {})
    store.put("cluster", "spec", {})
    service, _ = dispatcher()
    discovery = Discovery(store, Dispatchers([service]), "test")
    follower = asyncio.create_task(discovery.run())
    yield store, service, follower
    follower.cancel()
    await discovery.close()
    store.close()


def links():
    return [task for task in asyncio.all_tasks() if task.get_name() == "link-w0"]


async def until(condition, within_s=10.0):
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


async def test_a_worker_whose_endpoint_is_gone_is_not_dialled_for_ever(followed):
    store, _, _ = followed
    store.put("worker", "w0", DESIRED)
    store.put("endpoint", "w0", ENDPOINT)
    await until(links)
    store.delete("endpoint", "w0")
    store.delete("worker", "w0")
    await until(lambda: not links())


async def test_a_document_that_makes_no_sense_does_not_end_discovery(followed):
    store, service, follower = followed
    store.put("worker", "w0", {**DESIRED, "role": "juggle"})
    store.put("endpoint", "w0", ENDPOINT)
    await until(links)
    store.put("worker", "w0", DESIRED)
    await until(lambda: list(service.router.view.names) == ["w0"])
    assert service.router.view.role[service.router.row("w0")] == Role.BOTH
    assert not follower.done()


async def test_a_store_that_lost_everything_takes_no_worker_away(followed):
    store, _, _ = followed
    store.put("worker", "w0", DESIRED)
    store.put("endpoint", "w0", ENDPOINT)
    await until(links)
    async with asyncio.timeout(10):
        store.restore({kind: {} for kind in ("cluster", "worker", "endpoint")}, 0)
        store.put("policy", "routing", {"name": "random", "parameters": {}})
        seen = asyncio.Event()
        revision, asked = store.revision, []

        def polled():
            asked.append(revision())
            if len(asked) > 3:
                seen.set()
            return asked[-1]

        store.revision = polled
        await seen.wait()
    assert links()
