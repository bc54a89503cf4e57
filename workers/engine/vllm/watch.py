"""Reads the server's metrics now and then into the engine's statistics."""

from __future__ import annotations

import asyncio
import logging

from workers.engine.vllm.client import HttpClient, HttpError
from workers.engine.vllm.engine import VllmEngine
from workers.engine.vllm.metrics import Sample, read

log = logging.getLogger(__name__)

EVERY_S = 2.0
"""vLLM takes some 10 ms of its processor to write its metrics."""
ANSWER_S = 10.0


class MetricsWatch:
    """`sample` is the last one."""

    def __init__(self, engine: VllmEngine, client: HttpClient) -> None:
        self._engine = engine
        self._client = client
        self.sample: Sample | None = None

    async def run(self) -> str:
        """Until cancelled. A server that does not answer leaves the numbers as they are."""
        failure = ""
        while True:
            try:
                status, body = await self._client.get("/metrics", ANSWER_S)
                if status == 200:
                    self._engine.answered()
                    self.take(read(body))
                failure = ""
            except (HttpError, ValueError) as error:
                if str(error) != failure:
                    failure = str(error)
                    log.warning("metrics: %s", failure)
            await asyncio.sleep(EVERY_S)

    def take(self, sample: Sample) -> None:
        """Put one sample into the statistics."""
        stats, before = self._engine.stats, self.sample
        self.sample = sample
        stats.preemptions = int(sample.get("num_preemptions_total"))
        # What this worker has counted itself the server counts too, but later: no counter goes back.
        stats.lease_expiries = max(stats.lease_expiries, int(sample.get("nixl_num_kv_expired_reqs_total")))
        stats.steps = sample.steps
        stats.cached_prompt_tokens = max(stats.cached_prompt_tokens, int(sample.get("prefix_cache_hits_total")))
        self._engine.ledger.measured(round(sample.kv_usage * stats.kv_total_blocks))
        moved = int(sample.get("nixl_bytes_transferred_sum"))
        _, done, failures = self._engine.pulls
        self._engine.pulls = (moved, done, failures)
        if before is None:
            return
        if sample.steps != before.steps:
            self._engine.moved()
        gaps = sample.get("inter_token_latency_seconds_count") - before.get("inter_token_latency_seconds_count")
        if gaps > 0:
            spent_s = sample.get("inter_token_latency_seconds_sum") - before.get("inter_token_latency_seconds_sum")
            stats.step_time_s = spent_s / gaps
