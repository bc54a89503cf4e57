"""A replay from discovery to report: the endpoint, its cluster's counters, the load, the figures."""

from __future__ import annotations

import json
import secrets
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import uvloop

from orchestrator.cli import counters
from orchestrator.cli.connection import Client, connect, find_cluster
from orchestrator.cli.credentials import bearer, ssl_context
from orchestrator.cli.errors import CliError, usage
from orchestrator.cli.globals import GLOBALS
from orchestrator.cli.progress import Progress
from orchestrator.cli.version import package_version
from orchestrator.replay.client import CompletionClient, Settings, Slo
from orchestrator.replay.endpoint import Endpoint, base_of, discover
from orchestrator.replay.prompts import Prompts
from orchestrator.replay.runner import Result, Runner
from orchestrator.report.document import Kv, Run, report
from orchestrator.workload.schedule import Planned, Shape, plan


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asked for. SLOs in seconds."""

    url: str | None
    shape: Shape
    concurrency: int
    model: str | None
    tier: str | None
    ttft_slo_s: float | None
    tpot_slo_s: float | None
    ignore_eos: bool
    temperature: float
    timeout_s: float


def run(order: Order) -> tuple[dict[str, Any], int, list[str]]:
    """The report, how many requests an interruption left out, and what makes the figures doubtful; raises TraceError and CliError."""
    wall_s, cpu_s = time.monotonic(), time.process_time()
    # Before anything is contacted: a bad trace is the likelier mistake and needs no cluster to find.
    plan(replace(order.shape, requests=min(order.shape.requests or 1, 1)))
    with _cluster(order.url) as client:
        settings = _with_tiers(order, client)
        url = order.url or _url_of(client)
        before = counters.snapshot(client) if client else None
        result = uvloop.run(_load(order, url, settings))
        kv, workers = Kv(), []
        if client and before:
            named = counters.requests_named(client, settings.request_prefix)
            workers = counters.worker_rows(before, counters.settled(client), named)
            kv = counters.kv_of(workers)
    circumstances = Run(
        duration_s=result.duration_s,
        wall_s=time.monotonic() - wall_s,
        cpu_s=time.process_time() - cpu_s,
        seed=order.shape.seed,
        version=package_version(),
        kv=kv,
        workers=workers,
        client=result.load.document(),
    )
    document = report(result.outcomes, circumstances)
    faults = result.load.faults(document["ttft_s"]["p50"], order.concurrency) if result.paced else []
    return document, result.dropped, faults


def _cluster(url: str | None) -> AbstractContextManager[Client | None]:
    """The cluster behind `url`, if it is one that we can ask; counters of another cluster would mean nothing."""
    if url is None or GLOBALS.server:
        return connect()
    try:
        ours = find_cluster().http_url
    except CliError:
        return nullcontext()
    return connect() if ours and _same(ours, url) else nullcontext()


def _same(ours: str, url: str) -> bool:
    return base_of(ours) == base_of(url).replace("//localhost:", "//127.0.0.1:")


def _url_of(client: Client | None) -> str:
    from pd.v1.admin_pb2 import GetClusterRequest

    assert client is not None, "without --url there is a cluster"
    url = client.address.http_url or client.admin.GetCluster(GetClusterRequest()).http_url
    if not url:
        raise CliError("the cluster does not tell its HTTP address", client.address.grpc_address, "give --url")
    return str(url)


def _with_tiers(order: Order, client: Client | None) -> Settings:
    """Settings whose bounds come from the options, else from the cluster's tiers; bounds of a tier are not sent again."""
    settings = Settings(
        tier=order.tier,
        ttft_slo_s=order.ttft_slo_s,
        tpot_slo_s=order.tpot_slo_s,
        ignore_eos=order.ignore_eos,
        temperature=order.temperature,
        seed=order.shape.seed,
        timeout_s=order.timeout_s,
        request_prefix=f"replay-{secrets.token_hex(4)}",
    )
    if client is None:
        return settings
    from orchestrator.core.config import parse
    from pd.v1.admin_pb2 import GetClusterRequest

    spec = parse(json.loads(client.admin.GetCluster(GetClusterRequest()).spec_json)).spec
    try:
        default = spec.tier(order.tier).name
    except KeyError:
        known = ", ".join(t.name for t in spec.tiers)
        raise usage(f"no tier {order.tier!r}", "--tier", f"use one of: {known}") from None
    tiers = {tier.name: Slo(tier.ttft_ms / 1000, tier.tpot_ms / 1000) for tier in spec.tiers}
    return replace(settings, tiers=tiers, default_tier=default)


def _check_tiers(schedule: list[Planned], settings: Settings) -> None:
    """Raises CliError for a tier of the trace that the cluster lacks; what another endpoint knows is not known."""
    asked = {planned.tier for planned in schedule if planned.tier} if settings.tier is None else set()
    if settings.tiers and (unknown := sorted(asked - settings.tiers.keys())):
        known = ", ".join(settings.tiers)
        do = "add it to spec.tiers and `pdctl apply`, or send all requests in one with --tier"
        raise CliError(f"the trace has requests of tier {unknown[0]!r}, and the cluster has {known}", "spec.tiers", do)


async def _load(order: Order, url: str, settings: Settings) -> Result:
    connector = aiohttp.TCPConnector(limit=0, ssl=ssl_context() if url.startswith("https:") else True)
    # Lines of a stream are short, but a server may send much at once.
    async with aiohttp.ClientSession(connector=connector, headers=bearer(), read_bufsize=1 << 20) as session:
        endpoint: Endpoint = await discover(session, url, order.model)
        schedule: list[Planned] = plan(order.shape, endpoint.max_model_tokens)
        _check_tiers(schedule, settings)
        client = CompletionClient(session, endpoint, settings)
        prompts = Prompts(order.shape.seed, endpoint.vocab_size)
        with Progress(len(schedule)) as progress:
            return await Runner(client, prompts, order.concurrency, progress.add).run(schedule)
