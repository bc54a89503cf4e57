"""The spans of a request that is over, made from its record: the request, and below it one per stage of each attempt."""

from __future__ import annotations

from opentelemetry.trace import SpanKind

from orchestrator.core.request import RequestState
from orchestrator.observability.ended_request import EndedRequest, EndedStage
from orchestrator.observability.spans import Spans, Value
from orchestrator.observability.trace import Trace

TRANSFER = "transfer"
_NAMES = {"handoff": TRANSFER}
_OPERATION = "text_completion"


def stage_span(trace: Trace, name: str, attempt: int, co_located: bool) -> Trace:
    """The span of a stage. Decoding hangs below the request, under an id that the worker knows from what it was sent."""
    if name == "decode":
        return decode_span(trace.of_stage("prefill" if co_located else "handoff", attempt), trace.span_id)
    return trace.of_stage(name, attempt)


def decode_span(sent: Trace, parent_id: int = 0) -> Trace:
    """The decode stage of the attempt whose message carried the span `sent`."""
    span = sent.child("decode")
    return Trace(span.trace_id, span.span_id, parent_id)


class RequestSpans:
    """Call it with a record; does nothing for a request that is not traced."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def __call__(self, request: EndedRequest) -> None:
        """Emit the spans of `request`. Source: OpenTelemetry semantic conventions for GenAI clients and servers."""
        trace = request.trace
        if trace is None:
            return
        arrived_ns = int(1e9 * request.arrived_at)
        ended_ns = arrived_ns + int(1e9 * (request.e2e_s or 0.0))
        operation = trace.operation or _OPERATION
        seen: dict[tuple[str, int], int] = {}
        for stage in request.stages:
            place = (stage.name, stage.attempt)
            seen[place] = count = seen.get(place, 0) + 1
            span = stage_span(trace, stage.name, stage.attempt, request.co_located)
            if count > 1:  # the same stage again in one attempt, such as a second reservation
                span = trace.child(f"{stage.name}/{stage.attempt}/{count}")
            begun_ns = arrived_ns + int(1e9 * stage.started_s)
            self._spans.emit(
                _NAMES.get(stage.name, stage.name),
                span,
                begun_ns,
                begun_ns + int(1e9 * (stage.seconds or 0.0)),
                _of(stage),
            )
        self._spans.emit(
            f"{operation} {request.model}",
            trace,
            trace.begun_ns or arrived_ns,
            ended_ns,
            _whole(request, operation),
            kind=SpanKind.SERVER,
            error=request.error if request.state is RequestState.FAILED else "",
        )


def _of(stage: EndedStage) -> dict[str, Value]:
    said = {"pd.worker": stage.worker, "pd.reason": stage.reason, "pd.detail": stage.detail}
    return {"pd.attempt": stage.attempt, **{name: value for name, value in said.items() if value}}


def _whole(request: EndedRequest, operation: str) -> dict[str, Value]:
    found: dict[str, Value] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "tandem",
        "gen_ai.request.model": request.model,
        "gen_ai.response.model": request.model,
        "gen_ai.response.id": request.request_id,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.usage.input_tokens": request.prompt_tokens,
        "gen_ai.usage.output_tokens": request.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": request.cached_tokens,
        "pd.request_id": request.request_id,
        "pd.tier": request.tier,
        "pd.state": str(request.state),
        "pd.attempts": request.attempt,
        "pd.co_located": request.co_located,
        "pd.prefill_worker": request.prefill_worker,
        "pd.decode_worker": request.decode_worker,
        "pd.kv_bytes": request.kv_bytes,
    }
    if request.finish_reason:
        found["gen_ai.response.finish_reasons"] = (str(request.finish_reason),)
    if request.ttft_s is not None:
        found["gen_ai.response.time_to_first_chunk"] = request.ttft_s
    return found
