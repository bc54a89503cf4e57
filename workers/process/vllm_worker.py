"""A worker whose engine is a vLLM server: started here, or one that runs already."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from orchestrator.core.sockets import free_ports
from pd.v1 import worker_pb2 as pb
from workers.engine.vllm.address import Address
from workers.engine.vllm.attached import AttachedServer, event_endpoints
from workers.engine.vllm.client import HttpClient, HttpError
from workers.engine.vllm.engine import VllmEngine
from workers.engine.vllm.facts import Facts, facts_of, streams_tokens
from workers.engine.vllm.flags import ServerSpec
from workers.engine.vllm.kv_events import KvEvents
from workers.engine.vllm.links import Identity, VllmLinks
from workers.engine.vllm.nixl import NixlHandoff
from workers.engine.vllm.prefixes import AssumedPrefixes, ToldPrefixes
from workers.engine.vllm.server import Server, ServerError
from workers.engine.vllm.watch import MetricsWatch
from workers.process.config import ProcessConfig
from workers.process.evented import EventedLoop
from workers.process.running import Running
from workers.process.worker_spans import worker_spans

VENV = Path(__file__).parents[2] / ".venv-vllm" / "bin" / "python"
"""Where `make setup-vllm` puts it."""


def say(text: str) -> None:
    """Progress of the start, for the host."""
    print(json.dumps({"progress": text}), flush=True)


def server_spec(config: ProcessConfig, scratch: Path) -> ServerSpec:
    """The server as the cluster file describes it, on ports that are free now."""
    engine, own = config.engine, config.engine["vllm"]
    port, side_port = free_ports(2, config.host)
    return ServerSpec(
        python=own["python"] or (str(VENV) if VENV.exists() else sys.executable),
        model_dir=config.model_dir,
        model_name=config.model_name,
        dtype=config.dtype,
        device=engine["device"],
        max_model_len=config.max_len,
        kv_blocks=engine["kv_blocks"],
        block_tokens=engine["block_tokens"],
        max_batch=engine["max_batch"],
        prefill_budget_tokens=engine["prefill_budget_tokens"],
        prefix_cache=engine["prefix_cache"],
        num_threads=engine["num_threads"],
        lease_s=config.transport["lease_s"],
        kv_events=own["kv_events"],
        host=config.host,
        port=port,
        side_port=side_port,
        scratch=scratch,
        arguments=own["args"] or "",
        environment=own["env"] or "",
    )


def server_url(config: ProcessConfig) -> str | None:
    """The running server that this worker is to use, None where it starts its own. Raises ServerError where there are too few."""
    servers = (config.engine.get("servers") or "").split()
    if not servers:
        return None
    index = int(config.name.rpartition("-")[2])
    if index >= len(servers):
        raise ServerError(f"the pool names {len(servers)} servers: add one to spec.pools[].servers for {config.name}")
    return servers[index]


@dataclass(slots=True)
class VllmRunning(Running):
    """With the server, and what follows it."""

    server: Server | AttachedServer | None = None
    scratch: tempfile.TemporaryDirectory[str] | None = None
    events: KvEvents | None = None
    tasks: tuple[asyncio.Task[str], ...] = ()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        if self.events is not None:
            self.events.close()
        await Running.close(self)
        if self.server is not None:
            await self.server.stop()
        if self.scratch is not None:
            self.scratch.cleanup()


async def run_vllm(config: ProcessConfig) -> Running:
    """Start the server and wait until it answers. Ends the process, with the reason, where that fails."""
    try:
        return await _run(config)
    except (ServerError, HttpError) as error:
        sys.exit(str(error))


async def _run(config: ProcessConfig) -> Running:
    handoff = NixlHandoff()
    scratch = tempfile.TemporaryDirectory(prefix="tandem-vllm-")
    spec = server_spec(config, Path(scratch.name))
    wait_s, url = config.engine["vllm"]["start_timeout_s"], server_url(config)
    server = Server(spec, handoff, say) if url is None else AttachedServer(Address.parse(url), wait_s, say)
    client = HttpClient(server.address)
    try:
        await server.start(client)
        facts, has_stream = await facts_of(client, config.model_name), await streams_tokens(client)
    except BaseException:
        await server.stop()
        scratch.cleanup()
        raise
    published: tuple[str, str | None] | None = (spec.events_endpoint, spec.replay_endpoint)
    if url is not None:
        published = await event_endpoints(client, server.address.host)
    told = ToldPrefixes(facts.block_tokens) if spec.kv_events and published is not None else None
    events = KvEvents(*published, told) if told is not None and published is not None else None
    engine = VllmEngine(
        client,
        config.model_name,
        handoff,
        kv_blocks=facts.kv_blocks,
        block_tokens=facts.block_tokens,
        max_model_len=facts.max_model_len,
        lease_s=config.transport["lease_s"],
        prefixes=told or AssumedPrefixes(facts.block_tokens, facts.kv_blocks),
        layout=f"vLLM, block of {facts.block_tokens} tokens, {facts.cache_dtype}",
        streams_tokens=has_stream,
    )
    links = VllmLinks(Identity(str(server.address), facts), client, handoff)
    loop = EventedLoop(engine, links, worker_spans(config))
    watch = MetricsWatch(engine, client)
    running = VllmRunning(loop, describe(config, server.address, facts, engine), server=server, scratch=scratch)
    running.events = events

    def over(task: asyncio.Task[str]) -> None:
        """Neither the server nor what follows it may end while the worker serves."""
        if not task.cancelled() and not running.broken.done():
            error = task.exception()
            running.broken.set_result(f"{type(error).__name__}: {error}" if error else task.result())

    following = [server.ended(), watch.run(), *([events.run()] if events is not None else [])]
    running.tasks = tuple(asyncio.create_task(follow) for follow in following)
    for task in running.tasks:
        task.add_done_callback(over)
    loop.start()
    return running


def describe(config: ProcessConfig, address: Address, facts: Facts, engine: VllmEngine) -> pb.WorkerDescription:
    """What the server says of itself."""
    return pb.WorkerDescription(
        engine="vllm",
        device=config.engine["device"],
        block_tokens=facts.block_tokens,
        kv_total_blocks=facts.kv_blocks,
        max_model_len=facts.max_model_len,
        versions={"vllm": facts.version, "vllm_url": str(address)},
        kv_layout=engine.kv_layout(),
    )
