"""A front door process with keys, TLS, JSON logs and traces, before two real worker processes; no Ray."""

import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.control.process import process_config
from orchestrator.core.config import dump, loads
from orchestrator.state import open_store
from tests.auth.authority import Authority
from tests.observability.collector import Collector
from workers.demo import MODEL_DIR

SPEC = """
apiVersion: pd/v1
kind: Cluster
metadata: {{name: seen}}
spec:
  frontDoor: {{httpPort: 0, grpcPort: 0}}
  security: {{apiKeysFile: keys, tls: {{certFile: server.pem, keyFile: server.key}}}}
  observability: {{logFormat: json, accessLog: true, otlpEndpoint: "{collector}"}}
  engine: {{device: cpu, numThreads: 1}}
  pools:
    - {{name: prefill, role: prefill, count: 1}}
    - {{name: decode, role: decode, count: 1}}
"""
OPERATOR, USER = "operator-key-of-the-test", "user-key-of-the-test"
START_S = 240.0


@dataclass(frozen=True)
class Seen:
    """A running front door. `call(path, body, headers)` returns the answer of an operator's request."""

    url: str
    port: int
    directory: Path
    collector: Collector
    authority: Authority

    def call(self, path, body=None, headers=None, key=OPERATOR):
        context = ssl.create_default_context(cafile=self.authority.ca)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        given = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body else None, given)
        with opener.open(request, timeout=60) as response:
            return response.read()

    def log(self, name):
        """The log lines of a process, decoded."""
        return [json.loads(line) for line in (self.directory / f"{name}.log").read_text().splitlines()]


def start(directory, name, module, config):
    """A child and the line that it printed when it served."""
    path = directory / f"{name}.json"
    path.write_text(json.dumps(config))
    with (directory / f"{name}.log").open("wb") as log:
        environment = {**os.environ, "OTEL_BSP_SCHEDULE_DELAY": "100", "OMP_NUM_THREADS": "1"}
        child = subprocess.Popen(
            [sys.executable, "-m", module, "--config", str(path)],
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
        )
    return child


def ready(child, log):
    for line in child.stdout:
        if line.startswith(b"{") and "pid" in (found := json.loads(line)):
            return found
    raise AssertionError(f"{child.args} ended: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def seen(tmp_path_factory):
    directory = tmp_path_factory.mktemp("seen")
    collector, authority = Collector(), Authority(directory)
    authority.issue("server")
    keys = directory / "keys"
    keys.write_text(f"{OPERATOR} operator ops\n{USER} user alice rpm=600 concurrent=100\n")
    keys.chmod(0o600)
    cluster = loads(SPEC.format(collector=collector.url), directory=directory)
    store_url = f"sqlite:///{directory / 'state.db'}"
    store = open_store(store_url, cluster.name)
    store.put("cluster", "spec", dump(cluster))
    children = {}
    try:
        pools = {pool.name: pool for pool in cluster.spec.pools}
        for name, pool in pools.items():
            incarnation = time.time_ns()
            config = {**process_config(cluster, pool), "name": name, "incarnation": incarnation}
            config["parent_pid"] = os.getpid()
            children[name] = start(directory, name, "workers.process", config), incarnation
        door_config = {
            "id": "front-door-0",
            "store_url": store_url,
            "run_dir": str(directory),
            "cluster_name": cluster.name,
            "model_dirs": {cluster.spec.model.served_name: str(MODEL_DIR)},
            "host": "127.0.0.1",
            "http_port": 0,
            "grpc_port": 0,
            "front_door": {"processes": 1},
        }
        door = start(directory, "front-door-0", "orchestrator.frontend", door_config)
        for name, (child, incarnation) in children.items():
            line = ready(child, directory / f"{name}.log")
            endpoint = {"name": name, "incarnation": incarnation, "state": "ready", "pid": child.pid, "restarts": 0}
            endpoint["address"] = f"127.0.0.1:{line['port']}"
            endpoint["session_address"] = f"127.0.0.1:{line['session_port']}"
            wanted = {"name": name, "pool": name, "role": str(pools[name].role), "index": 0}
            store.put("worker", name, {**wanted, "drain": None, "drained": False})
            store.put("endpoint", name, {**endpoint, "message": "", "node": "", "host_pid": 0})
        children["front-door-0"] = door, 0
        port = ready(door, directory / "front-door-0.log")["http_port"]
        cluster_seen = Seen(f"https://127.0.0.1:{port}", port, directory, collector, authority)
        wait_routable(cluster_seen)
        yield cluster_seen
    finally:
        for child, _ in children.values():
            child.terminate()
        for child, _ in children.values():
            child.wait(30)
            child.stdout.close()
        store.close()
        collector.close()


def wait_routable(seen):
    """Until both workers are connected."""
    deadline = time.monotonic() + START_S
    while b'pd_worker_state{state="up",worker="decode"} 1.0' not in (text := seen.call("/metrics")) or (
        b'pd_worker_state{state="up",worker="prefill"} 1.0' not in text
    ):
        assert time.monotonic() < deadline, text.decode()
        time.sleep(0.1)  # other processes


def chat(seen, text="Count from 1 to 5.", headers=None, key=USER, **changes):
    """A chat completion through both workers."""
    body = {"model": "demo", "messages": [{"role": "user", "content": text}], "max_tokens": 16, "temperature": 0}
    return json.loads(seen.call("/v1/chat/completions", {**body, **changes}, headers, key))
