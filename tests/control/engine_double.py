"""A double of `workers.process`: no model and no KV, only the ready line and the gRPC calls that the control plane makes.

It says that it runs as many requests as the file `CONFIG.running` holds, 0 without one, and that its engine step has lasted
as many seconds as `CONFIG.step` holds.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from orchestrator.core.pulse import PULSE_S, PulsePipe
from pd.v1 import worker_pb2 as pb
from pd.v1 import worker_pb2_grpc
from workers.process.deaths import die_with


class Double(worker_pb2_grpc.WorkerServicer):
    def __init__(self, config: dict[str, Any], running: Path) -> None:
        self._config = config
        self._running = running
        self._peers: set[str] = set()

    def Describe(self, request: pb.DescribeWorkerRequest, context: Any) -> pb.WorkerDescription:
        running = int(self._running.read_text()) if self._running.exists() else 0
        return pb.WorkerDescription(
            name=self._config["name"],
            incarnation=self._config["incarnation"],
            pid=os.getpid(),
            transport_metadata=b"double",
            status=pb.WorkerStatus(running=running, connected_peers=sorted(self._peers)),
        )

    def ConnectPeer(self, request: pb.ConnectPeerRequest, context: Any) -> pb.ConnectPeerReply:
        peer = f"{request.peer}@{request.incarnation}"
        known = peer in self._peers
        self._peers.add(peer)
        return pb.ConnectPeerReply(connected=known)  # warm when asked the second time


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    path = parser.parse_args().config
    config = json.loads(path.read_text())
    die_with(config["parent_pid"])
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    worker_pb2_grpc.add_WorkerServicer_to_server(Double(config, path.with_suffix(".running")), server)
    port = server.add_insecure_port(f"{config['host']}:0")
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    server.start()
    print("a library greets you")
    print(json.dumps({"port": port, "session_port": port, "pid": os.getpid()}), flush=True)
    pipe, step = PulsePipe.after_ready(), path.with_suffix(".step")
    while not stopped.wait(PULSE_S):
        pipe.send({"steps": 1, "step_s": float(step.read_text()) if step.exists() else 0.0})
    server.stop(grace=0.1).wait()


if __name__ == "__main__":
    main()
