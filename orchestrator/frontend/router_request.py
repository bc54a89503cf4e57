"""A gRPC GenerateRequest as a submission."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.core.quote import quoted
from orchestrator.core.sampling import Sampling
from orchestrator.frontend.http.headers import new_request_id, valid_request_id
from orchestrator.frontend.http.limits import Limits
from orchestrator.frontend.service import ModelInfo, Submission
from orchestrator.frontend.text import Assembler, InvalidRequest, TextModel
from orchestrator.frontend.text.budget import SEED_BITS, check_prompt, draw_seed, output_budget
from orchestrator.frontend.text.grammar_gate import GrammarGate
from orchestrator.frontend.text.template import ROLES
from orchestrator.frontend.tiers import Tiers, UnknownTier
from pd.v1 import routing_pb2 as pb
from pd.v1 import worker_pb2


@dataclass(frozen=True, slots=True)
class RouterRequests:
    """Reads requests; every method raises InvalidRequest with the field's name in the message's proto."""

    model: ModelInfo
    text: TextModel
    limits: Limits
    tiers: Tiers
    grammars: GrammarGate | None = None

    async def read(self, request: pb.GenerateRequest) -> tuple[Submission, Assembler]:
        """The submission, and what turns its deltas into text."""
        request_id = request.request_id or new_request_id()
        if not valid_request_id(request_id):
            raise InvalidRequest("use 1 to 128 letters, digits, '-', '_', '.', or leave it empty", "request_id")
        tokens = await self._tokens(request)
        sampling = self._sampling(request.sampling, len(tokens), request.WhichOneof("input") or "input")
        await self._check_grammar(sampling)
        stops = self._stops(request.stop)
        end_tokens = {*sampling.stop_token_ids, *(() if sampling.ignore_eos else self.model.eos_token_ids)}
        submission = Submission(
            request_id,
            array("I", tokens),
            sampling,
            self._tier(request.slo.tier),
            _goal_s(request.slo, "ttft_ms"),
            _goal_s(request.slo, "tpot_ms"),
        )
        return submission, Assembler(self.text, stops, end_tokens, False)

    async def _tokens(self, request: pb.GenerateRequest) -> list[int]:
        kind = request.WhichOneof("input")
        if kind == "token_ids":
            tokens = list(request.token_ids.ids)
        elif kind == "prompt":
            tokens = await self.text.encode_async(request.prompt)
        elif kind == "chat":
            tokens = await self.text.encode_async(self._render(request.chat), add_special_tokens=False)
        else:
            raise InvalidRequest("no input: set prompt, token_ids or chat", "input", "missing_field")
        check_prompt(tokens, self.model, kind)
        return tokens

    def _render(self, chat: pb.ChatMessages) -> str:
        if not chat.messages:
            raise InvalidRequest("no messages: send at least one", "chat.messages", "missing_field")
        for i, message in enumerate(chat.messages):
            if message.role not in ROLES:
                roles = ", ".join(ROLES)
                raise InvalidRequest(
                    f"unknown role {quoted(message.role)}: use one of {roles}", f"chat.messages[{i}].role"
                )
        return self.text.render_chat([{"role": ROLES[m.role], "content": m.content} for m in chat.messages])

    def _sampling(self, given: worker_pb2.SamplingParameters, prompt_tokens: int, prompt_field: str) -> Sampling:
        """Zero means unset for max_tokens (the rest of the context), top_p (1) and seed (drawn)."""
        if not 0 <= given.temperature <= 2:
            raise InvalidRequest(f"{given.temperature:g} is out of range: use 0 to 2", "sampling.temperature")
        if not 0 <= given.top_p <= 1:
            raise InvalidRequest(f"{given.top_p:g} is out of range: use 0 to 1", "sampling.top_p")
        logprobs = given.logprobs if given.HasField("logprobs") else None
        if logprobs is not None and logprobs > self.limits.max_logprobs:
            raise InvalidRequest(f"{logprobs} is too many: use at most {self.limits.max_logprobs}", "sampling.logprobs")
        ids = tuple(dict.fromkeys(given.stop_token_ids))
        if len(ids) > self.limits.max_stop_token_ids or any(i >= self.model.vocab_size for i in ids):
            raise InvalidRequest(
                f"send at most {self.limits.max_stop_token_ids} ids below {self.model.vocab_size}",
                "sampling.stop_token_ids",
            )
        return Sampling(
            max_tokens=output_budget(
                prompt_tokens, given.max_tokens or None, self.model, prompt_field, "sampling.max_tokens"
            ),
            temperature=given.temperature,
            top_k=given.top_k if given.top_k < self.model.vocab_size else 0,
            top_p=given.top_p or 1.0,
            seed=given.seed & ((1 << SEED_BITS) - 1) or draw_seed(),
            stop_token_ids=ids,
            ignore_eos=given.ignore_eos,
            logprobs=logprobs,
            json_schema=given.json_schema or None,
            regex=given.regex or None,
            prompt_logprobs=self._prompt_logprobs(given, prompt_tokens),
        )

    def _prompt_logprobs(self, given: worker_pb2.SamplingParameters, prompt_tokens: int) -> int | None:
        if not given.HasField("prompt_logprobs"):
            return None
        wanted, field = given.prompt_logprobs, "sampling.prompt_logprobs"
        if wanted > self.limits.max_logprobs:
            raise InvalidRequest(f"{wanted} is too many: use at most {self.limits.max_logprobs}", field)
        most = self.limits.max_prompt_logprobs
        if prompt_tokens * max(1, wanted) > most:
            raise InvalidRequest(
                f"{wanted} for {prompt_tokens} prompt tokens: their product may be at most {most}", field
            )
        return wanted

    async def _check_grammar(self, sampling: Sampling) -> None:
        if sampling.json_schema is None and sampling.regex is None:
            return
        if sampling.json_schema is not None and sampling.regex is not None:
            raise InvalidRequest("json_schema and regex both bind the output: send one of them", "sampling.regex")
        field = "sampling.regex" if sampling.json_schema is None else "sampling.json_schema"
        if self.grammars is None:
            raise InvalidRequest("this front door enforces no form of the output: leave it out", field)
        await self.grammars.check(sampling.json_schema, sampling.regex, field)

    def _stops(self, stops: Iterable[str]) -> tuple[str, ...]:
        found = tuple(stops)
        if len(found) > self.limits.max_stop_strings:
            raise InvalidRequest(f"{len(found)} strings: send at most {self.limits.max_stop_strings}", "stop")
        if any(not 0 < len(s) <= self.limits.max_stop_chars for s in found):
            raise InvalidRequest(f"a stop string has 1 to {self.limits.max_stop_chars} characters: correct it", "stop")
        return found

    def _tier(self, tier: str) -> str:
        try:
            return self.tiers.choose(tier)
        except UnknownTier as known:
            text = f"there is no tier {quoted(tier)}: use one of {known}"
            raise InvalidRequest(text, "slo.tier", "unknown_tier") from None


def _goal_s(slo: pb.ServiceLevel, field: str) -> float | None:
    if not slo.HasField(field):  # type: ignore[arg-type]
        return None
    value_ms = float(getattr(slo, field))
    if not 0 < value_ms < math.inf:
        raise InvalidRequest(f"{value_ms:g} is no goal: send milliseconds above 0", f"slo.{field}")
    return value_ms / 1000
