"""Finished spans on their way to an OpenTelemetry collector: OTLP over HTTP, in batches, from a thread of the SDK."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import metadata

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from orchestrator.observability.trace import Trace

Value = str | int | float | bool | tuple[str, ...]
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_DEFAULT = "tandem"


class Spans:
    """Takes spans that are over, so that nothing is held open on a request's path. `emit` never blocks; what is too much is dropped.

    `process` is front-door, worker or the like, `instance` its name. The other OTEL_* variables of the SDK hold.
    """

    def __init__(self, endpoint: str | None, process: str, instance: str) -> None:
        self._resource = Resource.create(
            {
                "service.name": os.environ.get("OTEL_SERVICE_NAME") or f"{_DEFAULT}-{process}",
                "service.namespace": _DEFAULT,
                "service.instance.id": instance,
                "service.version": metadata.version("tandem"),
                "process.pid": os.getpid(),
            }
        )
        self._scope = InstrumentationScope("tandem", metadata.version("tandem"))
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces") if endpoint else OTLPSpanExporter()
        self._batches = BatchSpanProcessor(exporter)

    def emit(
        self,
        name: str,
        trace: Trace,
        begun_ns: int,
        ended_ns: int,
        attributes: Mapping[str, Value],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        error: str = "",
    ) -> None:
        """One span; times in unix nanoseconds. `error` marks it as failed."""
        parent = None
        if trace.parent_id:
            parent = SpanContext(trace.trace_id, trace.parent_id, is_remote=True, trace_flags=_SAMPLED)
        span = ReadableSpan(
            name,
            SpanContext(trace.trace_id, trace.span_id, is_remote=False, trace_flags=_SAMPLED),
            parent,
            self._resource,
            attributes,
            kind=kind,
            status=Status(StatusCode.ERROR, error) if error else Status(StatusCode.UNSET),
            start_time=begun_ns,
            end_time=max(begun_ns, ended_ns),
            instrumentation_scope=self._scope,
        )
        self._batches.on_end(span)

    def flush(self, timeout_s: float = 5.0) -> None:
        """Send what waits; blocks up to `timeout_s`."""
        self._batches.force_flush(int(1000 * timeout_s))

    def close(self) -> None:
        """Send what waits, and end."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]
