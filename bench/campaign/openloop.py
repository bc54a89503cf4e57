"""Load on a cluster: an open loop with Poisson arrivals that no answer delays, and a closed loop of busy clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np

from bench.campaign.client import Outcome, ask, body, encode

RAMP_S = 2.0


def hurry() -> None:
    """Let this process run before others, where that is allowed: a client that waits for a CPU itself measures nothing."""
    with contextlib.suppress(PermissionError):
        os.nice(-10)


@dataclass(frozen=True, slots=True)
class Mix:
    """Requests with prompts of random tokens; lengths in tokens, uniform from first to last."""

    prompt_tokens: tuple[int, int] = (32, 256)
    output_tokens: tuple[int, int] = (16, 96)

    def draw(self, rng: random.Random, url: str) -> bytes:
        """An encoded request."""
        return encode(url, body(rng, rng.randint(*self.prompt_tokens), rng.randint(*self.output_tokens)))


@dataclass(frozen=True, slots=True)
class Slo:
    """Goals in seconds."""

    ttft_s: float
    tpot_s: float

    def met(self, outcome: Outcome) -> bool:
        """It came whole and in time."""
        return outcome.whole and outcome.ttft_s <= self.ttft_s and outcome.tpot_s <= self.tpot_s


async def closed(url: str, mix: Mix, rng: random.Random, clients: int, seconds: float) -> list[Outcome]:
    """`clients` ask one request after another; those that ended within `seconds`, after RAMP_S in which all get to work."""
    from_s = time.monotonic() + RAMP_S
    until_s = from_s + seconds
    outcomes: list[Outcome] = []

    async def client() -> None:
        while time.monotonic() < until_s:
            outcome = await ask(url, mix.draw(rng, url), time.monotonic())
            if outcome.status != 200:
                await asyncio.sleep(0.1)
            if from_s <= time.monotonic() <= until_s:
                outcomes.append(outcome)

    await asyncio.gather(*(client() for _ in range(clients)))
    return outcomes


async def arrivals(rng: random.Random, rate: float, seconds: float) -> AsyncIterator[float]:
    """Moments (monotonic) of a Poisson process, each when it has come."""
    due_s = time.monotonic()
    until_s = due_s + seconds
    while (due_s := due_s + rng.expovariate(rate)) < until_s:
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        yield due_s


async def poisson(url: str, mix: Mix, rng: random.Random, rate: float, seconds: float) -> list[Outcome]:
    """All requests that arrived within `seconds`, when the last has ended."""
    tasks = [asyncio.create_task(ask(url, mix.draw(rng, url), due_s)) async for due_s in arrivals(rng, rate, seconds)]
    return list(await asyncio.gather(*tasks))


def percentile_ms(values: list[float], q: float) -> float:
    """Percentile of seconds, in milliseconds; NaN without values."""
    kept = [value for value in values if value == value]
    return float(np.percentile(kept, q)) * 1e3 if kept else float("nan")
