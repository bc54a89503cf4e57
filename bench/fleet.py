"""Real worker processes and an in-process dispatcher on one machine, without Ray: for tests and benchmarks of the data path."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from orchestrator.core.sampling import Finish, Sampling
from orchestrator.frontend.discovery import Discovery
from orchestrator.frontend.dispatcher import Dispatcher
from orchestrator.frontend.dispatchers import Dispatchers
from orchestrator.frontend.service import DeltaStream, ModelInfo, Submission
from orchestrator.observability import Metrics
from orchestrator.policies.registry import make
from orchestrator.recording.log import DecisionLog
from orchestrator.recording.policies import recorded
from orchestrator.routing.router import Router
from orchestrator.state.open import open_store
from pd.v1 import worker_pb2 as pb
from pd.v1 import worker_pb2_grpc
from workers.demo import MODEL_DIR

START_S = 90.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker runs: what its command begins with, the address it listens on, and what is added to its environment."""

    enter: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Worker:
    """One running worker process."""

    name: str
    process: subprocess.Popen[str]
    address: str
    incarnation: int


@dataclass(slots=True)
class Fleet:
    """Workers by name, and the dispatcher that runs requests on them."""

    directory: Path
    model_dir: Path
    engine: dict[str, Any]
    transport: str
    dispatcher: Dispatcher
    discovery: Discovery
    workers: dict[str, Worker] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    lease_s: float = 30.0

    def start(self, name: str, role: str) -> None:
        """Start (or restart) a worker; returns when it serves."""
        incarnation = time.time_ns()
        place = self.places.get(name, Place())
        config = {
            "name": name,
            "incarnation": incarnation,
            "model_dir": str(self.model_dir),
            "model_name": "demo",
            "engine": self.engine,
            "transport": {"kind": self.transport, "lease_s": self.lease_s, "checksums": False},
            "dtype": "float32",
            "max_len": None,
            "parent_pid": os.getpid(),
            "host": place.host,
        }
        path = self.directory / f"{name}.json"
        path.write_text(json.dumps(config))
        log = (self.directory / f"{name}.log").open("a")
        command = [*place.enter, sys.executable, "-m", "workers.process", "--config", str(path)]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **place.environment},
        )
        log.close()
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{name} did not start: {(self.directory / f'{name}.log').read_text()[-2000:]}")
        ready = json.loads(line)
        address, session = (f"{place.host}:{ready[port]}" for port in ("port", "session_port"))
        self.workers[name] = Worker(name, process, address, incarnation)
        store = self.discovery.store
        store.put(
            "worker", name, {"name": name, "pool": role, "role": role, "index": 0, "drain": None, "drained": False}
        )
        store.put(
            "endpoint",
            name,
            {
                "name": name,
                "address": address,
                "session_address": session,
                "pid": process.pid,
                "incarnation": incarnation,
                "state": "ready",
            },
        )

    def kill(self, name: str) -> None:
        """SIGKILL, and tell the store as a host would."""
        worker = self.workers[name]
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait()
        self.discovery.store.update("endpoint", name, lambda doc: {**(doc or {}), "state": "dead"})

    async def ready(self) -> None:
        """Wait until every worker takes requests."""
        deadline = time.monotonic() + START_S
        while not all(
            name in self.dispatcher.workers and self.dispatcher.workers[name].status for name in self.workers
        ):
            if time.monotonic() > deadline:
                raise TimeoutError("workers did not connect")
            await asyncio.sleep(0.02)

    async def integrity(self) -> dict[str, pb.WorkerStatus]:
        """CheckIntegrity of every worker; raises grpc.aio.AioRpcError with the first difference."""
        statuses = {}
        for worker in self.workers.values():
            async with grpc.aio.insecure_channel(worker.address) as channel:
                statuses[worker.name] = await worker_pb2_grpc.WorkerStub(channel).CheckIntegrity(
                    pb.CheckIntegrityRequest()
                )
        return statuses

    async def close(self) -> None:
        await self.dispatcher.close()
        await self.discovery.close()
        for worker in self.workers.values():
            worker.process.terminate()
        for worker in self.workers.values():
            try:
                worker.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()


@asynccontextmanager
async def fleet(
    roles: Mapping[str, str],
    *,
    model_dir: Path = MODEL_DIR,
    transport: str = "nixl",
    routing: str = "round_robin",
    record: DecisionLog | None = None,
    places: Mapping[str, Place] | None = None,
    lease_s: float = 30.0,
    **engine: Any,
) -> AsyncIterator[Fleet]:
    """Workers `{name: role}` and a dispatcher, stopped at exit. `engine` overrides fields of the engine section.

    `places` says where workers run that do not run here.
    """
    settings = {
        "kind": "torch",
        "device": "cpu",
        "kv_blocks": 1024,
        "block_tokens": 16,
        "max_batch": 64,
        "prefill_budget_tokens": 512,
        "prefix_cache": True,
        "num_threads": 1,
    }
    model_config = json.loads((model_dir / "config.json").read_text())
    info = ModelInfo(
        "demo", model_config["max_position_embeddings"], model_config["vocab_size"], (model_config["eos_token_id"],)
    )
    with tempfile.TemporaryDirectory() as directory:
        store = open_store(f"sqlite:///{directory}/state.db")
        store.put("cluster", "spec", {})
        dispatcher = Dispatcher(
            info,
            Router(recorded(make("routing", routing, {}), record)),
            recorded(make("admission", "fcfs", {}), record),
            Metrics(),
            max_concurrent=256,
            max_queue=4096,
            timeout_s=300,
            record=record,
        )
        discovery = Discovery(store, Dispatchers([dispatcher]), "bench")
        running = Fleet(
            Path(directory),
            model_dir,
            {**settings, **engine},
            transport,
            dispatcher,
            discovery,
            places=places or {},
            lease_s=lease_s,
        )
        follower: asyncio.Task[None] | None = None
        try:
            for name, role in roles.items():
                await asyncio.to_thread(running.start, name, role)
            follower = asyncio.create_task(discovery.run())
            await running.ready()
            yield running
        finally:
            if follower is not None:
                follower.cancel()
            await running.close()
            store.close()


async def collect(
    dispatcher: Dispatcher, request_id: str, tokens: Sequence[int], sampling: Sampling
) -> tuple[list[int], Finish | None]:
    """Run one request to its end; returns its output tokens and why it ended. Asserts that indices come in order and never twice."""
    output: list[int] = []
    finish = None
    stream = DeltaStream()
    dispatcher.submit(Submission(request_id, array("I", tokens), sampling), stream)
    async for delta in stream:
        assert delta.first_index == len(output), (delta.first_index, len(output))
        output += delta.tokens
        finish = delta.finish or finish
    return output, finish
