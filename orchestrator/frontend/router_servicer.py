"""The gRPC Router: Generate over the token service, Route and Release over the reservations."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol

from orchestrator.core.config.pools import default_tiers
from orchestrator.core.quote import quoted
from orchestrator.frontend.auth.caller import CALLER
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.outcomes import outcome_of
from orchestrator.frontend.rich_status import abort
from orchestrator.frontend.router_request import RouterRequests
from orchestrator.frontend.served import Served
from orchestrator.frontend.service import Logprob, ServiceError, TokenService
from orchestrator.frontend.text import Assembler, GenerationCancelled, InvalidRequest, Piece, TextModel, generate
from orchestrator.frontend.text.grammar_gate import GrammarGate
from orchestrator.frontend.tiers import Tiers
from orchestrator.observability import Metrics, Outcome
from orchestrator.observability.tracing import Tracing
from pd.v1 import routing_pb2 as pb
from pd.v1 import routing_pb2_grpc, worker_pb2

_API = "grpc"
_OPERATION = "text_completion"
# To write this many log-probabilities takes long enough that every stream would feel it.
_THREAD_FROM_TOKENS = 512


class RouteApi(Protocol):
    """Decides and reserves without running anything. Both raise ServiceError or InvalidRequest."""

    def route(self, request: pb.RouteRequest) -> pb.RouteReply | Awaitable[pb.RouteReply]: ...

    def release(self, request_id: str) -> bool | Awaitable[bool]: ...


class RouterServicer(routing_pb2_grpc.RouterServicer):
    """Serves pd.v1.Router."""

    def __init__(
        self,
        service: TokenService,
        text: TextModel,
        route_api: RouteApi,
        *,
        metrics: Metrics | None = None,
        limits: Limits | None = None,
        tiers: Tiers | None = None,
        tracing: Tracing | None = None,
        grammars: GrammarGate | None = None,
        more: Sequence[Served] = (),
    ) -> None:
        limits, tiers = limits or Limits(), tiers or Tiers(default_tiers())
        self._served = {
            one.name: (one.service, RouterRequests(one.service.model, one.text, limits, tiers, one.grammars))
            for one in (Served(service, text, grammars), *more)
        }
        self._default = self._served[service.model.name]
        self._route_api = route_api
        self._metrics = metrics or Metrics()
        self._tracing = tracing

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateReply]:  # type: ignore[override]
        """Stream an answer. The end of the call, by its deadline or its client, cancels the request."""
        arrival_s = time.perf_counter()
        caller = CALLER.get()
        try:
            service, requests = self._chosen(request.model)
            submission, assembler = await requests.read(request)
            caller.charge(len(submission.tokens) + submission.sampling.max_tokens)
        except InvalidRequest as error:
            self._metrics.reject(_API, error.code)
            await abort(context, error)
        except ServiceError as error:
            self._metrics.reject(_API, error.cause.value)
            await abort(context, error)
        if self._tracing is not None:
            traceparent = dict(context.invocation_metadata() or ()).get("traceparent")
            trace = self._tracing.begin(traceparent, _OPERATION, time.perf_counter() - arrival_s)
            submission = replace(submission, trace=trace)
        meter = self._metrics.start(
            _API,
            submission.tier,
            len(submission.tokens),
            arrival_s,
            submission.ttft_slo_s,
            submission.tpot_slo_s,
        )
        outcome, reason = Outcome.FAILED, "internal"
        try:
            async with aclosing(generate(service, submission, assembler, meter)) as pieces:
                async for piece in pieces:
                    if piece.finish is not None:
                        outcome, reason = Outcome.COMPLETED, "stop_string" if assembler.stopped else "done"
                    told = (submission.request_id, len(submission.tokens), piece, assembler)
                    if piece.first_index == 0 and len(assembler.prompt_logprobs) > _THREAD_FROM_TOKENS:
                        yield await asyncio.to_thread(_reply, *told)
                    else:
                        yield _reply(*told)
        except (asyncio.CancelledError, GeneratorExit):
            if outcome is not Outcome.COMPLETED:
                outcome, reason = Outcome.CANCELLED, "client_gone"
            raise
        except (ServiceError, GenerationCancelled) as error:
            outcome, reason = outcome_of(error)
            await abort(context, error)
        finally:
            meter.end(outcome, reason, assembler.cached_tokens)
            caller.done(len(submission.tokens) + assembler.completion_tokens)

    def _chosen(self, model: str) -> tuple[TokenService, RouterRequests]:
        """By name, the default one for ""; raises InvalidRequest."""
        chosen = self._served.get(model) if model else self._default
        if chosen is None:
            names = ", ".join(map(repr, self._served))
            raise InvalidRequest(f"there is no model {quoted(model)}: use {names}", "model", "model_not_found")
        return chosen

    async def Route(self, request: pb.RouteRequest, context: Any) -> pb.RouteReply:  # type: ignore[override]
        """Decide where a request would run, and reserve."""
        try:
            reply = self._route_api.route(request)
            return await reply if inspect.isawaitable(reply) else reply
        except (ServiceError, InvalidRequest) as error:
            await abort(context, error)

    async def Release(self, request: pb.ReleaseRequest, context: Any) -> pb.ReleaseReply:  # type: ignore[override]
        """Give a reservation back; `released` is false where there was none."""
        try:
            released = self._route_api.release(request.request_id)
            return pb.ReleaseReply(released=await released if inspect.isawaitable(released) else released)
        except (ServiceError, InvalidRequest) as error:
            await abort(context, error)


def _reply(request_id: str, prompt_tokens: int, piece: Piece, assembler: Assembler) -> pb.GenerateReply:
    reply = pb.GenerateReply(
        request_id=request_id,
        first_index=piece.first_index,
        token_ids=piece.tokens,
        text=piece.text,
        finish_reason=piece.finish or "",
    )
    reply.logprobs.extend(_entries(piece.logprobs))
    if assembler.prompt_logprobs and piece.first_index == 0:
        reply.prompt_logprobs.extend(_entries(assembler.prompt_logprobs))
    if piece.finish is not None:
        reply.usage.prompt_tokens = prompt_tokens
        reply.usage.completion_tokens = assembler.completion_tokens
        reply.usage.cached_tokens = assembler.cached_tokens
    return reply


def _entries(logprobs: Iterable[Logprob]) -> Iterator[worker_pb2.TokenLogprobs]:
    for entry in logprobs:
        top_ids, top = [t for t, _ in entry.top], [p for _, p in entry.top]
        yield worker_pb2.TokenLogprobs(logprob=entry.logprob, top_ids=top_ids, top_logprobs=top)
