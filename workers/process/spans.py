"""The spans of requests on this worker: `engine.prefill`, `kv.pull` and `engine.decode`, below those of the front door."""

from __future__ import annotations

import time
from dataclasses import dataclass

from orchestrator.observability.request_spans import decode_span
from orchestrator.observability.spans import Spans, Value
from orchestrator.observability.trace import Trace, join
from workers.engine.base import Emission, Key
from workers.transfer.base import PullResult

MOST_OPEN = 10_000
"""Requests that are followed at once; the oldest is forgotten first."""


@dataclass(slots=True)
class _Open:
    sent: Trace
    begun_ns: int
    prefilling: bool
    first_index: int


class WorkerSpans:
    """Used on the engine thread only. Nothing happens here for a single token that is not a request's first or last."""

    def __init__(self, spans: Spans, worker: str) -> None:
        self._spans = spans
        self._worker = worker
        self._open: dict[Key, _Open] = {}

    def submitted(self, key: Key, traceparent: str, first_index: int) -> None:
        """Prefill is to begin."""
        self._begin(key, traceparent, True, first_index)

    def attached(self, key: Key, traceparent: str, first_index: int) -> None:
        """A pull is to begin, and decoding after it."""
        self._begin(key, traceparent, False, first_index)

    def pulled(self, key: Key, source: str, result: PullResult) -> None:
        """The pull is over."""
        run = self._open.get(key)
        if run is None:
            return
        now_ns = time.time_ns()
        attributes: dict[str, Value] = {"pd.source_worker": source, "pd.kv_bytes": result.bytes}
        error = "" if result.error is None else f"{type(result.error).__name__}: {result.error}"
        self._emit("kv.pull", key, run, run.sent.child("kv.pull"), now_ns, attributes, error)
        run.begun_ns = now_ns

    def emitted(self, emission: Emission) -> None:
        """Something else than one more token: the first one, or the end."""
        run = self._open.get(emission.key)
        if run is None:
            return
        now_ns = time.time_ns()
        if run.prefilling:
            run.prefilling = False
            cached: dict[str, Value] = {"gen_ai.usage.cache_read.input_tokens": emission.cached_tokens}
            self._emit("engine.prefill", emission.key, run, run.sent.child("engine.prefill"), now_ns, cached, "")
            run.begun_ns = now_ns
            if emission.lease is not None:
                del self._open[emission.key]
                return
        if emission.finish is not None:
            del self._open[emission.key]
            tokens = emission.first_index + len(emission.tokens) - run.first_index
            attributes: dict[str, Value] = {"gen_ai.usage.output_tokens": tokens, "pd.finish": str(emission.finish)}
            span = decode_span(run.sent).child("engine.decode")
            self._emit("engine.decode", emission.key, run, span, now_ns, attributes, emission.error)

    def dropped(self, key: Key, why: str) -> None:
        """The request left before its end."""
        run = self._open.pop(key, None)
        if run is not None:
            name = "engine.prefill" if run.prefilling else "engine.decode"
            above = run.sent if run.prefilling else decode_span(run.sent)
            self._emit(name, key, run, above.child(name), time.time_ns(), {"pd.finish": why}, "")

    def close(self) -> None:
        """Send what waits."""
        self._spans.close()

    def _begin(self, key: Key, traceparent: str, prefilling: bool, first_index: int) -> None:
        sent = join(traceparent) if traceparent else None
        if sent is not None:
            while len(self._open) >= MOST_OPEN:
                del self._open[next(iter(self._open))]
            self._open[key] = _Open(sent, time.time_ns(), prefilling, first_index)

    def _emit(
        self, name: str, key: Key, run: _Open, span: Trace, ended_ns: int, attributes: dict[str, Value], error: str
    ) -> None:
        whose: dict[str, Value] = {"pd.request_id": key.request_id.partition("/")[2], "pd.worker": self._worker}
        self._spans.emit(name, span, run.begun_ns, ended_ns, {**whose, **attributes}, error=error)
