"""A request that generates text: read, tokenise, submit, answer, count."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from time import perf_counter
from typing import Any, cast

from orchestrator.frontend.http import headers
from orchestrator.frontend.http.answer import ChoiceRenderer, Identity
from orchestrator.frontend.http.choice import Choice
from orchestrator.frontend.http.completing import Completing
from orchestrator.frontend.http.endpoint import Endpoint, Prompt
from orchestrator.frontend.http.errors import ApiError, as_api_error
from orchestrator.frontend.http.expand import encode_prompts, expand
from orchestrator.frontend.http.extras import Extras
from orchestrator.frontend.http.group import Group
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.http.options import Options
from orchestrator.frontend.http.output_form import OutputForm
from orchestrator.frontend.http.server import Request
from orchestrator.frontend.http.stream_sink import StreamSink
from orchestrator.frontend.http.whole_sink import WholeSink
from orchestrator.frontend.service import ServiceError, Submission, TokenService
from orchestrator.frontend.text import Assembler, InvalidRequest, TextModel
from orchestrator.frontend.text.budget import output_budget, token_array
from orchestrator.frontend.text.grammar_gate import GrammarGate
from orchestrator.frontend.tiers import Tiers
from orchestrator.observability import Metrics, Phase, RequestMeter
from orchestrator.observability.trace import Trace
from orchestrator.observability.tracing import Tracing

_OPERATIONS = {"chat": "chat", "completions": "text_completion", "responses": "chat"}


class GenerationApi:
    """Generation with one model, over its token service."""

    def __init__(
        self,
        service: TokenService,
        text: TextModel,
        limits: Limits,
        metrics: Metrics,
        tiers: Tiers,
        tracing: Tracing | None = None,
        grammars: GrammarGate | None = None,
    ) -> None:
        self._service = service
        self._text = text
        self._limits = limits
        self._metrics = metrics
        self._tiers = tiers
        self._tracing = tracing
        self._grammars = grammars
        self._parse, self._tokenise = (metrics.overhead[phase] for phase in (Phase.PARSE, Phase.TOKENISE))

    @property
    def model(self) -> str:
        """The name of its model."""
        return self._service.model.name

    def generate(
        self, request: Request, endpoint: Endpoint, body: dict[str, Any], begun_s: float
    ) -> Awaitable[None] | None:
        """Submit `body` as one of `endpoint`; its sink answers. Only long texts, which a thread tokenises, are waited for."""
        try:
            given, options = endpoint.read(body, self._service.model, self._limits)
            read_s = perf_counter()
            self._parse.observe(read_s - begun_s)
            prompt = endpoint.prompt(self._text, given)
            if options.extras is not None:
                return self._generate_more(request, endpoint, prompt, options, options.extras, read_s)
            assert not isinstance(prompt, tuple), "several prompts are an extra"
            if isinstance(prompt, str) and not self._text.is_quick(prompt):
                return self._generate_long(request, endpoint, prompt, options, read_s)
            tokens = self._text.encode(prompt, endpoint.special_tokens) if isinstance(prompt, str) else prompt
            submission = self._submission(request, endpoint, tokens, options, read_s)
        except (InvalidRequest, ServiceError, ApiError) as error:
            raise self.refused(endpoint, error) from None
        self._start(request, endpoint, submission, options)
        return None

    async def _generate_long(
        self, request: Request, endpoint: Endpoint, prompt: str, options: Options, read_s: float
    ) -> None:
        encoded = await self._text.encode_async(prompt, endpoint.special_tokens)
        try:
            submission = self._submission(request, endpoint, encoded, options, read_s)
        except (InvalidRequest, ServiceError, ApiError) as error:
            raise self.refused(endpoint, error) from None
        self._start(request, endpoint, submission, options)

    async def _generate_more(
        self, request: Request, endpoint: Endpoint, prompt: Prompt, options: Options, extras: Extras, read_s: float
    ) -> None:
        """A request of more than one plain answer."""
        try:
            if extras.form is not None:
                await self._check_form(extras.form)
                read_s = perf_counter()
            encoded = await encode_prompts(self._text, prompt, endpoint.special_tokens)
            plain = [self._uncharged(request, endpoint, tokens, options, read_s) for tokens in encoded]
            submissions = expand(plain, options, extras, self._limits)
            self._charge(request, sum(len(s.tokens) + s.sampling.max_tokens for _, s in submissions))
        except (InvalidRequest, ServiceError, ApiError) as error:
            raise self.refused(endpoint, error) from None
        if len(submissions) == 1 and extras.prompt_logprobs is None and not extras.echo:
            self._start(request, endpoint, submissions[0][1], options)
            return
        identity = Identity.of(request.id, self._service.model.name)
        choices = [
            Choice(
                submission,
                prompt_index,
                self._assembler(options),
                # Only APIs of choices take what leads here.
                cast(ChoiceRenderer, endpoint.render(identity, self._text, options, index)),
                self._meter(request, endpoint, submission),
            )
            for index, (prompt_index, submission) in enumerate(submissions)
        ]
        complete = None if options.stream else Completing(self._text, options, extras)
        Group(request.stream(), choices, complete).submit(self._service)

    async def _check_form(self, form: OutputForm) -> None:
        if self._grammars is None:
            raise InvalidRequest(
                f"{form.param!r}: this front door enforces no form of the output: remove it.",
                form.param,
                "unsupported_field",
            )
        await self._grammars.check(form.json_schema, form.regex, form.param)

    def refused(self, endpoint: Endpoint, error: InvalidRequest | ServiceError | ApiError) -> ApiError:
        """Count a request that is refused before it is submitted."""
        told = error if isinstance(error, ApiError) else as_api_error(error)
        self._metrics.reject(endpoint.name, told.code)
        return told

    def _submission(
        self, request: Request, endpoint: Endpoint, prompt: Sequence[int], options: Options, read_s: float
    ) -> Submission:
        submission = self._uncharged(request, endpoint, prompt, options, read_s)
        self._charge(request, len(submission.tokens) + submission.sampling.max_tokens)
        return submission

    def _charge(self, request: Request, tokens: int) -> None:
        if request.caller is not None:
            request.caller.charge(tokens)

    def _uncharged(
        self, request: Request, endpoint: Endpoint, prompt: Sequence[int], options: Options, read_s: float
    ) -> Submission:
        tokens = token_array(prompt, self._service.model, endpoint.prompt_field)
        self._tokenise.observe(perf_counter() - read_s)
        ttft_s, tpot_s = headers.slo_s(request.headers)
        max_tokens = output_budget(
            len(tokens), options.max_tokens, self._service.model, endpoint.prompt_field, options.max_tokens_field
        )
        return Submission(
            request_id=request.id,
            tokens=tokens,
            sampling=options.sampling(max_tokens),
            tier=headers.tier(request.headers, self._tiers),
            ttft_slo_s=ttft_s,
            tpot_slo_s=tpot_s,
            trace=self._trace(request, endpoint) if self._tracing is not None else None,
        )

    def _trace(self, request: Request, endpoint: Endpoint) -> Trace | None:
        assert self._tracing is not None
        age_s = perf_counter() - request.arrival_s
        return self._tracing.begin(request.headers.get("traceparent"), _OPERATIONS.get(endpoint.name, ""), age_s)

    def _start(self, request: Request, endpoint: Endpoint, submission: Submission, options: Options) -> None:
        renderer = endpoint.render(Identity.of(request.id, self._service.model.name), self._text, options, 0)
        sink = (StreamSink if options.stream else WholeSink)(
            request.stream(),
            self._assembler(options),
            renderer,
            self._meter(request, endpoint, submission),
            len(submission.tokens),
        )
        sink.submit(self._service, submission)

    def _assembler(self, options: Options) -> Assembler:
        eos = () if options.ignore_eos else self._service.model.eos_token_ids
        return Assembler(self._text, options.stops, {*options.stop_token_ids, *eos}, options.logprobs is not None)

    def _meter(self, request: Request, endpoint: Endpoint, submission: Submission) -> RequestMeter:
        return self._metrics.start(
            endpoint.name,
            submission.tier,
            len(submission.tokens),
            request.arrival_s,
            submission.ttft_slo_s,
            submission.tpot_slo_s,
        )
