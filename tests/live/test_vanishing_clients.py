"""A hundred clients that vanish, a fifth of them in the middle of a transfer, leave nothing behind."""

import pytest

from bench.campaign.cluster import Cluster
from bench.campaign.vanish import campaign
from bench.harness import Bench
from orchestrator.state.open import open_store

pytestmark = pytest.mark.cluster
CLIENTS = 100


async def test_clients_vanish(live):
    live.wait_ready()
    store = open_store(f"sqlite:///{live.run_dir}/state.db")
    bench = Bench("campaign.vanish", quick=True, seed=0)
    try:
        await campaign(bench, Cluster(live.url, live.grpc, live.run_dir, store), CLIENTS)
    finally:
        store.close()
    assert all(check.ok for check in bench.checks), bench.text()
