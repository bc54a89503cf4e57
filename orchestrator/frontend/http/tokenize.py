"""POST /tokenize and /detokenize, in vLLM's form: what the model's tokenizer makes of a text, and the way back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from orchestrator.frontend.http.body import read_object
from orchestrator.frontend.http.conversation import Conversation
from orchestrator.frontend.http.errors import ApiError, as_api_error
from orchestrator.frontend.http.fields import Fields
from orchestrator.frontend.http.messages import read_messages
from orchestrator.frontend.http.models import chosen_model
from orchestrator.frontend.http.server import Request, Response
from orchestrator.frontend.http.tool_use import read_tools
from orchestrator.frontend.served import Served
from orchestrator.frontend.text import InvalidRequest, TextModel
from orchestrator.frontend.text.budget import token_array
from orchestrator.observability import Metrics

_PROMPT_FIELDS = frozenset({"model", "prompt", "add_special_tokens", "return_token_strs"})
_CHAT_FIELDS = frozenset(
    {"model", "messages", "tools", "add_generation_prompt", "add_special_tokens", "return_token_strs"}
)


_Result = TypeVar("_Result")
_THREAD_FROM_TOKENS = 2048


class TokenizeApi:
    """Texts of any length go to a thread. `model` may be left out for the first one."""

    def __init__(self, served: Sequence[Served], metrics: Metrics) -> None:
        self._served = {one.name: one for one in served}
        self._default = served[0]
        self._metrics = metrics

    async def tokenize(self, request: Request) -> Response:
        """Token ids of a prompt, or of a conversation as the template writes it."""
        try:
            body, one = self._body(request)
            fields = Fields(body)
            chat = fields.has_any({"messages"})
            text, special_tokens = self._chat(fields, one.text) if chat else self._prompt(fields)
            named = fields.boolean("return_token_strs")
            tokens = await one.text.encode_async(text, special_tokens)
        except (InvalidRequest, ApiError) as error:
            raise self._refused("tokenize", error) from None
        answer = {"count": len(tokens), "max_model_len": one.service.model.max_model_len, "tokens": tokens}
        answer["token_strs"] = await _quickly(partial(_names, one.text), tokens) if named else None
        return Response.json(answer)

    async def detokenize(self, request: Request) -> Response:
        """The text of token ids, special tokens included."""
        try:
            body, one = self._body(request)
            fields = Fields(body)
            fields.refuse_unknown({"model", "tokens"})
            given = fields.get("tokens")
            if not isinstance(given, list):
                raise fields.wrong("tokens", given, "a list of token ids")
            prompt = ""
            if given:
                prompt = await _quickly(one.text.spell, token_array(given, one.service.model, "tokens"))
        except (InvalidRequest, ApiError) as error:
            raise self._refused("detokenize", error) from None
        return Response.json({"prompt": prompt})

    def _body(self, request: Request) -> tuple[dict[str, Any], Served]:
        body = read_object(request)
        if body.get("model") is None:
            return body, self._default
        return body, self._served[chosen_model(body, tuple(self._served))]

    def _prompt(self, fields: Fields) -> tuple[str, bool]:
        fields.refuse_unknown(_PROMPT_FIELDS)
        prompt = fields.string("prompt")
        if prompt is None:
            raise InvalidRequest("'prompt' is missing: send a string, or 'messages'.", "prompt", "missing_field")
        return prompt, fields.boolean("add_special_tokens", True)

    def _chat(self, fields: Fields, model: TextModel) -> tuple[str, bool]:
        fields.refuse_unknown(_CHAT_FIELDS)
        messages = fields.get("messages")
        if not isinstance(messages, list) or not messages:
            raise fields.wrong("messages", messages, 'a list such as [{"role": "user", "content": "…"}]')
        found, tool_param = read_messages(messages)
        conversation = Conversation(found, read_tools(fields), tool_param)
        # A template writes the special tokens itself.
        text = conversation.prompt(model, fields.boolean("add_generation_prompt", True))
        return text, fields.boolean("add_special_tokens")

    def _refused(self, api: str, error: InvalidRequest | ApiError) -> ApiError:
        told = error if isinstance(error, ApiError) else as_api_error(error)
        self._metrics.reject(api, told.code)
        return told


def _names(text: TextModel, tokens: Sequence[int]) -> list[str]:
    return [text.token_name(token) for token in tokens]


async def _quickly(work: Callable[[Sequence[int]], _Result], tokens: Sequence[int]) -> _Result:
    """`work` on `tokens`, in a thread where they are so many that every stream would feel it."""
    return work(tokens) if len(tokens) < _THREAD_FROM_TOKENS else await asyncio.to_thread(work, tokens)
