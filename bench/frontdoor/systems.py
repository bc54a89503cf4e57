"""Starts everything that is compared."""

from __future__ import annotations

import dataclasses
import http.client
import importlib.metadata
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from bench.frontdoor import system as times
from bench.frontdoor.process import Child
from bench.frontdoor.system import System
from bench.peers.install import peer_python, peer_version
from bench.peers.journal import number_to_ids
from bench.peers.setting import Backends
from orchestrator.core.config import parse
from orchestrator.core.sockets import free_ports
from orchestrator.state.open import open_store
from workers.demo import MODEL_DIR

READY_S = 60.0
PEERS = {"vllm-router": "vllm_router", "sglang-router": "sglang_router"}


def http_backends(setting: Backends, logs: Path) -> Child:
    return Child([sys.executable, "-m", "bench.peers.http_backend", setting.dump()], logs / "http_backend.log")


def direct(backends: Child) -> System:
    """No router: the client does both legs."""
    ports = backends.ready["ports"]
    return System(
        "direct", "", None, backends, ports[1:], "/v1/completions", times.both_legs_s, times.decoded_s, ports[0]
    )


def relay(backends: Child, logs: Path) -> System:
    decoders = [str(port) for port in backends.ready["ports"][1:]]
    child = Child([sys.executable, "-m", "bench.frontdoor.relay", *decoders], logs / "relay.log")
    ports = [child.ready["port"]]
    return System("relay", "", child, backends, ports, "/v1/completions", times.decode_leg_s, times.decoded_s)


def peer(name: str, backends: Child, logs: Path) -> System | None:
    """A router from PyPI in its PD mode, round robin; None if it is not installed."""
    module = PEERS[name]
    python = peer_python(module)
    if python is None:
        return None
    prefill, *decoders = (f"http://127.0.0.1:{port}" for port in backends.ready["ports"])
    port, metrics_port = free_ports(2)
    sglang = name == "sglang-router"
    command = [python, "-m", f"{module}.launch_router"]
    command += ["--pd-disaggregation", "--prefill", prefill, "9000"] if sglang else ["--vllm-pd-disaggregation"]
    command += [] if sglang else ["--prefill", prefill]
    for url in decoders:
        command += ["--decode", url]
    command += ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(metrics_port)]
    command += ["--policy", "round_robin", "--log-level", "error", "--worker-startup-check-interval", "1"]
    child = Child(command, logs / f"{name}.log", speaks=False)
    backend_s = times.joint_legs_s if sglang else times.both_legs_s
    path = "/generate" if sglang else "/v1/completions"  # sglang-router takes token ids only there
    made = System(name, peer_version(python, name), child, backends, [port], path, backend_s, times.decoded_s)
    wait_ready(made)
    return made


def cluster_document(routing: str) -> dict[str, Any]:
    """A cluster of the demo model as pdctl would write it."""
    return {
        "apiVersion": "pd/v1",
        "kind": "Cluster",
        "metadata": {"name": "bench"},
        "spec": {
            "model": {"path": "demo"},
            "pools": [
                {"name": "prefill", "role": "prefill", "count": 1, "resources": {"cpus": 1}},
                {"name": "decode", "role": "decode", "count": 8, "resources": {"cpus": 1}},
            ],
            "tiers": [{"name": "default", "ttftMs": 60000, "tpotMs": 1000}],  # nothing is refused for being late
            "policies": {"routing": routing},
            "frontDoor": {"httpPort": 0, "grpcPort": 0, "maxConcurrent": 1024},
        },
    }


def tandem(routing: str, backends: Child, logs: Path, wrapper: tuple[str, ...] = ()) -> System:
    """The front door process, with a SQLite store that names the simulated workers. `wrapper` runs it under a profiler."""
    directory = logs / f"tandem-{routing}"
    directory.mkdir(exist_ok=True)
    document = cluster_document(routing)
    cluster = parse(document)
    store = open_store(f"sqlite:///{directory}/state.db", cluster.name)
    store.put("cluster", "spec", document)
    for i, worker in enumerate(backends.ready["workers"]):
        name, role = worker["name"], worker["name"].partition("-")[0]
        wanted = {"name": name, "pool": role, "role": role, "index": max(0, i - 1), "drain": None, "drained": False}
        address = f"127.0.0.1:{worker['port']}"
        endpoint = {
            "name": name,
            "address": address,
            "session_address": address,
            "pid": backends.pid,
            "incarnation": worker["incarnation"],
            "state": "ready",
        }
        store.put("worker", name, wanted)
        store.put("endpoint", name, endpoint)
    store.close()
    front_door = cluster.spec.front_door
    config = {
        "id": f"front-door-{routing}",
        "store_url": f"sqlite:///{directory}/state.db",
        "run_dir": str(directory),
        "cluster_name": cluster.name,
        "model_dirs": {cluster.spec.model.served_name: str(MODEL_DIR)},
        "host": front_door.host,
        "http_port": 0,
        "grpc_port": 0,
        "front_door": dataclasses.asdict(front_door),
    }
    path = directory / "front-door.json"
    path.write_text(json.dumps(config))
    module = ["orchestrator.frontend"] if wrapper else ["-m", "orchestrator.frontend"]
    command = [sys.executable, *wrapper, *module, "--config", str(path)]
    child = Child(command, directory / "front-door.log", PYTHONPATH=os.getcwd())
    made = System(
        f"tandem {routing}",
        importlib.metadata.version("tandem"),
        child,
        backends,
        [child.ready["http_port"]],
        "/v1/completions",
        times.prefill_leg_s,
        times.prefilled_or_decoded_s,
    )
    wait_ready(made)
    return made


def session_backends(setting: Backends, logs: Path) -> Child:
    return Child([sys.executable, "-m", "bench.peers.session_backend", setting.dump()], logs / "session_backend.log")


def wait_ready(made: System) -> None:
    """Until a whole stream comes through; raises RuntimeError with the end of its log."""
    assert made.process is not None
    ids = [*number_to_ids(0), *range(200, 230)]
    sampling = {"temperature": 0, "ignore_eos": True}
    if made.path == "/generate":
        body: dict[str, Any] = {"input_ids": ids, "sampling_params": {"max_new_tokens": 3, **sampling}, "stream": True}
    else:
        body = {"model": "demo", "prompt": ids, "max_tokens": 3, "stream": True, **sampling}
    deadline = time.monotonic() + READY_S
    answer = "nothing yet"
    while time.monotonic() < deadline and made.process.alive:
        connection = http.client.HTTPConnection("127.0.0.1", made.ports[0], timeout=5)
        try:
            connection.request("POST", made.path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse().read().decode(errors="replace")
        except OSError as error:
            answer = str(error)
        finally:
            connection.close()
        if "[DONE]" in answer:
            return
        time.sleep(0.1)
    raise RuntimeError(f"{made.name} does not serve: {answer[:300]}\n{made.process.log_tail()}")
