"""KV pulls between two network namespaces, NIXL over TCP, beside a plain socket copy of as many bytes in the same run.

Run as `python -m bench.transfer --network`; the two ends are processes of this module.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import torch

from bench.harness import Bench, Check
from bench.namespaces import UCX_TCP, Host, two_hosts
from bench.transfer import BLOCK_BYTES, PULL_BLOCKS, pull_s
from workers.engine.base import KvBlocks
from workers.transfer.base import KvPool
from workers.transfer.nixl import NixlTransport

TOTAL_BYTES = PULL_BLOCKS * BLOCK_BYTES
MIN_OF_SOCKET = 0.1
END_S = 300.0


def make_pool(fill: bool) -> KvPool:
    """`PULL_BLOCKS` blocks; with `fill` each holds its own number."""
    data = torch.zeros((PULL_BLOCKS, 1, 2, 16, 8, BLOCK_BYTES // (2 * 16 * 8 * 4)))
    if fill:
        data += torch.arange(PULL_BLOCKS).view(-1, 1, 1, 1, 1, 1)
    return KvPool(data, torch.zeros(PULL_BLOCKS, dtype=torch.int64))


def serve(address: str) -> None:
    """The source: NIXL in the background, and a socket that sends the pool once for each byte asked."""
    pool = make_pool(fill=True)
    with closing(NixlTransport("source", pool)) as transport, socket.create_server((address, 0)) as listener:
        hello = {"metadata": base64.b64encode(transport.metadata()).decode(), "port": listener.getsockname()[1]}
        print(json.dumps(hello), flush=True)
        connection, _ = listener.accept()
        with connection:
            while connection.recv(1):
                connection.sendall(pool.data.numpy().reshape(-1).view(np.uint8).data)


def read(rounds: int, address: str, hello: dict[str, Any]) -> dict[str, Any]:
    """The reader: seconds of each pull and of each plain copy, taken in turns, and whether the bytes are right."""
    pool = make_pool(fill=False)
    blocks = KvBlocks(tuple(range(PULL_BLOCKS)), (0,) * PULL_BLOCKS, PULL_BLOCKS * 16)
    buffer = memoryview(bytearray(TOTAL_BYTES))
    pulls, copies = [], []
    with (
        closing(NixlTransport("sink", pool, pull_timeout_s=60.0)) as transport,
        socket.create_connection((address, hello["port"])) as connection,
    ):
        transport.connect("source", base64.b64decode(hello["metadata"]))
        pull_s(transport, blocks, blocks)
        for _ in range(rounds):
            pool.data.fill_(-1)
            pulls.append(pull_s(transport, blocks, blocks)[0])
            started_s, got = time.perf_counter(), 0
            connection.sendall(b"x")
            while got < TOTAL_BYTES:
                got += connection.recv_into(buffer[got:])
            copies.append(time.perf_counter() - started_s)
        versions = transport.versions()
    expected = torch.arange(PULL_BLOCKS, dtype=torch.float32)[:, None]
    return {
        "pulls_s": pulls, "copies_s": copies, "correct": bool((pool.data.flatten(1) == expected).all()),
        "versions": versions,
    }  # fmt: skip


def measure_network(bench: Bench) -> None:
    """Make the namespaces and run both ends in them."""
    rounds = 5 if bench.quick else 15
    with two_hosts() as (here, there), ExitStack() as stack:
        source = _end(stack, here, "serve", here.address)
        assert source.stdout is not None
        hello = _line(source)
        before_bytes = here.sent_bytes()
        reader = _end(stack, there, "read", str(rounds), here.address, json.dumps(hello))
        found = _line(reader)
        crossed_bytes = here.sent_bytes() - before_bytes
    gb = TOTAL_BYTES / 1e9
    for name, seconds in (("socket", found["copies_s"]), ("nixl", found["pulls_s"])):
        bench.figure(
            transport=name, link="veth/tcp", mib=TOTAL_BYTES >> 20,
            best_gb_per_s=gb / min(seconds), best_of_socket=min(found["copies_s"]) / min(seconds),
            median_gb_per_s=gb / statistics.median(seconds),
            median_of_socket=statistics.median(found["copies_s"]) / statistics.median(seconds),
        )  # fmt: skip
    # Pulls and copies both crossed; had the kernel copied between the processes, only the copies would have.
    moved = (2 * rounds + 1) * TOTAL_BYTES
    bench.figure(transport="wire", mib=moved >> 20, crossed_of_moved=crossed_bytes / moved)
    bench.note(f"UCX {found['versions'].get('ucx', '?')}, UCX_TLS={found['versions']['ucx_tls']}, {rounds} rounds")
    bench.check(Check("network_bytes_correct", found["correct"], "==", 1))
    bench.check(Check("network_bytes_crossed_the_wire", crossed_bytes / moved, ">=", 1.0))
    bench.check(Check("network_nixl_of_socket", min(found["copies_s"]) / min(found["pulls_s"]), ">=", MIN_OF_SOCKET))


def _end(stack: ExitStack, host: Host, *arguments: str) -> subprocess.Popen[str]:
    command = [*host.enter, sys.executable, "-m", "bench.transfer_network", *arguments]
    environment = {**os.environ, **UCX_TCP, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def _line(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The first JSON line; UCX prints to stdout too."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            return dict(json.loads(line))
    raise RuntimeError(f"{process.args!r} ended without a result")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        print(json.dumps(read(int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))), flush=True)
