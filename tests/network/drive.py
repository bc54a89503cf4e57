"""A prefill worker and a decode worker on two hosts, seen from a front door on the first: `python -m tests.network.drive HOSTS`.

Runs inside the first host's namespace; HOSTS is JSON (two names and addresses). Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from array import array
from typing import Any

from bench.fleet import Fleet, Place, collect, fleet
from bench.namespaces import UCX_TCP, Host
from orchestrator.core.sampling import Sampling
from orchestrator.frontend.service import DeltaStream, Submission

PROMPTS = [[5 + (7 * i + 3 * at) % 1500 for at in range(20 + 60 * i)] for i in range(6)]
GREEDY = Sampling(max_tokens=24, temperature=0.0, ignore_eos=True)
LONG = Sampling(max_tokens=200, temperature=0.0, ignore_eos=True)
KILLED = PROMPTS[3]
LATE = PROMPTS[:3]
"""Few enough that their failures do not open the breaker of a worker."""
SHORT_LEASE_S, LEASE_S = 1.0, 60.0
PHASE_S = 150.0
Outputs = list[list[int]]


async def outputs(running: Fleet, label: str, prompts: Outputs) -> Outputs:
    results = await asyncio.gather(
        *(collect(running.dispatcher, f"{label}-{i}", prompt, GREEDY) for i, prompt in enumerate(prompts))
    )
    return [tokens for tokens, _ in results]


async def with_a_kill(running: Fleet, name: str, role: str) -> list[int]:
    """One long request; `name` is killed after the first token and started again."""
    stream = DeltaStream()
    running.dispatcher.submit(Submission(f"kill-{name}", array("I", KILLED), LONG), stream)
    tokens = list((await anext(stream)).tokens)
    running.kill(name)
    await asyncio.to_thread(running.start, name, role)
    async for delta in stream:
        assert delta.first_index == len(tokens)
        tokens += delta.tokens
    return tokens


async def with_expired_leases(running: Fleet) -> Outputs:
    """The decode worker is stopped until leases have run out: what it pulls after that is gone."""
    expired = running.dispatcher.metrics.retries.labels("refused_expired")
    decode = running.workers["decode-0"].process
    decode.send_signal(signal.SIGSTOP)
    asked = asyncio.create_task(outputs(running, "lease", LATE))
    while True:
        await asyncio.sleep(0.01)
        if expired.value > 0 or asked.done():
            break
    decode.send_signal(signal.SIGCONT)
    return await asked


async def with_pulls(running: Fleet) -> Outputs:
    """Every prompt, as often as it takes until the decode worker has pulled as many: one whose prefill worker has failed often
    is on its own for a while.
    """
    turn = 0
    while True:
        found = await outputs(running, f"apart-{turn}", PROMPTS)
        turn += 1
        if (await running.integrity())["decode-0"].kv_pulls >= len(PROMPTS):
            return found


async def drive(hosts: list[Host]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    names = ("prefill-0", "decode-0")
    places = {name: Place(tuple(host.enter), host.address, UCX_TCP) for name, host in zip(names, hosts, strict=True)}
    started_s = time.monotonic()

    async def phase(name: str, work: Any) -> None:
        """Tells stderr how far it came, and ends one that hangs with its name."""
        nonlocal started_s
        try:
            found[name] = await asyncio.wait_for(work, PHASE_S)
        except TimeoutError:
            raise TimeoutError(f"{name} takes more than {PHASE_S:g} s") from None
        print(f"{name}: {time.monotonic() - started_s:.1f} s", file=sys.stderr, flush=True)
        started_s = time.monotonic()

    roles = {"prefill-0": "prefill", "decode-0": "decode"}
    async with fleet(roles, places=places, lease_s=SHORT_LEASE_S) as running:
        print(f"start: {time.monotonic() - started_s:.1f} s", file=sys.stderr, flush=True)
        await phase("lease", with_expired_leases(running))
        running.lease_s = LEASE_S  # those that start from here on
        for name, role in roles.items():
            await phase(f"{role}_killed", with_a_kill(running, name, role))
        await running.ready()
        await phase("apart", with_pulls(running))
        statuses = await running.integrity()
        found["pulled_bytes"] = statuses["decode-0"].kv_bytes_pulled
        found["left"] = {name: [s.leased_blocks, s.reserved_blocks] for name, s in statuses.items()}
    return found


if __name__ == "__main__":
    given = [Host(**fields) for fields in json.loads(sys.argv[1])]
    print(json.dumps(asyncio.run(drive(given))), flush=True)
