"""Sections about the processes around the workers: `state`, `ray`, `frontDoor`, `security`, `observability`, `drain`."""

# ruff: noqa: RUF009 (setting() returns a dataclass field)
from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from orchestrator.core.config.settings import setting


class StateKind(StrEnum):
    """Where desired state is kept."""

    SQLITE = "sqlite"
    REDIS = "redis"


@dataclass(frozen=True, slots=True)
class State:
    """The store of desired state: a SQLite file on one machine, Redis across machines."""

    kind: StateKind = setting("sqlite or redis", StateKind.SQLITE)
    url: str | None = setting("redis://[:password@]host:port/db, for kind redis", None)
    path: str | None = setting("SQLite file, for kind sqlite; state.db in the run directory if absent", None)

    def store_url(self, run_directory: Path) -> str:
        """The URL for `orchestrator.state.open_store`."""
        if self.kind is StateKind.REDIS:
            assert self.url is not None, "validated configurations of kind redis have a url"
            return self.url
        return f"sqlite:///{Path(self.path) if self.path else run_directory / 'state.db'}"


@dataclass(frozen=True, slots=True)
class Ray:
    """The Ray cluster that places workers."""

    address: str = setting(
        "local starts one, auto joins the one on this machine, HOST:PORT joins a remote one",
        "local",
        pattern=r"local|auto|(ray://)?[A-Za-z0-9_.-]+:[0-9]{1,5}",
        pattern_help="local, auto or HOST:PORT",
    )


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """The HTTP and gRPC endpoint and its bounds. Port 0 takes a free one."""

    host: str = setting("address to listen on; 0.0.0.0 for every interface", "127.0.0.1", pattern=r"\S+")
    http_port: int = setting("OpenAI-compatible HTTP port", 8000, minimum=0, maximum=65535)
    grpc_port: int = setting("gRPC port", 8001, minimum=0, maximum=65535)
    processes: int = setting("front door processes that share the ports", 1, minimum=1, maximum=256)
    max_concurrent: int = setting("requests in progress per process; more wait", 256, minimum=1, maximum=1_000_000)
    max_queue: int = setting(
        "requests that wait per process, also for a moment: at least 1; more get 429", 512, minimum=1, maximum=1_000_000
    )
    refuse_late: bool = setting(
        "refuse at once, with 429, a request whose first token, or those after it, would miss the goals of its tier",
        True,
    )
    max_body_bytes: int = setting("largest HTTP body", 4 << 20, minimum=1024, maximum=1 << 30)
    max_buffered_bytes: int = setting(
        "bytes of unfinished HTTP bodies per process; a body beyond that gets 503",
        512 << 20,
        minimum=1024,
        maximum=1 << 40,
    )
    max_connections: int = setting(
        "open HTTP connections per process; more get 503", 8192, minimum=1, maximum=1_000_000
    )
    header_timeout_s: float = setting(
        "time for the headers of an HTTP request, in seconds; then 408", 10.0, minimum=1, maximum=3600
    )
    body_timeout_s: float = setting(
        "time for its body, and a second more for every 4 KiB that came, in seconds; then 408",
        10.0,
        minimum=1,
        maximum=3600,
    )
    keep_alive_s: float = setting(
        "an HTTP connection with nothing to do is closed after this long, in seconds", 75.0, minimum=1, maximum=86400
    )
    stall_timeout_s: float = setting(
        "a client that takes nothing of its answer for this long is cut off, in seconds", 30.0, minimum=1, maximum=3600
    )
    max_backlog_bytes: int = setting(
        "bytes of a stream that its client may leave unread; beyond that it is cut off",
        1 << 20,
        minimum=64 << 10,
        maximum=1 << 30,
    )
    prefix_index_blocks: int = setting(
        "KV blocks that a process remembers for prefix routing: those stored or hit last; about 75 bytes each",
        1 << 20,
        minimum=1024,
        maximum=1 << 28,
    )
    request_timeout_s: float = setting(
        "a request that takes longer fails, in seconds", 600.0, minimum=0.1, maximum=86400
    )
    default_tier: str | None = setting("tier of requests that name none; the first tier if absent", None)
    record_decisions: int = setting(
        "decisions that each process writes to decisions-NAME.jsonl.gz in the run directory, from its start; 0: none",
        0,
        minimum=0,
        maximum=1_000_000_000,
    )


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates of the front door, for HTTP and gRPC alike. Files that change are read again."""

    cert_file: str | None = setting("certificate chain in PEM form; no TLS if absent", None)
    key_file: str | None = setting("its private key in PEM form", None)
    client_ca_file: str | None = setting("only clients with a certificate of these authorities may connect", None)

    @property
    def enabled(self) -> bool:
        return self.cert_file is not None


@dataclass(frozen=True, slots=True)
class Security:
    """Who may call the front door."""

    api_keys_file: str | None = setting(
        "file with one `KEY [role] [name] [limit=value ...]` per line; no keys are asked for if absent", None
    )
    open_metrics: bool = setting("let anyone read GET /metrics; else it takes an operator's key", False)
    tls: Tls = setting("encryption of HTTP and gRPC", factory=Tls)


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The least level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Observability:
    """Logs and traces; metrics are always there."""

    log_format: LogFormat = setting("text, or one JSON object per line", LogFormat.TEXT)
    log_level: LogLevel = setting("debug, info, warning or error", LogLevel.INFO)
    access_log: bool = setting("one line per finished request; costs about 30 us of CPU each", False)
    otlp_endpoint: str | None = setting(
        "OTLP/HTTP collector that gets traces, such as http://127.0.0.1:4318; OTEL_EXPORTER_OTLP_ENDPOINT if absent; "
        "no traces without either",
        None,
        pattern=r"https?://\S+",
        pattern_help="http://HOST:PORT or https://HOST:PORT",
    )
    trace_sample_ratio: float = setting(
        "share of requests that are traced; a client's own traceparent decides for itself", 1.0, minimum=0, maximum=1
    )


@dataclass(frozen=True, slots=True)
class Drain:
    """How workers leave."""

    budget_s: float = setting(
        "how long a draining worker may finish its work, in seconds", 30.0, minimum=0, maximum=86400
    )
