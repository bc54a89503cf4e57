"""One worker: `python -m workers.process --config FILE`. Prints {"port", "pid"} when it serves."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
from importlib import metadata
from pathlib import Path

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from orchestrator.observability.logs import configure as configure_logs
from pd.v1 import worker_pb2 as pb
from workers.process.config import ProcessConfig
from workers.process.deaths import die_with, die_without_a_thread
from workers.process.pulse import send_pulses
from workers.process.running import Running
from workers.process.service import WorkerService
from workers.process.wire import serve_sessions
from workers.transfer.base import Links

MAX_MESSAGE_BYTES = 16 << 20
GRPC_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
]


async def start(config: ProcessConfig) -> Running:
    """The worker with the engine that it is told to have. Each engine's libraries are loaded only where it runs."""
    if config.engine["kind"] == "vllm":
        from workers.process.vllm_worker import run_vllm

        return await run_vllm(config)
    from workers.process.torch_worker import run_torch

    return await run_torch(config)


def complete(description: pb.WorkerDescription, config: ProcessConfig, links: Links) -> None:
    """Add what is the same for every engine."""
    description.name, description.incarnation = config.name, config.incarnation
    description.pid, description.model, description.dtype = os.getpid(), config.model_name, config.dtype
    description.transport, description.transport_metadata = links.name, links.metadata()
    versions = {"tandem": metadata.version("tandem"), "python": platform.python_version(), **links.versions()}
    description.versions.update(versions)


async def serve(config: ProcessConfig) -> str:
    """Until told to stop; returns why it could not go on, "" if it was told."""
    running = await start(config)
    worker, description = running.worker, running.description
    complete(description, config, worker.links)
    stopped = asyncio.Event()
    event_loop = asyncio.get_running_loop()

    def fresh() -> pb.WorkerDescription:
        copy = pb.WorkerDescription()
        copy.CopyFrom(description)
        return copy

    server = grpc.aio.server(options=GRPC_OPTIONS)
    server.add_generic_rpc_handlers((WorkerService(worker, fresh).handlers(),))
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    await health_servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection(("pd.v1.Worker", health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    port = server.add_insecure_port(f"{config.host}:{config.port}")
    await server.start()
    sessions, session_port = await serve_sessions(worker, fresh, config.host)
    description.session_address = f"{config.host}:{session_port}"
    for number in (signal.SIGTERM, signal.SIGINT):
        event_loop.add_signal_handler(number, stopped.set)
    ready = {"port": port, "session_port": session_port, "pid": os.getpid()}
    print(json.dumps(ready), flush=True)
    pulses = asyncio.create_task(send_pulses(worker, worker.links))
    told = asyncio.create_task(stopped.wait())
    await asyncio.wait((told, running.broken), return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    why = running.broken.result() if running.broken.done() else ""
    sessions.close()
    await server.stop(grace=0.0 if why else 1.0)
    await running.close()
    worker.close()
    pulses.cancel()  # last: a long stop is no hang
    return why


def main() -> None:
    parser = argparse.ArgumentParser(prog="workers.process", description="Serve one worker.")
    parser.add_argument("--config", type=Path, required=True, help="JSON file written by the worker's host")
    config = ProcessConfig.load(parser.parse_args().config)
    observability = config.observability
    configure_logs(observability.get("log_format", "text"), observability.get("log_level", "info"), config.name)
    die_with(config.parent_pid)
    die_without_a_thread()
    if why := uvloop.run(serve(config)):
        sys.exit(why)


if __name__ == "__main__":
    main()
