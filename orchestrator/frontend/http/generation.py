"""POST /v1/chat/completions and POST /v1/completions: parse, tokenise, submit, answer, count."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from orchestrator.frontend.http import headers
from orchestrator.frontend.http.answer import Identity, Renderer
from orchestrator.frontend.http.body import read_object
from orchestrator.frontend.http.chat_answer import ChatAnswer
from orchestrator.frontend.http.chat_request import read_chat
from orchestrator.frontend.http.completion_answer import CompletionAnswer
from orchestrator.frontend.http.completion_request import read_completion
from orchestrator.frontend.http.errors import ApiError, as_api_error
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.http.models import check_model
from orchestrator.frontend.http.options import Options
from orchestrator.frontend.http.respond import ClientGone, StreamFailed, answer_stream, answer_whole
from orchestrator.frontend.outcomes import outcome_of
from orchestrator.frontend.service import ServiceError, Submission, TokenService
from orchestrator.frontend.text import Assembler, GenerationCancelled, InvalidRequest, TextModel, generate
from orchestrator.frontend.text.budget import check_prompt, output_budget
from orchestrator.observability import Metrics, Outcome


class GenerationApi:
    """The two generation endpoints over one token service."""

    def __init__(
        self, service: TokenService, text: TextModel, limits: Limits, metrics: Metrics, tiers: Mapping[str, object]
    ) -> None:
        self._service = service
        self._text = text
        self._limits = limits
        self._metrics = metrics
        self._tiers = tiers

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions."""
        return await self._guarded(request, "chat", self._chat)

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/completions."""
        return await self._guarded(request, "completions", self._completion)

    async def _guarded(self, request: web.Request, api: str, endpoint: Any) -> web.StreamResponse:
        """Count a request that is refused before it is submitted."""
        arrival_s = time.perf_counter()
        try:
            body = await read_object(request, self._limits.max_body_bytes)
            check_model(body, self._service.model)
            tokens, options, renderer = await endpoint(request, body)
            submission = self._submission(request, tokens, options, "messages" if api == "chat" else "prompt")
        except InvalidRequest as error:
            self._metrics.reject(api, error.code)
            raise as_api_error(error) from error
        except ApiError as error:
            self._metrics.reject(api, error.code)
            raise
        return await self._run(request, api, arrival_s, submission, options, renderer)

    async def _chat(self, request: web.Request, body: dict[str, Any]) -> tuple[list[int], Options, Renderer]:
        messages, options = read_chat(body, self._service.model, self._limits)
        tokens = await self._text.encode_async(self._text.render_chat(messages), add_special_tokens=False)
        check_prompt(tokens, self._service.model, "messages")
        return (
            tokens,
            options,
            ChatAnswer(self._identity(request), self._text, options.logprobs is not None, options.include_usage),
        )

    async def _completion(self, request: web.Request, body: dict[str, Any]) -> tuple[list[int], Options, Renderer]:
        prompt, options = read_completion(body, self._service.model, self._limits)
        tokens = await self._text.encode_async(prompt) if isinstance(prompt, str) else prompt
        check_prompt(tokens, self._service.model, "prompt")
        return (
            tokens,
            options,
            CompletionAnswer(self._identity(request), self._text, options.logprobs is not None, options.include_usage),
        )

    def _identity(self, request: web.Request) -> Identity:
        return Identity.of(request[headers.REQUEST_ID], self._service.model.name)

    def _submission(self, request: web.Request, tokens: list[int], options: Options, prompt_field: str) -> Submission:
        ttft_s, tpot_s = headers.slo_s(request.headers)
        max_tokens = output_budget(
            len(tokens), options.max_tokens, self._service.model, prompt_field, options.max_tokens_field
        )
        return Submission(
            request_id=request[headers.REQUEST_ID],
            tokens=array("I", tokens),
            sampling=options.sampling(max_tokens),
            tier=headers.tier(request.headers, self._tiers, self._limits.default_tier),
            ttft_slo_s=ttft_s,
            tpot_slo_s=tpot_s,
        )

    async def _run(
        self,
        request: web.Request,
        api: str,
        arrival_s: float,
        submission: Submission,
        options: Options,
        renderer: Renderer,
    ) -> web.StreamResponse:
        prompt_tokens = len(submission.tokens)
        end_tokens = {*options.stop_token_ids, *(() if options.ignore_eos else self._service.model.eos_token_ids)}
        assembler = Assembler(self._text, options.stops, end_tokens, options.logprobs is not None)
        meter = self._metrics.start(api, submission.tier, prompt_tokens, arrival_s)
        outcome, reason = Outcome.FAILED, "internal"
        try:
            pieces = generate(self._service, submission, assembler, meter)
            if options.stream:
                response: web.StreamResponse = await answer_stream(
                    request, pieces, assembler, renderer, prompt_tokens, options.include_usage
                )
            else:
                response = await answer_whole(request, pieces, assembler, renderer, prompt_tokens)
            outcome, reason = Outcome.COMPLETED, "stop_string" if assembler.stopped else "done"
            return response
        except (ClientGone, asyncio.CancelledError):
            outcome, reason = Outcome.CANCELLED, "client_gone"
            raise
        except StreamFailed as failed:
            outcome, reason = outcome_of(failed.error)
            return failed.response
        except (ServiceError, GenerationCancelled) as error:
            outcome, reason = outcome_of(error)
            raise as_api_error(error) from error
        finally:
            meter.end(outcome, reason, assembler.cached_tokens)
