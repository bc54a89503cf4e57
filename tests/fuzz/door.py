"""A whole front door in this process: HTTP and gRPC servers on an event loop of their own, with a scripted token service."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from grpc_health.v1 import health

from orchestrator.core.config import Cluster, dump
from orchestrator.core.sampling import Finish
from orchestrator.frontend.__main__ import build_dispatcher, start_grpc
from orchestrator.frontend.admin import AdminServicer, FrontDoorInfo
from orchestrator.frontend.auth import Gate, Keyring
from orchestrator.frontend.auth.http_guard import HttpGuard
from orchestrator.frontend.config import FrontDoorConfig
from orchestrator.frontend.dispatchers import Dispatchers
from orchestrator.frontend.http import Limits, make_app, start_http
from orchestrator.frontend.http.server import App, Bounds, Server
from orchestrator.frontend.records import RequestRecord
from orchestrator.frontend.reservations import Reservations
from orchestrator.frontend.router_servicer import RouterServicer
from orchestrator.frontend.service import Delta, Logprob, ModelInfo, Submission
from orchestrator.frontend.text import TextModel
from orchestrator.observability import Metrics
from orchestrator.state import open_store
from tests.control.admin_doubles import DispatcherDouble, LinkDouble
from tests.frontend.conftest import MAX_LEN, MODEL, TIERS
from tests.frontend.scripted import ScriptedService

T = TypeVar("T")
KEYS = "u user alice; o operator ops"
HASTY = Bounds(
    max_body_bytes=1 << 20,
    header_timeout_s=0.4,
    body_timeout_s=0.4,
    min_body_bytes_per_s=1 << 20,
    keep_alive_s=1.0,
    linger_s=0.2,
    sweep_s=0.05,
)


def said(submission: Submission) -> list[Delta]:
    """Three tokens for everybody, with the log-probabilities that were asked for."""
    wanted = submission.sampling
    prompt = _logprobs(len(submission.tokens) - 1) if wanted.prompt_logprobs is not None else ()
    one, two = (_logprobs(count) if wanted.logprobs is not None else () for count in (1, 2))
    return [Delta(0, (5,), one, prompt_logprobs=prompt), Delta(1, (6, 7), two, Finish.LENGTH)]


def _logprobs(count: int) -> tuple[Logprob, ...]:
    return tuple(Logprob(-0.25, ((5, -0.25), (6, -1.5))) for _ in range(count))


class Errors(logging.Handler):
    """Log records of level ERROR: every one is a fault of ours."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(logging.Formatter().format(record))


class Door:
    """`port` serves HTTP with usual bounds, `hasty_port` with short times, `keyed_port` only to holders of a key; `grpc_port` gRPC.

    `admitted` are method and path of all requests whose head was taken.
    """

    def __init__(self, text: TextModel, directory: Path) -> None:
        self.service = ScriptedService(ModelInfo(MODEL, MAX_LEN, text.vocab_size, text.eos_token_ids), deltas_of=said)
        self.admitted: list[tuple[str, str]] = []
        self.errors = Errors()
        self.posts: list[str] = []
        self._text = text
        self._directory = directory
        self._servers: list[Server] = []
        self._closing: list[Callable[[], Coroutine[Any, Any, Any]]] = []
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def call(self, work: Coroutine[Any, Any, T], within_s: float = 30.0) -> T:
        """Run `work` on the servers' loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(within_s)

    @contextmanager
    def running(self) -> Iterator[Door]:
        """Serve until the end of the block."""
        logging.getLogger().addHandler(self.errors)
        self._thread.start()
        try:
            self.call(self._start())
            yield self
            self.call(self._stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()
            logging.getLogger().removeHandler(self.errors)

    async def _start(self) -> None:
        metrics = Metrics()
        guard = HttpGuard(Gate(Keyring(None, KEYS)))
        self.port = await self._http(metrics, None, None)
        self.hasty_port = await self._http(metrics, HASTY, None)
        self.keyed_port = await self._http(metrics, HASTY, guard)
        store = open_store(f"sqlite:///{self._directory / 'state.db'}")
        cluster = Cluster()
        store.put("cluster", "spec", dump(cluster))
        for name in ("prefill-0", "decode-0", "decode-1"):
            pool, _, index = name.partition("-")
            wanted = {"name": name, "pool": pool, "role": pool, "index": int(index), "drain": None, "drained": False}
            store.put("worker", name, wanted)
        seen = {"name": "prefill-0", "address": "127.0.0.1:1", "pid": 11, "incarnation": 7, "node": "here"}
        store.put("endpoint", "prefill-0", seen | {"state": "ready", "restarts": 0, "message": "", "started_at": 5.0})
        (self._directory / "logs").mkdir()
        (self._directory / "logs" / "controller.log").write_text("a line\n")
        info = FrontDoorInfo("front-door-0", "127.0.0.1", self.port, time.time(), run_dir=str(self._directory))
        record = RequestRecord("r-1", MODEL, "default", 10, 20, 0.0, prefill_worker="prefill-0")
        admin = AdminServicer(store, DispatcherDouble({"prefill-0": LinkDouble("prefill-0")}, [record]), info)
        dispatcher = build_dispatcher(cluster, cluster.spec.model, self._text, metrics, None, "front-door-0")
        router = RouterServicer(
            self.service, self._text, Reservations(Dispatchers([dispatcher])), metrics=metrics, tiers=TIERS
        )
        config = FrontDoorConfig(
            id="front-door-0",
            store_url="",
            run_dir=str(self._directory),
            cluster_name="fuzz",
            model_dirs={},
            host="127.0.0.1",
            http_port=0,
            grpc_port=0,
            front_door={},
        )
        server, self.grpc_port, _ = await start_grpc(
            config, admin, router, Gate(Keyring(None, "")), None, health.aio.HealthServicer()
        )
        info.grpc_port = self.grpc_port
        self._closing += [dispatcher.close, lambda: server.stop(None)]
        self.tasks = len(asyncio.all_tasks())

    async def _http(self, metrics: Metrics, bounds: Bounds | None, guard: HttpGuard | None) -> int:
        app = make_app(self.service, self._text, limits=Limits(), metrics=metrics, tiers=TIERS, guard=guard)
        self._listen(app)
        self.posts = sorted({path for method, path in app.routes() if method == "POST"})
        server, port = await start_http(app, "127.0.0.1", 0, bounds=bounds or Bounds(max_body_bytes=1 << 20))
        self._servers.append(server)
        self._closing.append(lambda: server.close(0.1))
        return port

    def _listen(self, app: App) -> None:
        admit = app.admit

        def noted(request: Any) -> None:
            self.admitted.append((request.method, request.path))
            admit(request)

        app.admit = noted  # type: ignore[method-assign]

    async def _stop(self) -> None:
        for close in self._closing:
            await close()

    def check(self) -> None:
        """Nothing of ours failed."""
        records, self.errors.records = self.errors.records, []
        for kept in (self.service.submissions, self.service.completed, self.service.cancelled, self.service.stopped):
            kept.clear()
        assert not records, "\n".join(records)[:4000]

    def check_rest(self) -> None:
        """Nothing is left of all those requests: connections, bytes, tasks."""
        deadline = time.monotonic() + 10
        while (left := self.call(self._left())) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left, left
        self.check()

    async def _left(self) -> dict[str, int]:
        gc.collect()
        found = {
            "connections": sum(len(server.connections) for server in self._servers),
            "bytes": sum(abs(server.memory.used_bytes) for server in self._servers),
            "tasks": max(0, len(asyncio.all_tasks()) - 1 - self.tasks),
        }
        return {name: count for name, count in found.items() if count}
