"""Responses through the official client."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from openai import APIStatusError, AsyncOpenAI, BadRequestError

from orchestrator.core.sampling import Finish
from orchestrator.frontend.service import Cause, ServiceError
from orchestrator.frontend.text import TextModel
from tests.frontend.conftest import Script, until
from tests.frontend.scripted import ScriptedService
from tests.frontend.test_tools import POINT, knowing, knowing_dir

__all__ = ["knowing", "knowing_dir"]  # fixtures
SAID = "one two 你好 👋🏽"
TOOLS: Any = [{"type": "function", "name": "move", "parameters": POINT}, {"type": "function", "name": "stay"}]
TEXT_EVENTS = [
    *("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"),
    *("output_text.done", "content_part.done", "output_item.done", "completed"),
]
CALL_EVENTS = [
    *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"),
]


async def kinds(stream: Any) -> tuple[list[str], list[Any]]:
    """The types of the events, repeated ones once, and the events."""
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    names = [event.type.removeprefix("response.") for event in events]
    return [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name], events


async def test_whole(client: AsyncOpenAI, service: ScriptedService, script: Script, text: TextModel) -> None:
    service.deltas = script(SAID, cached=3)
    answer = await client.responses.create(
        model="tiny", input="hi", instructions="be brief", metadata={"a": "b"}, max_output_tokens=30, temperature=0.5
    )
    assert (answer.output_text, answer.status, answer.error) == (SAID, "completed", None)
    assert answer.id.startswith("resp_") and answer.output[0].type == "message"
    assert (answer.instructions, answer.metadata, answer.max_output_tokens, answer.temperature) == (
        "be brief", {"a": "b"}, 30, 0.5,
    )  # fmt: skip
    assert answer.model_extra is not None and answer.model_extra["store"] is False
    prompt = text.apply_chat_template([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}])
    assert service.submissions[0].tokens.tolist() == prompt
    assert service.submissions[0].sampling.max_tokens == 30
    usage, said = answer.usage, len(text.encode(SAID)) + 1
    assert usage is not None and usage.input_tokens_details.cached_tokens == 3
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (len(prompt), said, len(prompt) + said)


async def test_items(client: AsyncOpenAI, service: ScriptedService, script: Script, text: TextModel) -> None:
    service.deltas = script("one")
    said = [{"type": "output_text", "text": "o", "annotations": []}]
    items: Any = [
        {"role": "developer", "content": "be brief"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": t} for t in ("a", "b")]},
        {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": said},
        {"role": "user", "content": "c"},
    ]
    await client.responses.create(model="tiny", input=items, store=True)
    roles, contents = ("system", "user", "assistant", "user"), ("be brief", "ab", "o", "c")
    expected = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
    assert service.submissions[0].tokens.tolist() == text.apply_chat_template(expected)


async def test_cut_off(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas = script("one two", finish=Finish.LENGTH)
    answer = await client.responses.create(model="tiny", input="hi")
    assert answer.status == "incomplete" and answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens" and answer.output[0].status == "incomplete"
    names, events = await kinds(await client.responses.create(model="tiny", input="hi", stream=True))
    assert names[-1] == "incomplete" and events[-1].response.output_text == "one two"


async def test_stream(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas = script(SAID, size=2)
    names, events = await kinds(await client.responses.create(model="tiny", input="hi", stream=True))
    assert names == TEXT_EVENTS
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == SAID
    assert next(e.text for e in events if e.type == "response.output_text.done") == SAID
    created, completed = events[0].response, events[-1].response
    assert (created.status, created.output, created.usage) == ("in_progress", [], None)
    assert (completed.status, completed.output_text, completed.id) == ("completed", SAID, created.id)
    assert completed.usage.output_tokens > 3
    assert len({e.item_id for e in events if hasattr(e, "item_id")}) == 1


async def test_every_delta_has_the_same_form(
    url: str, service: ScriptedService, script: Script, knowing: AsyncOpenAI
) -> None:
    """Of a plain answer, and of one that may call and is read for calls."""
    service.deltas = script(SAID)
    deltas = []
    for base, tools in ((url + "/v1/", []), (str(knowing.base_url), TOOLS)):
        body = {"model": "tiny", "input": "hi", "stream": True, "tools": tools}
        async with aiohttp.ClientSession() as session, session.post(base + "responses", json=body) as response:
            events = (await response.text()).split("\n\n")
        assert events.pop() == ""
        parts = [event.split("\n") for event in events]
        assert all(len(part) == 2 and part[0].startswith("event: ") for part in parts)
        found = [json.loads(data.removeprefix("data: ")) for _, data in parts]
        assert [part[0].removeprefix("event: ") for part in parts] == [event["type"] for event in found]
        deltas.append([event for event in found if event["type"] == "response.output_text.delta"])
    assert len(deltas[0]) > 3
    for one, other in zip(*deltas, strict=True):
        assert one | {"item_id": ""} == other | {"item_id": ""}


async def test_the_helper_of_the_client(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas = script(SAID)
    async with client.responses.stream(model="tiny", input="hi") as stream:
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert "".join(deltas) == final.output_text == SAID


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_said(client: AsyncOpenAI, service: ScriptedService, script: Script, stream: bool) -> None:
    service.deltas = script([])
    answer: Any = await client.responses.create(model="tiny", input="hi", stream=stream)
    final = (await kinds(answer))[1][-1].response if stream else answer
    assert final.output_text == "" and final.output[0].content[0].text == ""


async def test_json_schema(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas = script('{"x":1}')
    form: Any = {"format": {"type": "json_schema", "name": "point", "schema": POINT, "strict": True}}
    answer = await client.responses.create(model="tiny", input="hi", text=form)
    assert json.loads(answer.output_text) == {"x": 1}
    assert json.loads(service.submissions[0].sampling.json_schema or "") == POINT
    assert answer.text is not None and answer.text.format is not None and answer.text.format.type == "json_schema"


@pytest.mark.parametrize("stream", [False, True])
async def test_required_tools(client: AsyncOpenAI, service: ScriptedService, script: Script, stream: bool) -> None:
    service.deltas = script('[{"name":"move","arguments":{"x":3}},{"name":"stay","arguments":{}}]')
    answer: Any = await client.responses.create(
        model="tiny", input="hi", tools=TOOLS, tool_choice="required", stream=stream
    )
    if stream:
        names, events = await kinds(answer)
        assert names == ["created", "in_progress", *CALL_EVENTS, *CALL_EVENTS, "completed"]
        deltas = [e for e in events if e.type == "response.function_call_arguments.delta"]
        assert ["".join(e.delta for e in deltas if e.output_index == i) for i in (0, 1)] == ['{"x":3}', "{}"]
        answer = events[-1].response
    assert [(item.type, item.name, item.arguments) for item in answer.output] == [
        ("function_call", "move", '{"x":3}'),
        ("function_call", "stay", "{}"),
    ]
    assert len({item.call_id for item in answer.output}) == 2


async def test_a_named_tool(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas = script('{"x":3}')
    choice: Any = {"type": "function", "name": "move"}
    answer: Any = await client.responses.create(model="tiny", input="hi", tools=TOOLS, tool_choice=choice)
    assert (answer.output[0].name, answer.output[0].arguments) == ("move", '{"x":3}')


async def test_text_and_calls(knowing: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas = script('ok <tool_call>{"name": "stay", "arguments": {}}</tool_call>')
    names, events = await kinds(await knowing.responses.create(model="tiny", input="hi", tools=TOOLS, stream=True))
    assert names == [*TEXT_EVENTS[:-1], *CALL_EVENTS, "completed"]
    assert [item.type for item in events[-1].response.output] == ["message", "function_call"]


async def test_the_result_of_a_call(
    knowing: AsyncOpenAI, service: ScriptedService, script: Script, text: TextModel
) -> None:
    service.deltas = script("done")
    items: Any = [
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "c", "name": "stay", "arguments": "{}"},
        {"type": "function_call", "call_id": "d", "name": "move", "arguments": '{"x": 1}'},
        {"type": "function_call_output", "call_id": "c", "output": "stayed"},
    ]
    await knowing.responses.create(model="tiny", input=items)
    prompt = text.spell(service.submissions[0].tokens)
    call = '<tool_call>{{"name": "{}", "arguments": {}}}</tool_call>'
    assert call.format("stay", "{}") + call.format("move", '{"x": 1}') + "<|im_end|>" in prompt
    assert "<|im_start|>tool\nstayed<|im_end|>" in prompt


async def test_failures(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.error = ServiceError(Cause.WORKER, "attempts used up")
    with pytest.raises(APIStatusError) as caught:
        await client.responses.create(model="tiny", input="hi", stream=True)
    assert caught.value.status_code == 500
    service.deltas = script("one two")[:2]
    names, events = await kinds(await client.responses.create(model="tiny", input="hi", stream=True))
    assert names[-1] == "failed" and events[-1].response.status == "failed"
    assert "attempts used up" in events[-1].response.error.message


async def test_a_client_that_leaves(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas, service.hold_after = script("one two"), 1
    stream = await client.responses.create(model="tiny", input="hi", stream=True)
    await anext(aiter(stream))
    await stream.close()
    await until(lambda: service.cancelled == [service.submissions[0].request_id])


BAD_FORMAT = {"type": "json_schema", "name": "x", "schema": {"type": "y"}}
BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("no input", {"input": None}, "input", "send a string or a list of items"),
    ("an empty list", {"input": []}, "input", "at least one item"),
    ("a number", {"input": 3}, "input", "a string or a list"),
    ("an item that is none", {"input": [3]}, "input[0]", "send an object"),
    ("an unknown item", {"input": [{"type": "reasoning"}]}, "input[0].type", "function_call_output"),
    ("an unknown role", {"input": [{"role": "x", "content": "y"}]}, "input[0].role", "developer"),
    ("an image", {"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]", "input_text"),
    ("a state", {"previous_response_id": "resp_1"}, "previous_response_id", "send the whole conversation"),
    ("a conversation", {"conversation": "c"}, "conversation", "send the whole conversation"),
    ("background", {"background": True}, "background", "wait for the answer"),
    ("reasoning", {"reasoning": {"effort": "high"}}, "reasoning", "remove it"),
    ("truncation", {"truncation": "auto"}, "truncation", "shorten"),
    ("a chat's field", {"messages": []}, "messages", "remove it"),
    ("a chat's bound", {"max_tokens": 3}, "max_tokens", "did you mean"),
    ("no room", {"max_output_tokens": 4000}, "max_output_tokens", "at most"),
    ("a bad bound", {"max_output_tokens": 0}, "max_output_tokens", "from 1"),
    ("metadata", {"metadata": {"a": 1}}, "metadata", "strings"),
    ("a format", {"text": {"format": {"type": "xml"}}}, "text.format.type", "json_schema"),
    ("a bad schema", {"text": {"format": BAD_FORMAT}}, "text.format.schema", "Invalid type"),
    ("auto", {"tools": TOOLS}, "tool_choice", "has no tools"),
    ("a hosted tool", {"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tools[0]", "function"),
    ("a result", {"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input[0].type", "no place for"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param", "remedy"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
async def test_refused(
    client: AsyncOpenAI, service: ScriptedService, fields: dict[str, Any], param: str, remedy: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        await client.post("/responses", body={"model": "tiny", "input": "hi"} | fields, cast_to=object)
    assert caught.value.param == param and remedy in caught.value.message
    assert not service.submissions


@pytest.mark.parametrize("value", [True, False, None])
async def test_neutral_values(client: AsyncOpenAI, service: ScriptedService, script: Script, value: Any) -> None:
    service.deltas = script("one")
    neutral = {"store": value, "truncation": "disabled", "include": [], "tools": [], "tool_choice": "auto"}
    more = {"parallel_tool_calls": value, "background": False, "text": {"format": {"type": "text"}}, "user": "me"}
    body = {"model": "tiny", "input": "hi", "service_tier": "auto", "prompt_cache_key": "k", **neutral, **more}
    answer: Any = await client.post("/responses", body=body, cast_to=object)
    assert answer["store"] is False and answer["status"] == "completed"
