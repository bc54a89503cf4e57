"""What a real cluster decides under load is decided alike from its record, while it goes on."""

import asyncio

import openai
import pytest

from orchestrator.core.config import PolicyChoice
from orchestrator.simulator.from_record import replay_record

pytestmark = pytest.mark.cluster
REQUESTS = 200
AT_ONCE = 24


async def load(url: str) -> None:
    """Short completions, a quarter of which begin alike."""
    slots = asyncio.Semaphore(AT_ONCE)
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:

        async def ask(i: int) -> None:
            prompt = f"{'count to 40 ' * 12 if i % 4 == 0 else ''}count to {i}"
            async with slots:
                await client.completions.create(model="demo", prompt=prompt, max_tokens=2 + i % 7, temperature=0)

        await asyncio.gather(*(ask(i) for i in range(REQUESTS)))


def test_a_live_cluster_and_its_record_decide_alike(live):
    path = live.run_dir / "decisions-front-door-0.jsonl.gz"
    live.wait_ready()
    live.pdctl("set", "policy", "routing", "prefix_aware", "-p", "imbalanceTokens=256")
    before = replay_record(path) if path.exists() else None
    asyncio.run(load(live.url))
    live.pdctl("set", "policy", "routing", "prefix_aware")
    wanted = (before.requests if before else 0) + REQUESTS
    live.wait("the record holds every request", lambda: replay_record(path).requests >= wanted, 10)
    report = replay_record(path)
    assert report.different == 0, report.first
    assert report.missed == 0
    assert report.decisions - (before.decisions if before else 0) >= 500
    assert all(count.same >= 150 for count in report.counts.values()), report.counts
    assert {(p.name, p.parameters.get("imbalance_tokens")) for p in report.policies} >= {
        ("fcfs", None),
        ("prefix_aware", 256),
    }
    assert replay_record(path, {"routing": PolicyChoice("round_robin")}).different > 0
