"""W3C trace context: what is joined, what is sampled, and ids that both ends of a wire agree on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.observability.trace import Trace, begin, join
from orchestrator.observability.tracing import is_wanted, start_tracing

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_clients_span_is_continued():
    trace = begin(GOOD, 0.0, "chat")
    assert (trace.trace_id, trace.parent_id) == (0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7)
    assert trace.span_id not in (0, trace.parent_id)
    assert join(trace.traceparent) == Trace(trace.trace_id, trace.span_id)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        GOOD[:-1],
        GOOD + "-x",
        "ff" + GOOD[2:],
        GOOD.upper(),
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        "\u0660" * 55,
    ],
)
def test_what_makes_no_sense_starts_a_trace_of_its_own(text):
    assert join(text) is None
    trace = begin(text, 1.0, "chat")
    assert trace.parent_id == 0
    assert trace.trace_id != 0x4BF92F3577B34DA6A3CE929D0E0E4736


def test_decisions():
    assert begin(GOOD[:-1] + "0", 1.0, "chat") is None
    assert begin("01" + GOOD[2:] + "-later", 0.0, "chat") is not None  # a later version may add fields
    assert begin(None, 0.0, "chat") is None
    share = sum(begin(None, 0.25, "chat") is not None for _ in range(4000)) / 4000
    assert 0.2 < share < 0.3


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1))
def test_stages_have_ids_of_their_own_that_need_no_memory(trace_id, span_id):
    trace = Trace(trace_id, span_id)
    spans = {trace.of_stage(name, attempt).span_id for name in ("prefill", "decode") for attempt in (1, 2)}
    assert len(spans) == 4
    assert trace.of_stage("prefill", 1) == Trace(trace_id, span_id).of_stage("prefill", 1)
    assert trace.of_stage("prefill", 1).parent_id == span_id


def test_off_unless_somebody_wants_it(monkeypatch):
    for name in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("OTEL_TRACES_EXPORTER", raising=False)
    assert start_tracing(None, 1.0, "front-door", "f") is None
    assert is_wanted("http://127.0.0.1:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    assert is_wanted(None)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    assert not is_wanted(None)
    monkeypatch.delenv("OTEL_TRACES_EXPORTER")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not is_wanted("http://127.0.0.1:4318")
