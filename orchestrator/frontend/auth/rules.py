"""Which role each endpoint takes. What is not named takes a key, so that a new endpoint is never open by accident."""

from __future__ import annotations

from orchestrator.frontend.auth.api_key import KeyRole

OPEN_PATHS = frozenset({"/health", "/healthz", "/ready"})
METRICS_PATH = "/metrics"
OPEN_SERVICES = ("/grpc.health.v1.Health/", "/grpc.reflection.")
USER_SERVICE = "/pd.v1.Router/"
COUNTED_METHODS = frozenset({"/pd.v1.Router/Generate", "/pd.v1.Router/Route"})


def http_role(path: str, open_metrics: bool) -> KeyRole | None:
    """None where no key is needed."""
    if path in OPEN_PATHS or (path == METRICS_PATH and open_metrics):
        return None
    return KeyRole.OPERATOR if path == METRICS_PATH else KeyRole.USER


def http_counted(method: str) -> bool:
    """Whether a request counts against its key's limits: whatever makes the front door or a worker compute."""
    return method == "POST"


def grpc_role(method: str) -> KeyRole | None:
    """`method` is `/package.Service/Method`; None where no key is needed."""
    if method.startswith(OPEN_SERVICES):
        return None
    return KeyRole.USER if method.startswith(USER_SERVICE) else KeyRole.OPERATOR
