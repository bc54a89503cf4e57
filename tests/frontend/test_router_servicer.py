"""The gRPC Router against a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from orchestrator.core.sampling import Finish
from orchestrator.frontend.router_servicer import RouterServicer
from orchestrator.frontend.service import Cause, Logprob, ServiceError
from orchestrator.frontend.text import TextModel
from orchestrator.frontend.text.grammar_gate import GrammarGate
from orchestrator.observability import Metrics
from pd.v1 import routing_pb2 as pb
from pd.v1 import routing_pb2_grpc, worker_pb2
from tests.frontend.conftest import MAX_LEN, TIERS, Script, until
from tests.frontend.scripted import ScriptedService

SAID = "one two 你好 👋🏽"


@dataclass
class ScriptedRoutes:
    """Reservations by request id; `refusal` is raised instead."""

    refusal: ServiceError | None = None
    held: set[str] = field(default_factory=set)

    def route(self, request: pb.RouteRequest) -> pb.RouteReply:
        if self.refusal is not None:
            raise self.refusal
        self.held.add(request.request_id)
        return pb.RouteReply(request_id=request.request_id, prefill=pb.Target(worker="prefill-0"), expires_in_s=30)

    async def release(self, request_id: str) -> bool:
        held = request_id in self.held
        self.held.discard(request_id)
        return held


@pytest.fixture
def routes() -> ScriptedRoutes:
    return ScriptedRoutes()


Serve = Callable[..., Any]


@pytest.fixture
async def serve(
    service: ScriptedService, text: TextModel, routes: ScriptedRoutes, metrics: Metrics
) -> AsyncIterator[Serve]:
    """Starts a server and returns a stub; keyword arguments go to the servicer."""
    closing: list[Any] = []

    async def start(**options: Any) -> routing_pb2_grpc.RouterAsyncStub:
        server = grpc.aio.server()
        servicer = RouterServicer(service, text, routes, metrics=metrics, tiers=TIERS, **options)
        routing_pb2_grpc.add_RouterServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        closing.extend([channel.close(None), server.stop(None)])
        return routing_pb2_grpc.RouterStub(channel)

    yield start
    for end in closing:
        await end


@pytest.fixture
async def stub(serve: Serve) -> Any:
    return await serve()


def details(error: grpc.aio.AioRpcError, kind: Any) -> Any:
    """The detail message of this kind."""
    status = rpc_status.from_call(error)
    assert status is not None
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            found = kind()
            packed.Unpack(found)
            return found
    raise AssertionError(f"no {kind.DESCRIPTOR.name} in {status}")


async def test_chat(stub: Any, service: ScriptedService, script: Script, text: TextModel) -> None:
    service.deltas = script(SAID, size=2, cached=4)
    messages = [pb.ChatMessage(role="developer", content="be brief"), pb.ChatMessage(role="user", content="hi")]
    request = pb.GenerateRequest(request_id="id-1", model="tiny", chat=pb.ChatMessages(messages=messages))
    replies = [r async for r in stub.Generate(request)]
    assert "".join(r.text for r in replies) == SAID
    tokens = [t for r in replies for t in r.token_ids]
    assert tokens == [t for d in service.deltas for t in d.tokens]
    assert [r.first_index for r in replies] == [d.first_index for d in service.deltas]
    prompt = text.apply_chat_template([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}])
    assert service.submissions[0].tokens.tolist() == list(prompt)
    usage = replies[-1].usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (len(prompt), len(tokens), 4)
    assert replies[-1].finish_reason == "stop" and {r.request_id for r in replies} == {"id-1"}


async def test_unset_sampling_fields(stub: Any, service: ScriptedService, script: Script) -> None:
    service.deltas = script("one", finish=Finish.LENGTH)
    for _ in range(2):
        replies = [r async for r in stub.Generate(pb.GenerateRequest(token_ids=pb.TokenIds(ids=[5, 6, 7])))]
        assert replies[-1].finish_reason == "length"
    first, second = service.submissions
    assert first.tokens.tolist() == [5, 6, 7] and first.request_id != second.request_id
    assert (first.sampling.max_tokens, first.sampling.top_p, first.sampling.temperature) == (MAX_LEN - 3, 1.0, 0.0)
    assert first.sampling.seed != second.sampling.seed and first.sampling.logprobs is None


async def test_given_fields(stub: Any, service: ScriptedService, script: Script) -> None:
    service.deltas = script("one two three", logprobs=True)
    service.hold_after = len(service.deltas) - 1
    sampling = worker_pb2.SamplingParameters(
        max_tokens=9, temperature=0.5, top_k=4, top_p=0.75, seed=11, stop_token_ids=[3], ignore_eos=True, logprobs=2
    )
    slo = pb.ServiceLevel(tier="interactive", ttft_ms=100, tpot_ms=5)
    request = pb.GenerateRequest(prompt="count", sampling=sampling, stop=[" thr"], slo=slo)
    replies = [r async for r in stub.Generate(request)]
    assert "".join(r.text for r in replies) == "one two" and replies[-1].finish_reason == "stop"
    assert all(len(r.logprobs) == len(r.token_ids) and r.logprobs[0].logprob == -0.25 for r in replies)
    given = service.submissions[0]
    assert (given.tier, given.ttft_slo_s, given.tpot_slo_s) == ("interactive", 0.1, 0.005)
    s = given.sampling
    assert (s.max_tokens, s.temperature, s.top_k, s.top_p, s.seed, s.stop_token_ids, s.ignore_eos, s.logprobs) == (
        9, 0.5, 4, 0.75, 11, (3,), True, 2,
    )  # fmt: skip
    await until(lambda: service.stopped == [given.request_id])


def sampled(**fields: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(prompt="count", sampling=worker_pb2.SamplingParameters(**fields))


async def test_grammars(serve: Serve, service: ScriptedService, script: Script, grammars: GrammarGate) -> None:
    stub = await serve(grammars=grammars)
    service.deltas = script("{}")
    schema = '{"type":"object"}'
    for request in (sampled(json_schema=schema), sampled(regex="[0-9]+")):
        assert [r async for r in stub.Generate(request)][-1].finish_reason == "stop"
    found = [(s.sampling.json_schema, s.sampling.regex) for s in service.submissions]
    assert found == [(schema, None), (None, "[0-9]+")]


@pytest.mark.parametrize(
    ("request_", "field", "remedy"),
    [
        (sampled(json_schema="{"), "sampling.json_schema", "is not JSON"),
        (sampled(json_schema='{"type":"x"}'), "sampling.json_schema", "Invalid type"),
        (sampled(regex="(a"), "sampling.regex", "cannot be enforced"),
        (sampled(regex="a", json_schema="{}"), "sampling.regex", "send one of them"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
async def test_bad_grammars(
    serve: Serve,
    service: ScriptedService,
    grammars: GrammarGate,
    request_: pb.GenerateRequest,
    field: str,
    remedy: str,
) -> None:
    stub = await serve(grammars=grammars)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        [r async for r in stub.Generate(request_)]
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = details(caught.value, error_details_pb2.BadRequest).field_violations
    assert violation.field == field and remedy in violation.description
    assert not service.submissions


async def test_prompt_logprobs(stub: Any, service: ScriptedService, script: Script) -> None:
    service.deltas = script("one two")
    service.deltas[0].prompt_logprobs = (Logprob(-1.0, ((4, -0.5),)), Logprob(-2.0))
    replies = [r async for r in stub.Generate(sampled(prompt_logprobs=1))]
    assert service.submissions[0].sampling.prompt_logprobs == 1
    first, second = replies[0].prompt_logprobs
    assert (first.logprob, list(first.top_ids), list(first.top_logprobs)) == (-1.0, [4], [-0.5])
    assert second.logprob == -2.0 and not any(r.prompt_logprobs for r in replies[1:])


@pytest.mark.parametrize(
    ("request_", "field", "remedy"),
    [
        (pb.GenerateRequest(), "input", "set prompt"),
        (pb.GenerateRequest(prompt="a", model="other"), "model", "use 'tiny'"),
        (pb.GenerateRequest(prompt="a", request_id="a b"), "request_id", "letters"),
        (pb.GenerateRequest(prompt=""), "prompt", "at least one"),
        (pb.GenerateRequest(prompt="ab " * 500), "prompt", "shorten the prompt"),
        (pb.GenerateRequest(token_ids=pb.TokenIds(ids=[400])), "token_ids", "use ids from 0 to 399"),
        (pb.GenerateRequest(chat=pb.ChatMessages()), "chat.messages", "at least one"),
        (
            pb.GenerateRequest(chat=pb.ChatMessages(messages=[pb.ChatMessage(role="x")])),
            "chat.messages[0].role",
            "user",
        ),
        (pb.GenerateRequest(prompt="a", stop=["", "b"]), "stop", "correct it"),
        (pb.GenerateRequest(prompt="a", stop=list("abcde")), "stop", "at most 4"),
        (pb.GenerateRequest(prompt="a", slo=pb.ServiceLevel(tier="gold")), "slo.tier", "interactive"),
        (pb.GenerateRequest(prompt="a", slo=pb.ServiceLevel(ttft_ms=-1)), "slo.ttft_ms", "above 0"),
        (
            pb.GenerateRequest(prompt="a", sampling=worker_pb2.SamplingParameters(temperature=9)),
            "sampling.temperature",
            "0 to 2",
        ),
        (pb.GenerateRequest(prompt="a", sampling=worker_pb2.SamplingParameters(top_p=2)), "sampling.top_p", "0 to 1"),
        (
            pb.GenerateRequest(prompt="a", sampling=worker_pb2.SamplingParameters(logprobs=99)),
            "sampling.logprobs",
            "at most 20",
        ),
        (sampled(prompt_logprobs=21), "sampling.prompt_logprobs", "at most 20"),
        (sampled(json_schema="{}"), "sampling.json_schema", "leave it out"),
        (
            pb.GenerateRequest(prompt="a", sampling=worker_pb2.SamplingParameters(max_tokens=999)),
            "sampling.max_tokens",
            "at most",
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
async def test_bad_requests(
    stub: Any, service: ScriptedService, request_: pb.GenerateRequest, field: str, remedy: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        [r async for r in stub.Generate(request_)]
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = details(caught.value, error_details_pb2.BadRequest).field_violations
    assert violation.field == field and remedy in violation.description
    assert not service.submissions


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (Cause.INVALID, grpc.StatusCode.INVALID_ARGUMENT),
        (Cause.DUPLICATE, grpc.StatusCode.ALREADY_EXISTS),
        (Cause.QUEUE_FULL, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (Cause.NO_CAPACITY, grpc.StatusCode.UNAVAILABLE),
        (Cause.TIMEOUT, grpc.StatusCode.DEADLINE_EXCEEDED),
        (Cause.SHUTTING_DOWN, grpc.StatusCode.UNAVAILABLE),
        (Cause.WORKER, grpc.StatusCode.INTERNAL),
    ],
)
async def test_refusals(
    stub: Any, service: ScriptedService, routes: ScriptedRoutes, cause: Cause, code: grpc.StatusCode
) -> None:
    service.refusal = routes.refusal = ServiceError(cause, "because", 1.5 if cause is Cause.QUEUE_FULL else None)
    with pytest.raises(grpc.aio.AioRpcError) as generate:
        [r async for r in stub.Generate(pb.GenerateRequest(prompt="a"))]
    with pytest.raises(grpc.aio.AioRpcError) as route:
        await stub.Route(pb.RouteRequest(prompt_tokens=3))
    for error in (generate.value, route.value):
        assert (error.code(), error.details()) == (code, "because")
        assert details(error, error_details_pb2.ErrorInfo).reason == cause.upper()
        if code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE):
            delay = details(error, error_details_pb2.RetryInfo).retry_delay
            assert delay.seconds + delay.nanos / 1e9 == (1.5 if cause is Cause.QUEUE_FULL else 1.0)


async def test_an_error_after_the_first_token(stub: Any, service: ScriptedService, script: Script) -> None:
    service.deltas, service.error = script("one two")[:1], ServiceError(Cause.WORKER, "attempts used up")
    replies = stub.Generate(pb.GenerateRequest(prompt="a")).__aiter__()
    assert (await anext(replies)).token_ids
    with pytest.raises(grpc.aio.AioRpcError, match="attempts used up"):
        await anext(replies)


@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_the_end_of_the_call_cancels(
    stub: Any, service: ScriptedService, script: Script, metrics: Metrics, how: str
) -> None:
    service.deltas, service.hold_after = script("one two"), 1
    call = stub.Generate(pb.GenerateRequest(prompt="a"), timeout=0.3 if how == "deadline" else None)
    assert (await call.read()).token_ids
    if how == "cancel":
        call.cancel()
    await until(lambda: service.cancelled == [service.submissions[0].request_id])
    await until(lambda: b'outcome="cancelled",reason="client_gone"} 1.0' in metrics.render())


async def test_route_and_release(stub: Any) -> None:
    reply = await stub.Route(pb.RouteRequest(request_id="r", prompt_tokens=5))
    assert (reply.prefill.worker, reply.expires_in_s) == ("prefill-0", 30)
    assert [(await stub.Release(pb.ReleaseRequest(request_id="r"))).released for _ in range(2)] == [True, False]
