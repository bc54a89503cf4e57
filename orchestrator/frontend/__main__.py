"""One front door: `python -m orchestrator.frontend --config FILE`. Prints {"http_port", "grpc_port", "pid"} when it serves."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from orchestrator.core.config import Cluster, ConfigError, Model, parse
from orchestrator.core.pulse import PulsePipe
from orchestrator.frontend.admin import AdminServicer, FrontDoorInfo
from orchestrator.frontend.auth import Gate, KeyFileError, Keyring, Tls, TlsError
from orchestrator.frontend.auth.http_guard import HttpGuard
from orchestrator.frontend.config import FrontDoorConfig
from orchestrator.frontend.discovery import Discovery
from orchestrator.frontend.dispatcher import Dispatcher
from orchestrator.frontend.dispatchers import Dispatchers
from orchestrator.frontend.http import Limits, bounds_of, make_app, start_http
from orchestrator.frontend.key_check import KeyCheck
from orchestrator.frontend.message_check import MessageCheck
from orchestrator.frontend.records import RequestRecord
from orchestrator.frontend.reservations import Reservations
from orchestrator.frontend.retreat import retreat
from orchestrator.frontend.router_servicer import RouterServicer
from orchestrator.frontend.served import Served
from orchestrator.frontend.service import ModelInfo
from orchestrator.frontend.text import TextModel
from orchestrator.frontend.text.grammar_gate import GrammarGate
from orchestrator.frontend.tiers import Tiers, follow_tiers
from orchestrator.observability import Metrics
from orchestrator.observability.access_log import AccessLog
from orchestrator.observability.logs import configure as configure_logs
from orchestrator.observability.stages import StageTimes
from orchestrator.observability.tracing import Tracing, start_tracing
from orchestrator.policies.registry import make
from orchestrator.recording.log import DecisionLog
from orchestrator.recording.policies import recorded
from orchestrator.routing.router import Router
from orchestrator.state.base import Store, StoreError
from orchestrator.state.open import open_store
from pd.v1 import admin_pb2_grpc, routing_pb2_grpc

DRAIN_S = 5.0
GC_OBJECTS = 20_000
MAX_MESSAGE_BYTES = 16 << 20


log = logging.getLogger(__name__)


class PortTaken(Exception):
    """A port that the front door was told to use cannot be had."""


def read_cluster(store: Store) -> Cluster:
    """The spec in force; raises RuntimeError if nobody has written one."""
    document = store.get("cluster", "spec")
    if document is None:
        raise RuntimeError("the store holds no cluster/spec: start the cluster with pdctl up")
    return parse(document)


def open_record(config: FrontDoorConfig, cluster: Cluster) -> DecisionLog | None:
    """Where this front door writes its decisions, if the spec wants them."""
    limit = cluster.spec.front_door.record_decisions
    path = Path(config.run_dir) / f"decisions-{config.id}.jsonl.gz"
    return DecisionLog(path, limit, config.id) if limit else None


def build_dispatcher(
    cluster: Cluster, model: Model, text: TextModel, metrics: Metrics, record: DecisionLog | None, name: str = ""
) -> Dispatcher:
    """A dispatcher with the policies of the spec; Discovery replaces them when they change. `name` is the front door's, see Router."""
    spec, front_door = cluster.spec, cluster.spec.front_door
    info = ModelInfo(
        model.served_name,
        min(text.max_model_len, model.max_len or text.max_model_len),
        text.vocab_size,
        text.eos_token_ids,
    )
    routing, admission = spec.policies.routing, spec.policies.admission
    return Dispatcher(
        info,
        Router(
            recorded(make("routing", routing.name, routing.parameters), record),
            name=name,
            max_blocks=front_door.prefix_index_blocks,
        ),
        recorded(make("admission", admission.name, admission.parameters), record),
        metrics,
        max_concurrent=front_door.max_concurrent,
        max_queue=front_door.max_queue,
        timeout_s=front_door.request_timeout_s,
        refuse_late=front_door.refuse_late,
        record=record,
    )


def load_text(directory: str) -> tuple[TextModel, GrammarGate]:
    """Tokenizer, template and grammars of a model."""
    text = TextModel.load(Path(directory))
    return text, GrammarGate.of(Path(directory), text)


def observe(cluster: Cluster, name: str, dispatchers: Dispatchers, metrics: Metrics) -> Tracing | None:
    """Whoever hears of each request's end; returns the tracing, if any."""
    wanted = cluster.spec.observability
    hear: list[Callable[[RequestRecord], None]] = [StageTimes(metrics)]
    if wanted.access_log:
        hear.append(AccessLog())
    tracing = start_tracing(wanted.otlp_endpoint, wanted.trace_sample_ratio, "front-door", name)
    if tracing is not None:
        hear.append(tracing.report)
    for dispatcher in dispatchers:
        dispatcher.on_end.extend(hear)
    return tracing


async def start_grpc(
    config: FrontDoorConfig,
    admin: AdminServicer,
    router: RouterServicer,
    gate: Gate,
    tls: Tls | None,
    health_servicer: health.aio.HealthServicer,
) -> tuple[grpc.aio.Server, int, int]:
    """Router, Admin, health and reflection on one port, and on one of this process alone for the other front doors; raises PortTaken."""
    options = [("grpc.so_reuseport", int(config.shared_ports)), ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
    server = grpc.aio.server(interceptors=[KeyCheck(gate), MessageCheck()], options=options)
    admin_pb2_grpc.add_AdminServicer_to_server(admin, server)
    routing_pb2_grpc.add_RouterServicer_to_server(router, server)
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    names = ("pd.v1.Router", "pd.v1.Admin")
    for name in ("", *names):
        await health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    try:
        address = f"{config.host}:{config.grpc_port}"
        port = server.add_secure_port(address, tls.grpc_credentials()) if tls else server.add_insecure_port(address)
    except RuntimeError as error:
        raise PortTaken(
            f"gRPC port {config.grpc_port} on {config.host} is taken: free it or set frontDoor.grpcPort"
        ) from error
    peer_port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port, peer_port


async def serve(config: FrontDoorConfig) -> None:
    store = open_store(config.store_url, config.cluster_name)
    cluster = await asyncio.to_thread(read_cluster, store)
    configure_logs(cluster.spec.observability.log_format, cluster.spec.observability.log_level, config.id)
    texts = {name: load_text(directory) for name, directory in config.model_dirs.items()}
    tiers = Tiers.of(cluster.spec)
    metrics = Metrics(tiers=tiers)
    record = open_record(config, cluster)
    dispatchers = Dispatchers(
        [
            # Decisions are recorded of the default model alone: who replays them replays one router.
            build_dispatcher(
                cluster, m, texts[m.served_name][0], metrics, record if m is cluster.spec.model else None, config.id
            )
            for m in cluster.spec.served
        ]
    )
    first, *more = (Served(dispatcher, *texts[dispatcher.model.name]) for dispatcher in dispatchers)
    discovery = Discovery(store, dispatchers, config.id)
    security = cluster.spec.security
    gate = Gate(
        Keyring.load(security.api_keys_file),
        open_metrics=security.open_metrics,
        refused=lambda reason: metrics.auth_refused.labels(reason).inc(),
    )
    tls = Tls(security.tls) if security.tls.enabled else None
    tracing = observe(cluster, config.id, dispatchers, metrics)
    limits = Limits()
    dispatchers.follow(tiers)
    app = make_app(
        first.service,
        first.text,
        limits=limits,
        metrics=metrics,
        guard=HttpGuard(gate),
        tiers=tiers,
        tracing=tracing,
        grammars=first.grammars,
        more=more,
    )
    # From here on clients may wait for it, so a hang must be noticed although it is not ready.
    pulse = PulsePipe()
    pulse.send({})
    pulses = asyncio.create_task(pulse.run())
    try:
        http, http_port = await start_http(
            app,
            config.host,
            config.http_port,
            reuse_port=config.shared_ports,
            ssl=tls.ssl_context() if tls else None,
            bounds=bounds_of(cluster.spec.front_door),
        )
    except OSError as error:
        raise PortTaken(
            f"HTTP port {config.http_port} on {config.host} is taken: free it or set frontDoor.httpPort"
        ) from error
    info = FrontDoorInfo(
        id=config.id,
        host=config.host,
        http_port=http_port,
        started_at=time.time(),
        run_dir=config.run_dir,
        tls=tls is not None,
    )
    admin = AdminServicer(store, dispatchers, info)
    router = RouterServicer(
        first.service,
        first.text,
        Reservations(dispatchers),
        metrics=metrics,
        limits=limits,
        tiers=tiers,
        tracing=tracing,
        grammars=first.grammars,
        more=more,
    )
    health_servicer = health.aio.HealthServicer()
    server, grpc_port, peer_port = await start_grpc(config, admin, router, gate, tls, health_servicer)
    info.grpc_port = grpc_port
    url = f"http{'s' if tls else ''}://{config.host}:{http_port}"
    document = {
        "http_url": url,
        "grpc_address": f"{config.host}:{grpc_port}",
        "peer_address": f"127.0.0.1:{peer_port}",
        "pid": os.getpid(),
        "started_at": time.time(),
    }
    await asyncio.to_thread(store.put, "frontdoor", config.id, document)
    follower = asyncio.create_task(discovery.run())
    tier_follower = asyncio.create_task(follow_tiers(store, tiers))
    stopped, hurried = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (hurried if stopped.is_set() else stopped).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    print(json.dumps({"http_port": http_port, "grpc_port": grpc_port, "pid": os.getpid()}), flush=True)
    pulse.is_ready()
    # What was made so far stays; what requests make is freed by its last reference, so the collector has little to find.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_OBJECTS, 20, 50)
    await stopped.wait()
    http.drain()
    await health_servicer.enter_graceful_shutdown()
    retreating = asyncio.create_task(retreat(store, config.id, http.stop_listening)) if config.shared_ports else None
    await drain(dispatchers, await budget_s(store, cluster), hurried)
    if retreating is not None:
        retreating.cancel()
    follower.cancel()
    tier_follower.cancel()
    await dispatchers.close()
    if record is not None:
        await asyncio.to_thread(record.close)
    await discovery.close()
    await server.stop(grace=DRAIN_S)
    await http.stop_listening()  # last of all that clients meet: until here they get an answer
    with contextlib.suppress(asyncio.CancelledError):
        await http.close(DRAIN_S)
    await asyncio.to_thread(store.delete, "frontdoor", config.id)
    store.close()
    if tracing is not None:
        await asyncio.to_thread(tracing.close)
    pulses.cancel()  # last: a long drain is no hang


async def budget_s(store: Store, cluster: Cluster) -> float:
    """`drain.budgetS` in force, which may have changed since the start."""
    try:
        return (await asyncio.to_thread(read_cluster, store)).spec.drain.budget_s
    except (StoreError, ConfigError, RuntimeError):
        return cluster.spec.drain.budget_s


async def drain(dispatchers: Dispatchers, budget_s: float, hurried: asyncio.Event) -> None:
    """Let running requests finish, for `budget_s` at most or until `hurried` (a second signal); new ones get 503."""
    draining = asyncio.create_task(dispatchers.drain(budget_s))
    second = asyncio.create_task(hurried.wait())
    await asyncio.wait((draining, second), return_when=asyncio.FIRST_COMPLETED)
    if not (draining.done() and draining.result()):
        log.warning("%d requests are cut off", dispatchers.running)
    for task in (draining, second):
        task.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(prog="orchestrator.frontend", description="Serve HTTP and gRPC for a cluster.")
    parser.add_argument("--config", type=Path, required=True, help="JSON file written by pdctl up")
    config = FrontDoorConfig.load(parser.parse_args().config)
    configure_logs("text", "info", config.id)  # until the spec is read
    try:
        uvloop.run(serve(config))
    except (PortTaken, KeyFileError, TlsError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
