"""What every gRPC call of `pdctl` has in common: a deadline, the API key, and how its failure reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from orchestrator.cli.credentials import MISTRUST
from orchestrator.cli.errors import CliError

if TYPE_CHECKING:
    from orchestrator.cli.connection import ClusterAddress


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class CallDefaults(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc,type-arg]
    """Adds the API key to each call, and to unary calls a deadline where they have none."""

    def __init__(self, timeout_s: float, api_key: str) -> None:
        self._timeout_s = timeout_s
        self._metadata = [("authorization", f"Bearer {api_key}")] if api_key else []

    def _with(self, details: Any, timeout_s: float | None) -> Any:
        return _Details(
            details.method,
            timeout_s if details.timeout is None else details.timeout,
            [*(details.metadata or []), *self._metadata],
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """A call with one answer."""
        return continuation(self._with(client_call_details, self._timeout_s), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """A call whose answers stream until somebody stops it."""
        return continuation(self._with(client_call_details, None), request)


_REMEDIES = {
    grpc.StatusCode.UNAUTHENTICATED: "set TANDEM_API_KEY to a key of the cluster's apiKeysFile",
    grpc.StatusCode.PERMISSION_DENIED: "set TANDEM_API_KEY to a key that may do this",
    grpc.StatusCode.UNIMPLEMENTED: "the cluster's version differs from this pdctl; compare with `pdctl version`",
    grpc.StatusCode.DEADLINE_EXCEEDED: "the front door is busy or stuck; look at `pdctl top`, then try again",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "the cluster is full; try again later or add workers",
    grpc.StatusCode.INTERNAL: "look at the front door's log in the run directory",
    grpc.StatusCode.UNKNOWN: "look at the front door's log in the run directory",
}


def explain_rpc_error(error: grpc.RpcError, address: ClusterAddress) -> CliError:
    """The line to show for a failed call."""
    if not isinstance(error, grpc.Call):
        return CliError(str(error), address.grpc_address, "check the address")
    code, details = error.code(), (error.details() or "").strip().rstrip(".")
    where = f"cluster {address.name or address.grpc_address}"
    if code is grpc.StatusCode.UNAVAILABLE and address.tls and _is_handshake(details):
        return CliError(f"no TLS connection to the cluster: {details}", address.grpc_address, MISTRUST)
    if code is grpc.StatusCode.UNAVAILABLE and _is_connection(details):
        if address.run_dir is None:
            return CliError(
                "the cluster does not answer",
                address.grpc_address,
                "check --server (grpcs:// for TLS), or run `pdctl up`",
            )
        if address.pid and _alive(address.pid):
            own = "name one in TANDEM_CERT_FILE and TANDEM_KEY_FILE if it asks for a client's certificate, or "
            return CliError(
                f"nothing answers at {address.grpc_address}, though process {address.pid} of cluster {address.name} lives",
                str(address.run_dir),
                f"{own if address.tls else ''}look at `pdctl logs up` and `pdctl logs frontdoor`",
            )
        gone = f", and its process {address.pid} is gone" if address.pid else ""
        return CliError(
            f"cluster {address.name} is not running: nothing answers at {address.grpc_address}{gone}",
            str(address.run_dir),
            "run `pdctl up`",
        )
    remedy = _REMEDIES.get(code, "")
    if remedy:
        return CliError(f"{details or code.name} ({code.name})", where, remedy)
    return CliError(details or code.name, where)


def _is_connection(details: str) -> bool:
    return any(word in details.lower() for word in ("connect", "resol", "socket", "goaway", "refused", "closed"))


def _is_handshake(details: str) -> bool:
    return any(word in details.lower() for word in ("ssl", "tls", "certificate", "handshake"))


def _alive(pid: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(pid))
