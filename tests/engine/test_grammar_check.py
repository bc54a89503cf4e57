"""What cannot be enforced is refused with a reason, alike by the front door's check and by the engine, and in bounded time."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.grammar import MAX_GRAMMAR_BYTES, GrammarError
from orchestrator.core.sampling import Sampling
from orchestrator.frontend.text.grammar_check import GrammarCheck
from tests.engine.conftest import Case
from tests.engine.driver import request
from workers.engine.base import Invalid
from workers.engine.torch import TorchEngine
from workers.engine.torch.grammar import Grammars

DEMO = Path(__file__).resolve().parents[2] / "workers" / "demo" / "model"


def nested(depth: int) -> str:
    return '{"type":"object","properties":{"a":' * depth + "{}" + "}}" * depth


BAD_SCHEMAS = [
    ("{", "json_schema is not JSON"),
    ("[1]", "json_schema must be a JSON object"),
    ("true", "json_schema must be a JSON object"),
    ('{"type": "objekt"}', "json_schema cannot be enforced: Invalid type: objekt"),
    ('{"type": "array", "uniqueItems": true}', 'Unimplemented keys: ["uniqueItems"]'),
    ('{"not": {}}', 'Unimplemented keys: ["not"]'),
    ('{"type": "string", "format": "klingon"}', "Unknown format: klingon"),
    ('{"type": "string", "pattern": "(a"}', "unclosed group"),
    ('{"$ref": "#/$defs/gone"}', "Pointer '/$defs/gone' does not exist"),
    ('{"$ref": "http://169.254.169.254/schema"}', "does not fetch resources"),
    ('{"$ref": "#"}', "no output matches it"),
    ('{"enum": []}', "Unsatisfiable"),
    ('{"type": "object", "x-guidance": {"lenient": true}, "not": {}}', "must not have the key 'x-guidance'"),
    (nested(2000), "json_schema "),
    (nested(300), "json_schema recursion limit exceeded"),
    (json.dumps({"enum": ["x" * MAX_GRAMMAR_BYTES]}), f"json_schema is longer than {MAX_GRAMMAR_BYTES} bytes"),
    ('{"const": "' + "ä" * (MAX_GRAMMAR_BYTES // 2) + '"}', "json_schema is longer than"),
    (
        json.dumps({"type": "object", "properties": {f"p{i}": {} for i in range(1200)}}),
        "json_schema cannot be enforced",
    ),
]
BAD_EXPRESSIONS = [
    ("(a", "regex cannot be enforced: unclosed group"),
    ("(?=a)b", "regex cannot be enforced: look-around, including look-ahead and look-behind, is not supported"),
    (r"(a)\1", "regex cannot be enforced: backreferences are not supported"),
    (r"[^\x00-\x{10FFFF}]", "regex cannot be enforced: no output matches it"),
    ("(" * 5000 + "a" + ")*" * 5000, "regex cannot be enforced"),
    ("a" * (MAX_GRAMMAR_BYTES + 1), "regex is longer than"),
]
GOOD = [
    "{}",
    '{"type": "object"}',
    nested(40),
    '{"oneOf": [{"type": "string"}, {"type": "integer"}]}',
    '{"type": "integer", "multipleOf": 7919}',
    json.dumps({"enum": [f"word {i}" for i in range(3000)]}),
    json.dumps({"type": "array", "items": {"type": "integer"}, "minItems": 10**9}),
    '{"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": false}',
]


@pytest.fixture(scope="module")
def check() -> GrammarCheck:
    return GrammarCheck.load(DEMO, 1577, (2,))


@pytest.fixture(scope="module")
def subject() -> TorchEngine:
    return TorchEngine(DEMO, kv_blocks=64)


def refused(subject: TorchEngine, **grammar: Any) -> str:
    with pytest.raises(Invalid) as caught:
        subject.submit(request("a", [5, 6], Sampling(**grammar)))
    subject.check_integrity()
    assert not subject.has_work()
    return str(caught.value)


@pytest.mark.parametrize(("schema", "message"), BAD_SCHEMAS)
def test_schemas_that_cannot_be_enforced(check: GrammarCheck, subject: TorchEngine, schema: str, message: str) -> None:
    started = time.thread_time()
    problem = check.compile_check(schema)
    assert time.thread_time() - started < 2.0
    assert problem is not None and message in problem
    assert "\n" not in problem and len(problem) < 400
    assert refused(subject, json_schema=schema) == problem


@pytest.mark.parametrize(("regex", "message"), BAD_EXPRESSIONS)
def test_expressions_that_cannot_be_enforced(
    check: GrammarCheck, subject: TorchEngine, regex: str, message: str
) -> None:
    problem = check.compile_check_regex(regex)
    assert problem is not None and message in problem
    assert "\n" not in problem and len(problem) < 400
    assert refused(subject, regex=regex) == problem


@pytest.mark.parametrize("schema", GOOD)
def test_schemas_that_can(check: GrammarCheck, subject: TorchEngine, schema: str) -> None:
    assert check.compile_check(schema) is None
    assert subject.grammars.matcher(Sampling(json_schema=schema), ()) is not None


def test_at_most_one_grammar(subject: TorchEngine) -> None:
    assert refused(subject, json_schema="{}", regex="a").startswith("json_schema and regex cannot be combined")


def test_a_model_without_a_usable_tokenizer(llama: Case, engine_of: Any, tmp_path: Path) -> None:
    bare = engine_of(llama)
    assert refused(bare, regex="a") == "json_schema and regex need a model with a tokenizer.json"
    (tmp_path / "tokenizer.json").write_text('{"version": "9"}')
    with pytest.raises(GrammarError, match="do not work with this model's tokenizer"):
        Grammars(tmp_path, 320, (0,)).warm()
    with pytest.raises(GrammarError, match="need a model with a tokenizer"):
        GrammarCheck.load(tmp_path / "gone", 320, (0,))


def test_truncation_and_padding_of_the_file_do_not_matter(tmp_path: Path) -> None:
    tokenizer = json.loads((DEMO / "tokenizer.json").read_text())
    tokenizer["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    long = json.dumps({"const": "a long constant that is more than two tokens"})
    seen = []
    for directory in (DEMO, tmp_path):
        matcher = Grammars(directory, 1577, (2,)).matcher(Sampling(json_schema=long), ())
        assert matcher is not None
        seen.append(matcher._matcher.compute_ff_tokens())
    assert seen[0] == seen[1] and len(seen[0]) > 2
