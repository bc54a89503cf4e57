"""One real cluster of two engines behind one front door: vLLM servers that prefill and decode, and a torch worker; models by name."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
import pytest

from pd.v1 import worker_pb2, worker_pb2_grpc
from tests.live.conftest import PDCTL, Live
from workers.process.vllm_worker import VENV

LEASE_S = 6
START_S = 400
"""Twice a start of some 40 s each, on a machine that does something else as well."""
SPEC = f"""
apiVersion: pd/v1
kind: Cluster
metadata: {{name: two-engines}}
spec:
  model: {{path: demo, name: demo-vllm, maxLen: 2048}}
  models:
  - {{path: demo, name: demo-torch, maxLen: 2048}}
  engine: {{kind: vllm, blockTokens: 32, kvBlocks: 256, maxBatch: 16}}
  transport: {{leaseS: {LEASE_S}}}
  pools:
  - {{name: prefill, role: prefill, count: 1, resources: {{cpus: 0.1}}}}
  - {{name: decode, role: decode, count: 1, resources: {{cpus: 0.1}}}}
  - {{name: torch, role: both, count: 1, model: demo-torch, engine: torch, resources: {{cpus: 0.1}}}}
  tiers: [{{name: default, ttftMs: 60000, tpotMs: 60000}}]
  faults: {{stepTimeoutS: 15}}
  frontDoor: {{httpPort: 0, grpcPort: 0, refuseLate: false}}
"""


class Pair(Live):
    """The cluster, and the servers behind its workers."""

    def server_url(self, worker: str) -> str:
        """Where the vLLM server of a worker listens."""
        with grpc.insecure_channel(self.workers()[worker]["address"]) as channel:
            described = worker_pb2_grpc.WorkerStub(channel).Describe(worker_pb2.DescribeWorkerRequest(), timeout=10)
        return described.versions["vllm_url"]

    def server_pids(self, worker: str) -> list[int]:
        """Processes of the vLLM server of a worker: whatever its worker process has started."""
        return [process.pid for process in psutil.Process(self.workers()[worker]["pid"]).children()]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    if not VENV.exists():
        pytest.skip("vLLM is not installed: run `make setup-vllm`")
    with started(SPEC, tmp_path_factory.mktemp("pair")) as cluster:
        yield cluster


@contextmanager
def started(text: str, run_dir: Path) -> Iterator[Pair]:
    """The cluster of a cluster.yaml, until the end of the block."""
    spec = run_dir.with_suffix(".yaml")
    spec.write_text(text)
    environment = {**os.environ, "TANDEM_RUN_DIR": str(run_dir)}
    try:
        # No pipes: what is started in them would keep them open.
        with run_dir.with_suffix(".json").open("w+") as said, run_dir.with_suffix(".log").open("w+") as told:
            command = [*PDCTL, "up", "-f", str(spec), "--detach", "-o", "json"]
            code = subprocess.run(command, stdout=said, stderr=told, env=environment, timeout=START_S).returncode
            assert code == 0, run_dir.with_suffix(".log").read_text()
        cluster = json.loads(run_dir.with_suffix(".json").read_text())
        yield Pair(cluster["url"], cluster["grpc"], run_dir)
    finally:
        subprocess.run([*PDCTL, "down", "--now"], capture_output=True, env=environment, timeout=120)
