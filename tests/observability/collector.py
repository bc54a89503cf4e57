"""A trace collector: a real HTTP server that decodes what OTLP exporters send."""

import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    """One received span; ids in hex, "" for no parent."""

    service: str
    instance: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    begun_ns: int
    ended_ns: int
    error: str
    attributes: dict


class Collector:
    """Listens on `url` from construction to `close`."""

    def __init__(self):
        self.spans = []
        self.paths = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.paths.add((self.path, self.headers["Content-Type"]))
                collector.spans += decode(body)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def wait(self, names, trace_id, timeout_s=60.0):
        """The spans of a trace, once all `names` are there."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = [span for span in self.spans if span.trace_id == trace_id]
            if {span.name for span in found} >= set(names):
                return found
            assert time.monotonic() < deadline, f"only {sorted(span.name for span in found)} came"
            time.sleep(0.05)  # the exporters are other processes

    def trace_of(self, request_id, timeout_s=60.0):
        """The trace of a request, once one of its spans is there."""
        deadline = time.monotonic() + timeout_s
        while not (found := {s.trace_id for s in self.spans if s.attributes.get("pd.request_id") == request_id}):
            assert time.monotonic() < deadline, f"no span of {request_id} came"
            time.sleep(0.05)  # the exporters are other processes
        (trace_id,) = found
        return trace_id

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def decode(body):
    """Spans of one export."""
    for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = {item.key: item.value.string_value for item in resource_spans.resource.attributes}
        for scope in resource_spans.scope_spans:
            for span in scope.spans:
                yield Span(
                    resource["service.name"],
                    resource["service.instance.id"],
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.kind,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.message,
                    {item.key: value(item.value) for item in span.attributes},
                )


def value(item):
    kind = item.WhichOneof("value")
    return [value(entry) for entry in item.array_value.values] if kind == "array_value" else getattr(item, kind)
