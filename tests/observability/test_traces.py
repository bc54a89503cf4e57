"""The spans of one request, from the front door and two workers, are one trace."""

from tests.observability.conftest import OPERATOR, USER, chat

CLIENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE_ID, CLIENT_SPAN = CLIENT.split("-")[1:3]
STAGES = ("queue", "route", "prefill", "transfer", "decode")
ENGINE = {"engine.prefill": "prefill", "kv.pull": "transfer", "engine.decode": "decode"}


def test_one_request_is_one_trace_across_processes(seen):
    answer = chat(seen, headers={"traceparent": CLIENT, "X-Request-Id": "traced-1"})
    spans = seen.collector.wait([*STAGES, *ENGINE, "chat demo"], TRACE_ID)
    by_name = {span.name: span for span in spans}
    assert len(by_name) == len(spans)
    root = by_name["chat demo"]
    assert (root.parent_id, root.kind) == (CLIENT_SPAN, 2)
    assert (root.service, root.instance) == ("tandem-front-door", "front-door-0")
    for name in STAGES:
        assert by_name[name].parent_id == root.span_id, name
        assert by_name[name].instance == "front-door-0"
    for name, above in ENGINE.items():
        assert by_name[name].parent_id == by_name[above].span_id, name
    assert [by_name[name].instance for name in ENGINE] == ["prefill", "decode", "decode"]
    assert {by_name[name].service for name in ENGINE} == {"tandem-worker"}
    assert len({span.span_id for span in spans}) == len(spans)
    assert all(span.begun_ns <= span.ended_ns for span in spans)
    assert all(root.begun_ns <= by_name[name].begun_ns <= root.ended_ns for name in STAGES)
    usage = answer["usage"]
    assert root.attributes["gen_ai.operation.name"] == "chat"
    assert root.attributes["gen_ai.request.model"] == "demo"
    assert root.attributes["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    assert root.attributes["gen_ai.usage.output_tokens"] == usage["completion_tokens"]
    assert root.attributes["gen_ai.response.finish_reasons"] == [answer["choices"][0]["finish_reason"]]
    assert root.attributes["pd.request_id"] == "traced-1"
    assert by_name["engine.decode"].attributes["gen_ai.usage.output_tokens"] == usage["completion_tokens"] - 1
    assert by_name["kv.pull"].attributes["pd.kv_bytes"] == root.attributes["pd.kv_bytes"] > 0
    assert by_name["kv.pull"].attributes["pd.source_worker"] == "prefill"
    assert by_name["engine.prefill"].attributes["pd.request_id"] == "traced-1"
    assert seen.collector.paths == {("/v1/traces", "application/x-protobuf")}


def test_a_client_that_says_no_is_not_traced_and_one_that_says_nothing_is(seen):
    refused = "a" * 32
    chat(seen, headers={"traceparent": f"00-{refused}-{'b' * 16}-00"})
    chat(seen, headers={"X-Request-Id": "untold"})
    spans = seen.collector.wait(["chat demo", "engine.decode"], seen.collector.trace_of("untold"))
    assert [span.parent_id for span in spans if span.name == "chat demo"] == [""]
    assert not [span for span in seen.collector.spans if span.trace_id == refused]


def test_logs_are_one_object_a_line_and_name_request_and_trace(seen):
    chat(seen, headers={"traceparent": CLIENT, "X-Request-Id": "logged-1"})
    (line,) = (line for line in seen.log("front-door-0") if line.get("request_id") == "logged-1")
    assert line["logger"] == "tandem.access"
    assert line["trace_id"] == TRACE_ID
    assert (line["process"], line["level"], line["outcome"], line["attempt"]) == ("front-door-0", "info", "finished", 1)
    assert (line["prefill_worker"], line["decode_worker"]) == ("prefill", "decode")
    assert line["prompt_tokens"] > 0
    assert 0 < line["ttft_ms"] <= line["e2e_ms"]
    text = "".join((seen.directory / f"{name}.log").read_text() for name in ("front-door-0", "prefill", "decode"))
    assert OPERATOR not in text
    assert USER not in text
    assert "Count from" not in text
