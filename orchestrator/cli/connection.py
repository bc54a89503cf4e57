"""Finds the cluster and talks to it: every gRPC failure leaves here as one line with a remedy."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.credentials import api_key, ca_file, channel_credentials
from orchestrator.cli.errors import CliError, usage
from orchestrator.cli.globals import GLOBALS

if TYPE_CHECKING:
    from pd.v1.admin_pb2_grpc import AdminStub
    from pd.v1.routing_pb2_grpc import RouterStub

CLUSTER_FILE = "cluster.json"
SECURE = "grpcs://"
START = "start one with `pdctl up`, or name one with --server HOST:PORT"


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """Where a cluster answers, and whether over TLS. `http_url`, `pid` and `run_dir` are known only for clusters of this machine."""

    grpc_address: str
    name: str = ""
    http_url: str = ""
    pid: int = 0
    run_dir: Path | None = None
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Client:
    """Stubs over one channel. Calls end after `timeout_s` unless they stream."""

    address: ClusterAddress
    admin: AdminStub
    router: RouterStub


def run_directory() -> Path:
    """The run directory: `--run-dir`, else TANDEM_RUN_DIR, else `~/.tandem/default`."""
    chosen = GLOBALS.run_dir or os.environ.get("TANDEM_RUN_DIR") or "~/.tandem/default"
    return Path(chosen).expanduser()


def find_cluster() -> ClusterAddress:
    """The cluster to talk to: `--server`, TANDEM_SERVER or the run directory; raises CliError if there is none."""
    server = GLOBALS.server or (None if GLOBALS.run_dir else os.environ.get("TANDEM_SERVER"))
    if server:
        return ClusterAddress(_address(server), tls=server.startswith(SECURE) or ca_file() is not None)
    path = run_directory() / CLUSTER_FILE
    try:
        document = json.loads(path.read_text())
        return ClusterAddress(
            grpc_address=document["grpc_address"],
            name=document.get("name", ""),
            http_url=document.get("http_url", ""),
            pid=int(document.get("pid") or 0),
            run_dir=path.parent,
            tls=str(document.get("http_url", "")).startswith("https:"),
        )
    except FileNotFoundError:
        raise CliError("no cluster is running", f"no {path}", START) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CliError(
            f"cannot read the cluster's address: {error!r}", str(path), "run `pdctl down`, then `pdctl up`"
        ) from error


def _address(server: str) -> str:
    host, _, port = server.removeprefix("grpc://").removeprefix(SECURE).rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise usage(f"{server!r} is not an address", "--server", "give HOST:PORT, such as 127.0.0.1:8001")
    return f"{host}:{port}"


@contextmanager
def connect(timeout_s: float = 10.0) -> Iterator[Client]:
    """A client of the cluster. gRPC errors raised inside the block become CliError."""
    address = find_cluster()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # a failed handshake is told once, by us
    import grpc

    from orchestrator.cli.calls import CallDefaults, explain_rpc_error
    from pd.v1.admin_pb2_grpc import AdminStub
    from pd.v1.routing_pb2_grpc import RouterStub

    options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.enable_http_proxy", 0)]
    bare = (
        grpc.secure_channel(address.grpc_address, channel_credentials(), options)
        if address.tls
        else grpc.insecure_channel(address.grpc_address, options)
    )
    with bare:
        channel = grpc.intercept_channel(bare, CallDefaults(timeout_s, api_key()))
        try:
            yield Client(address, AdminStub(channel), RouterStub(channel))
        except grpc.RpcError as error:
            raise explain_rpc_error(error, address) from error
