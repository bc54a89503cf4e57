"""Tools: what reaches the template and the workers, and what an answer looks like."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError

from orchestrator.core.grammar import Grammar, GrammarCompiler, GrammarKind
from orchestrator.core.sampling import Finish
from orchestrator.frontend.http import Limits, make_app, start_http
from orchestrator.frontend.text import TextModel
from orchestrator.frontend.text.grammar_gate import GrammarGate
from orchestrator.observability import Metrics
from tests.frontend.conftest import Script
from tests.frontend.scripted import ScriptedService

POINT = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"], "additionalProperties": False}
MOVE = {
    "type": "object",
    "properties": {"to": {"$ref": "#/$defs/P"}},
    "required": ["to"],
    "additionalProperties": False,
    "$defs": {"P": POINT},
}
TOOLS: Any = [
    {"type": "function", "function": {"name": "move", "description": "go there", "parameters": MOVE, "strict": True}},
    {"type": "function", "function": {"name": "stay"}},
]
NAMED: Any = {"type": "function", "function": {"name": "move"}}
ASK: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "tools": TOOLS}
TOOL_TEMPLATE = """{%- if tools %}{{ '<tools>' + (tools | tojson) + '</tools> Answer in <tool_call></tool_call>. ' }}{% endif %}
{%- for m in messages %}
    {{- '<|im_start|>' + m.role + '\\n' + m.content }}
    {%- for call in m.tool_calls or [] %}{{ '<tool_call>' + (call.function | tojson) + '</tool_call>' }}{% endfor %}
    {{- '<|im_end|>' + '\\n' }}
{%- endfor %}{{- '<|im_start|>assistant\\n' }}"""


@pytest.fixture(scope="module")
def knowing_dir(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with a template that shows tools and has room for them."""
    path = tmp_path_factory.mktemp("knowing") / "model"
    shutil.copytree(model_dir, path)
    (path / "chat_template.jinja").write_text(TOOL_TEMPLATE)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2000}))
    return path


@pytest.fixture
async def knowing(knowing_dir: Path, service: ScriptedService, metrics: Metrics) -> AsyncIterator[AsyncOpenAI]:
    """A client of a server of that model."""
    text = TextModel.load(knowing_dir)
    service.model = type(service.model)("tiny", text.max_model_len, text.vocab_size, text.eos_token_ids)
    app = make_app(service, text, limits=Limits(), metrics=metrics, grammars=GrammarGate.of(knowing_dir, text))
    server, port = await start_http(app, "127.0.0.1", 0)
    async with AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="-", max_retries=0, timeout=10) as client:
        yield client
    await server.close()


async def ask(client: AsyncOpenAI, stream: bool, **fields: Any) -> tuple[str | None, list[tuple[str, str]], str | None]:
    """Content, calls and finish reason, whole or put together from chunks."""
    answer = await client.chat.completions.create(**ASK | fields, stream=stream)
    if not stream:
        message = answer.choices[0].message
        calls = [(c.function.name, c.function.arguments) for c in message.tool_calls or []]
        assert all(c.id and c.type == "function" for c in message.tool_calls or [])
        return message.content, calls, answer.choices[0].finish_reason
    content, calls, finish, ids = "", [], None, set()
    async for chunk in answer:
        delta = chunk.choices[0].delta
        content += delta.content or ""
        for call in delta.tool_calls or []:
            if call.id:
                assert call.index == len(calls) and call.type == "function" and call.id not in ids
                ids.add(call.id)
                calls.append((call.function.name, ""))
            calls[call.index] = (calls[call.index][0], calls[call.index][1] + (call.function.arguments or ""))
        finish = chunk.choices[0].finish_reason or finish
    return content or None, calls, finish


@pytest.mark.parametrize("stream", [False, True])
async def test_a_named_function(client: AsyncOpenAI, service: ScriptedService, script: Script, stream: bool) -> None:
    service.deltas = script('{"to":{"x":3}}')
    assert await ask(client, stream, tool_choice=NAMED) == (None, [("move", '{"to":{"x":3}}')], "tool_calls")
    assert json.loads(service.submissions[0].sampling.json_schema or "") == MOVE


CALLS = '[{"name":"move","arguments":{"to":{"x":3}}},{"name":"stay","arguments":{}}]'


@pytest.mark.parametrize("stream", [False, True])
async def test_required(
    client: AsyncOpenAI, service: ScriptedService, script: Script, model_dir: Path, text: TextModel, stream: bool
) -> None:
    service.deltas = script(CALLS, size=3)
    found = await ask(client, stream, tool_choice="required")
    assert found == (None, [("move", '{"to":{"x":3}}'), ("stay", "{}")], "tool_calls")
    compiler = GrammarCompiler(model_dir / "tokenizer.json", text.vocab_size, text.eos_token_ids)
    matcher = compiler.compile(Grammar(GrammarKind.JSON_SCHEMA, service.submissions[0].sampling.json_schema or ""))
    for said, taken in [
        (CALLS, True),
        ("[]", False),
        ('[{"name":"go","arguments":{}}]', False),
        ('[{"name":"move","arguments":{}}]', False),
        ('[{"name":"move","arguments":{"to":{"x":"3"}}}]', False),
        ('{"name":"stay","arguments":{}}', False),
    ]:
        tokens = text.encode(said)
        copy = matcher.deep_copy()
        assert (copy.try_consume_tokens(tokens) == len(tokens) and copy.is_accepting()) is taken, said


@pytest.mark.parametrize("stream", [False, True])
async def test_one_call_at_most(client: AsyncOpenAI, service: ScriptedService, script: Script, stream: bool) -> None:
    service.deltas = script('{"name":"stay","arguments":{}}')
    found = await ask(client, stream, tool_choice="required", parallel_tool_calls=False)
    assert found == (None, [("stay", "{}")], "tool_calls")
    schema = json.loads(service.submissions[0].sampling.json_schema or "")
    assert [option["properties"]["name"] for option in schema["anyOf"]] == [{"const": "move"}, {"const": "stay"}]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_is_cut_off(
    client: AsyncOpenAI, service: ScriptedService, script: Script, stream: bool
) -> None:
    service.deltas = script('[{"name":"move","arguments":{"to', finish=Finish.LENGTH)
    assert await ask(client, stream, tool_choice="required") == (None, [("move", '{"to')], "length")


@pytest.mark.parametrize("stream", [False, True])
async def test_each_answer_has_its_calls(
    client: AsyncOpenAI, service: ScriptedService, script: Script, stream: bool
) -> None:
    service.deltas = script("{}")
    answer = await client.chat.completions.create(
        **ASK, tool_choice={"type": "function", "function": {"name": "stay"}}, n=2, stream=stream
    )  # type: ignore[call-overload]
    if stream:
        chunks = [(c.choices[0].index, call) async for c in answer for call in c.choices[0].delta.tool_calls or []]
        ids = {index: call.id for index, call in chunks if call.id}
    else:
        ids = {c.index: c.message.tool_calls[0].id for c in answer.choices}
    assert set(ids) == {0, 1} and ids[0] != ids[1]


async def test_none_is_a_plain_chat(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas = script("one")
    assert await ask(client, False, tool_choice="none") == ("one", [], "stop")
    assert service.submissions[0].sampling.json_schema is None


@pytest.mark.parametrize("stream", [False, True])
async def test_auto_where_the_model_knows_tools(
    knowing: AsyncOpenAI, service: ScriptedService, script: Script, knowing_dir: Path, stream: bool
) -> None:
    service.deltas = script('ok <tool_call>\n{"name": "stay", "arguments": {}}\n</tool_call>')
    assert await ask(knowing, stream) == ("ok ", [("stay", "{}")], "tool_calls")
    prompt = TextModel.load(knowing_dir).spell(service.submissions[0].tokens)
    assert prompt.startswith("<tools>") and json.loads(prompt[7 : prompt.index("</tools>")]) == TOOLS
    assert service.submissions[0].sampling.json_schema is None
    service.deltas = script("just text")
    assert await ask(knowing, stream) == ("just text", [], "stop")


async def test_calls_and_results_in_the_conversation(
    knowing: AsyncOpenAI, service: ScriptedService, script: Script, knowing_dir: Path
) -> None:
    service.deltas = script("done")
    call = {"id": "c", "type": "function", "function": {"name": "stay", "arguments": '{"a": "é"}'}}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "stayed"},
    ]
    await knowing.chat.completions.create(model="tiny", messages=messages)  # type: ignore[arg-type]
    prompt = TextModel.load(knowing_dir).spell(service.submissions[0].tokens)
    assert '<tool_call>{"name": "stay", "arguments": {"a": "é"}}</tool_call>' in prompt
    assert "<|im_start|>tool\nstayed<|im_end|>" in prompt


JSON: Any = {"headers": {"Content-Type": "application/json"}}
BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("auto where the model knows none", {}, "tool_choice", "has no tools"),
    ("a call of no tool", {"tool_choice": {"type": "function", "function": {"name": "go"}}}, "tool_choice", "'go'"),
    ("no tools", {"tools": [], "tool_choice": "required"}, "tool_choice", "send the tools"),
    ("an unknown choice", {"tool_choice": "maybe"}, "tool_choice", '"required"'),
    ("a custom tool", {"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0]", "function"),
    ("tools an object", {"tools": {}}, "tools", "a list"),
    ("a name twice", {"tools": TOOLS + TOOLS}, "tools[2].function.name", "once per tool"),
    ("a bad name", {"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", "1 to 64"),
    (
        "no object",
        {"tools": [{"type": "function", "function": {"name": "a", "parameters": {"type": "array"}}}]},
        "tools[0].function.parameters",
        "type object",
    ),
    (
        "a schema that is none",
        {
            "tools": [{"type": "function", "function": {"name": "a", "parameters": {"properties": {"x": {"type": 3}}}}}],
            "tool_choice": "required",
        },
        "tools",
        "cannot be enforced",
    ),
    ("a stop string", {"tool_choice": "required", "stop": ["}"]}, "stop", "cannot be combined"),
    ("a form", {"tool_choice": "required", "response_format": {"type": "json_object"}}, "response_format", "combined"),
    ("logprobs", {"tool_choice": NAMED, "logprobs": True}, "logprobs", "cannot be combined"),
    (
        "a result",
        {"tools": None, "messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]},
        "messages[0].role",
        "no place for",
    ),
    (
        "a call",
        {
            "tools": None,
            "messages": [
                {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]}
            ],
        },
        "messages[0].tool_calls",
        "no place for",
    ),
    (
        "arguments that are no JSON",
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
        "messages[0].tool_calls[0].function.arguments",
        "a JSON object",
    ),
    (
        "half a surrogate in a schema",
        {"tools": [{"type": "function", "function": {"name": "a", "parameters": {"title": "\ud800"}}}]},
        "tools",
        "half a surrogate",
    ),
    (
        "half a surrogate in arguments",
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a":"\\ud800"}'}}]}]},
        "messages[0].tool_calls[0].function.arguments",
        "a JSON object",
    ),
    ("the old form", {"functions": [{"name": "f"}]}, "functions", "send tools"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param", "remedy"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
async def test_refused(
    client: AsyncOpenAI, service: ScriptedService, fields: dict[str, Any], param: str, remedy: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        # Encoded here, since the client refuses to send half a surrogate.
        body = json.dumps(ASK | fields).encode()
        await client.post("/chat/completions", content=body, cast_to=object, options=JSON)
    assert caught.value.param == param and remedy in caught.value.message
    assert not service.submissions
