"""response_format and structured_outputs: what reaches the workers, and what is refused before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError
from pydantic import BaseModel

from orchestrator.core.grammar import Grammar, GrammarCompiler, GrammarKind
from orchestrator.frontend.http.fields import Fields
from orchestrator.frontend.http.output_form import read_form
from orchestrator.frontend.text import TextModel
from tests.frontend.conftest import Script
from tests.frontend.scripted import ScriptedService

ASK: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize("stream", [False, True])
async def test_json_schema(client: AsyncOpenAI, service: ScriptedService, script: Script, stream: bool) -> None:
    service.deltas = script('{"a":1}')
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    answer = await client.chat.completions.create(**ASK, response_format=form, stream=stream)
    parts = [c.choices[0].delta async for c in answer] if stream else [answer.choices[0].message]
    assert json.loads("".join(part.content or "" for part in parts)) == {"a": 1}
    assert json.loads(service.submissions[0].sampling.json_schema or "") == SCHEMA


class Point(BaseModel):
    x: int


async def test_models_of_pydantic(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas = script('{"x":3}')
    chat = await client.chat.completions.parse(**ASK, response_format=Point)
    response = await client.responses.parse(model="tiny", input="hi", text_format=Point)
    assert chat.choices[0].message.parsed == response.output_parsed == Point(x=3)
    schemas = [json.loads(s.sampling.json_schema or "") for s in service.submissions]
    assert schemas[0]["required"] == ["x"] and schemas[0] == schemas[1]


async def test_json_object(client: AsyncOpenAI, service: ScriptedService, script: Script) -> None:
    service.deltas = script("{}")
    await client.chat.completions.create(**ASK, response_format={"type": "json_object"})
    await client.completions.create(model="tiny", prompt="a", extra_body={"response_format": {"type": "json_object"}})
    assert [s.sampling.json_schema for s in service.submissions] == ['{"type":"object"}'] * 2


@pytest.mark.parametrize(
    ("outputs", "json_schema", "regex"),
    [
        ({"json": SCHEMA}, json.dumps(SCHEMA, separators=(",", ":")), None),
        ({"json": '{"type": "integer"}'}, '{"type": "integer"}', None),
        ({"json_object": True}, '{"type":"object"}', None),
        ({"regex": "[0-9]+"}, None, "[0-9]+"),
    ],
)
async def test_structured_outputs(
    client: AsyncOpenAI,
    service: ScriptedService,
    script: Script,
    outputs: dict[str, Any],
    json_schema: str | None,
    regex: str | None,
) -> None:
    service.deltas = script("1")
    await client.completions.create(model="tiny", prompt="a", extra_body={"structured_outputs": outputs})
    await client.chat.completions.create(**ASK, extra_body={"structured_outputs": outputs})
    for submission in service.submissions:
        assert (submission.sampling.json_schema, submission.sampling.regex) == (json_schema, regex)


def test_choices_match_themselves_alone(model_dir: Path, text: TextModel) -> None:
    choices = ["a+b", "(x|y)", "é {1}", "\\d.", "[^$]"]
    form = read_form(Fields({"structured_outputs": {"choice": choices}}))
    assert form is not None and form.regex is not None
    compiler = GrammarCompiler(model_dir / "tokenizer.json", text.vocab_size, text.eos_token_ids)
    matcher = compiler.compile(Grammar(GrammarKind.REGEX, form.regex))
    for said, taken in [*((choice, True) for choice in choices), ("aab", False), ("x", False), ("5x", False)]:
        copy = matcher.deep_copy()
        tokens = text.encode(said)
        assert (copy.try_consume_tokens(tokens) == len(tokens) and copy.is_accepting()) is taken, said


FORMATS: list[tuple[str, dict[str, Any], str, str]] = [
    ("a string", {"response_format": "json"}, "response_format", "an object"),
    ("unknown type", {"response_format": {"type": "xml"}}, "response_format.type", "json_schema"),
    ("no schema", {"response_format": {"type": "json_schema"}}, "response_format.json_schema", "an object"),
    (
        "no name",
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
        "response_format.json_schema.name",
        "1 to 64",
    ),
    (
        "a schema that is none",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nope"}}}},
        "response_format.json_schema.schema",
        "Invalid type",
    ),
    ("nothing", {"structured_outputs": {}}, "structured_outputs", "exactly one"),
    ("two", {"structured_outputs": {"json": {}, "regex": "a"}}, "structured_outputs", "exactly one"),
    ("bad regex", {"structured_outputs": {"regex": "(a"}}, "structured_outputs.regex", "cannot be enforced"),
    ("regex a number", {"structured_outputs": {"regex": 3}}, "structured_outputs.regex", "send a string"),
    ("empty regex", {"structured_outputs": {"regex": ""}}, "structured_outputs.regex", "regular expression"),
    ("no choices", {"structured_outputs": {"choice": []}}, "structured_outputs.choice", "a list of strings"),
    ("a grammar", {"structured_outputs": {"grammar": "root ::= a"}}, "structured_outputs.grammar", "not supported"),
    ("a typo", {"structured_outputs": {"regexp": "a"}}, "structured_outputs.regexp", "did you mean 'regex'"),
    ("the old name", {"guided_json": {}}, "guided_json", '{"structured_outputs": {"json": …}}'),
    (
        "both",
        {"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}},
        "structured_outputs",
        "send one of them",
    ),
]


@pytest.mark.parametrize(("fields", "param", "remedy"), [f[1:] for f in FORMATS], ids=[f[0] for f in FORMATS])
async def test_refused_before_dispatch(
    client: AsyncOpenAI, service: ScriptedService, fields: dict[str, Any], param: str, remedy: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        await client.chat.completions.create(**ASK, extra_body=fields)
    assert caught.value.param == param and remedy in caught.value.message
    assert not service.submissions
