"""One worker: `python -m workers.process --config FILE`. Prints {"port", "pid"} when it serves."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import torch
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from orchestrator.observability.logs import configure as configure_logs
from orchestrator.observability.tracing import is_wanted
from pd.v1 import worker_pb2 as pb
from workers.engine.torch.config import ModelConfig
from workers.engine.torch.engine import DTYPES, TorchEngine
from workers.process.config import ProcessConfig
from workers.process.deaths import die_with, die_without_a_thread
from workers.process.loop import EngineLoop
from workers.process.pulse import send_pulses
from workers.process.service import WorkerService
from workers.process.sizing import default_block_tokens, default_kv_blocks
from workers.process.wire import serve_sessions
from workers.transfer.factory import make_transport

if TYPE_CHECKING:
    from workers.process.spans import WorkerSpans

MAX_MESSAGE_BYTES = 16 << 20
GRPC_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
]


def build_engine(config: ProcessConfig) -> TorchEngine:
    """The torch engine as the cluster file describes it; sizes that it leaves out fit the device."""
    engine, model_dir = config.engine, Path(config.model_dir)
    device = engine["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    block_tokens = engine["block_tokens"] or default_block_tokens(device)
    model = ModelConfig.load(model_dir)
    block_bytes = model.layers * 2 * block_tokens * model.kv_heads * model.head_dim * DTYPES[config.dtype].itemsize
    weight_bytes = sum(file.stat().st_size for file in model_dir.glob("*.safetensors"))
    return TorchEngine(
        model_dir,
        device=device,
        dtype=config.dtype,
        kv_blocks=engine["kv_blocks"] or default_kv_blocks(device, block_bytes, weight_bytes),
        block_tokens=block_tokens,
        max_batch=engine["max_batch"],
        prefill_budget_tokens=engine["prefill_budget_tokens"],
        max_model_len=config.max_len,
        prefix_cache=engine["prefix_cache"],
        lease_s=config.transport["lease_s"],
        num_threads=engine["num_threads"] or None,
    )


def describe(config: ProcessConfig, engine: TorchEngine, loop: EngineLoop) -> pb.WorkerDescription:
    """What does not change while this process lives."""
    return pb.WorkerDescription(
        name=config.name,
        incarnation=config.incarnation,
        pid=os.getpid(),
        model=config.model_name,
        engine="torch",
        device=str(engine.pool.data.device),
        dtype=config.dtype,
        block_tokens=engine.stats.block_tokens,
        block_bytes=engine.pool.block_bytes,
        kv_total_blocks=engine.stats.kv_total_blocks,
        max_model_len=engine.max_model_len,
        transport=loop.links.name,
        transport_metadata=loop.links.metadata(),
        versions={
            "tandem": metadata.version("tandem"),
            "torch": torch.__version__,
            "python": platform.python_version(),
            **loop.links.versions(),
        },
        kv_layout=engine.kv_layout(),
    )


def worker_spans(config: ProcessConfig) -> WorkerSpans | None:
    """None where no traces are wanted; their library is loaded only where they are."""
    endpoint = config.observability.get("otlp_endpoint")
    if not is_wanted(endpoint):
        return None
    from orchestrator.observability.spans import Spans
    from workers.process.spans import WorkerSpans

    return WorkerSpans(Spans(endpoint, "worker", config.name), config.name)


async def serve(config: ProcessConfig) -> None:
    engine = build_engine(config)
    transport = make_transport(
        config.transport["kind"],
        config.peer_name,
        engine.pool,
        host=config.host,
        checksums=config.transport["checksums"],
    )
    spans = worker_spans(config)
    loop = EngineLoop(engine, transport, spans)
    stopped = asyncio.Event()
    event_loop = asyncio.get_running_loop()
    loop.start()
    description = describe(config, engine, loop)

    def fresh() -> pb.WorkerDescription:
        copy = pb.WorkerDescription()
        copy.CopyFrom(description)
        return copy

    server = grpc.aio.server(options=GRPC_OPTIONS)
    server.add_generic_rpc_handlers((WorkerService(loop, fresh).handlers(),))
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    await health_servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection(("pd.v1.Worker", health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    port = server.add_insecure_port(f"{config.host}:{config.port}")
    await server.start()
    sessions, session_port = await serve_sessions(loop, fresh, config.host)
    description.session_address = f"{config.host}:{session_port}"
    for number in (signal.SIGTERM, signal.SIGINT):
        event_loop.add_signal_handler(number, stopped.set)
    ready = {"port": port, "session_port": session_port, "pid": os.getpid()}
    print(json.dumps(ready), flush=True)
    pulses = asyncio.create_task(send_pulses(loop, transport))
    await stopped.wait()
    sessions.close()
    await server.stop(grace=1.0)
    loop.stop()
    transport.close()
    if spans is not None:
        spans.close()
    pulses.cancel()  # last: a long stop is no hang


def main() -> None:
    parser = argparse.ArgumentParser(prog="workers.process", description="Serve one worker.")
    parser.add_argument("--config", type=Path, required=True, help="JSON file written by the worker's host")
    config = ProcessConfig.load(parser.parse_args().config)
    observability = config.observability
    configure_logs(observability.get("log_format", "text"), observability.get("log_level", "info"), config.name)
    die_with(config.parent_pid)
    die_without_a_thread()
    uvloop.run(serve(config))


if __name__ == "__main__":
    main()
