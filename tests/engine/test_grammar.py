"""Constrained decoding: whatever the model says fits its grammar, and how the engine got there changes nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from orchestrator.core.sampling import Finish, Sampling
from tests.engine.driver import Outputs, drain, request
from tests.engine.schemas import random_schema
from tests.engine.test_handoff import copy, prefill
from workers.engine.base import Invalid, Key
from workers.engine.torch import TorchEngine
from workers.engine.torch.grammar import CACHED_GRAMMARS, Matcher, masks_of, spread

DEMO = Path(__file__).resolve().parents[2] / "workers" / "demo" / "model"
TOKENIZER = Tokenizer.from_file(str(DEMO / "tokenizer.json"))
END = 2
PERSON = json.dumps(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 8, "maxLength": 40},
            "numbers": {"type": "array", "items": {"type": "integer", "maximum": 999}, "minItems": 6, "maxItems": 9},
            "friend": {"anyOf": [{"type": "null"}, {"$ref": "#"}]},
        },
        "required": ["name", "numbers", "friend"],
        "additionalProperties": False,
    }
)


def engine(**options: Any) -> TorchEngine:
    return TorchEngine(DEMO, **{"kv_blocks": 160, **options})


def prompt(text: str) -> list[int]:
    ids: list[int] = TOKENIZER.encode(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n").ids
    return ids


def sampled(count: int = 120, seed: int = 1, temperature: float = 1.0, **grammar: Any) -> Sampling:
    return Sampling(max_tokens=count, temperature=temperature, seed=seed, **grammar)


def text_of(tokens: list[int]) -> str:
    return str(TOKENIZER.decode(tokens))


def alone(sampling: Sampling, words: str = "count to 40") -> tuple[list[int], Finish]:
    """Tokens and end of a request that nothing disturbs."""
    undisturbed = engine()
    undisturbed.submit(request("a", prompt(words), sampling))
    outputs = drain(undisturbed)
    return outputs.tokens["a"], outputs.finish["a"]


def test_every_finished_output_validates() -> None:
    """50 schemas that the model was never trained on, one seed at temperature 1 and one where it babbles."""
    random = np.random.default_rng(11)
    schemas = [random_schema(random) for _ in range(50)]
    subject = engine(kv_blocks=1024)
    for i, schema in enumerate(schemas):
        for seed, temperature in ((0, 1.0), (1, 5.0)):
            sampling = sampled(100, seed, temperature, json_schema=json.dumps(schema))
            subject.submit(request(f"{i}/{seed}", prompt(f"count to {i}"), sampling))
    outputs = Outputs()
    while subject.has_work():
        outputs.add(subject.step())
    subject.check_integrity()
    for name, finish in outputs.finish.items():
        tokens = outputs.tokens[name]
        if finish is Finish.STOP:
            validator = jsonschema.Draft202012Validator(
                schemas[int(name.partition("/")[0])], format_checker=jsonschema.FormatChecker()
            )
            validator.validate(json.loads(text_of(tokens)))
        else:
            assert (finish, len(tokens)) == (Finish.LENGTH, 100)
    ends = Counter(outputs.finish.values())
    assert ends.total() == 100 and ends[Finish.STOP] > 70, ends


def test_a_handoff_changes_nothing() -> None:
    source, target = engine(), engine(prefill_budget_tokens=20)
    outputs = Outputs()
    for seed in range(2):
        name, words, sampling = str(seed), prompt(f"count to {40 + seed}"), sampled(60, seed, json_schema=PERSON)
        blocks = target.reserve(Key(name, 0), len(words))
        emission = prefill(source, name, words, sampling)
        outputs.add([emission])
        assert emission.lease is not None
        copy(source, emission.lease, target, blocks)
        source.release(emission.key)
        target.attach(request(name, [*words, *emission.tokens], sampling, first_index=1), len(words))
    drain(target, outputs)
    for seed in range(2):
        expected = alone(sampled(60, seed, json_schema=PERSON), f"count to {40 + seed}")
        assert (outputs.tokens[str(seed)], outputs.finish[str(seed)]) == expected


@pytest.mark.parametrize("grammar", [{"json_schema": PERSON}, {"regex": "([a-z]{3,9} [0-9]{1,3}; ?){9,12}"}])
def test_killed_and_continued_equals_undisturbed(grammar: dict[str, str]) -> None:
    sampling = sampled(temperature=2.0, **grammar)
    whole, finish = alone(sampling)
    assert len(whole) > 20
    elsewhere = engine(prefill_budget_tokens=33)
    words = prompt("count to 40")
    for emitted in range(1, len(whole), 9):
        given = words + whole[:emitted]
        elsewhere.submit(request(str(emitted), given, sampling, first_index=emitted, attempt=2))
    rest: dict[str, list[int]] = {}
    ends = set()
    while elsewhere.has_work():
        for emission in elsewhere.step():
            rest.setdefault(emission.key.request_id, []).extend(emission.tokens)
            ends |= {emission.finish} - {None}
    assert {int(name): whole[: int(name)] + tokens for name, tokens in rest.items()} == dict.fromkeys(
        range(1, len(whole), 9), whole
    )
    assert ends == {finish}


def test_preempted_requests_keep_their_place_in_the_grammar() -> None:
    tight = engine(kv_blocks=11, prefix_cache=False)
    for seed in range(3):
        tight.submit(request(str(seed), prompt("count to 40"), sampled(60, seed, json_schema=PERSON)))
    outputs = drain(tight)
    assert tight.stats.preemptions > 0
    for seed in range(3):
        expected = alone(sampled(60, seed, json_schema=PERSON))
        assert (outputs.tokens[str(seed)], outputs.finish[str(seed)]) == expected


def test_plain_neighbours_are_not_touched() -> None:
    plain = Sampling(max_tokens=30, temperature=1.0, seed=5, logprobs=2)
    expected, _ = alone(plain)
    subject = engine()
    subject.submit(request("held", prompt("count to 40"), sampled(json_schema=PERSON)))
    subject.submit(request("plain", prompt("count to 40"), plain))
    outputs = drain(subject)
    assert outputs.tokens["plain"] == expected
    json.loads(text_of(outputs.tokens["held"]))


def test_masks_follow_from_the_tokens_alone() -> None:
    """A matcher that is rebuilt in one go allows what the one that went token by token allows."""
    subject = engine()
    sampling = sampled(seed=3, temperature=3.0, json_schema=PERSON)
    whole, _ = alone(sampling)
    stepwise = subject.grammars.matcher(sampling, ())
    assert stepwise is not None
    for count in range(len(whole)):
        rebuilt = subject.grammars.matcher(sampling, whole[:count])
        masks = masks_of([stepwise, None, rebuilt], subject.vocab_size, torch.device("cpu"))
        assert masks is not None and masks.rows.tolist() == [0, 2]
        assert masks.barred[0].tolist() == masks.barred[1].tolist()
        assert not masks.barred[0, whole[count]] and masks.barred[0].any()
        assert stepwise.accept([whole[count]])
    assert masks_of([None, None], subject.vocab_size, torch.device("cpu")) is None


def test_bits_are_spread_on_a_device_as_on_the_host() -> None:
    packed = np.random.default_rng(0).integers(0, 256, (3, 40)).astype(np.uint8)
    assert spread(torch.from_numpy(packed)).tolist() == np.unpackbits(packed, axis=1, bitorder="little").tolist()


def test_greedy_takes_the_best_allowed_token_and_logprobs_are_the_models() -> None:
    subject = engine()
    words = prompt("count to 5")
    sampling = Sampling(max_tokens=4, temperature=0.0, logprobs=3, regex="(yes|no)")
    subject.submit(request("held", words, sampling))
    subject.submit(request("plain", words, Sampling(max_tokens=1, temperature=0.0, logprobs=3)))
    outputs = drain(subject)
    assert text_of(outputs.tokens["held"]) in ("yes", "no")
    held, plain = outputs.logprobs["held"][0], outputs.logprobs["plain"][0]
    assert held.top_ids == plain.top_ids and held.top_logprobs == pytest.approx(plain.top_logprobs)
    assert held.logprob < held.top_logprobs[0]


def test_ends() -> None:
    """Complete: no end token follows. Open: only an end token ends it. Cut: the length does."""
    tokens, finish = alone(sampled(regex="[0-9]{3}-[0-9]{3}"))
    assert finish is Finish.STOP and END not in tokens and re.fullmatch("[0-9]{3}-[0-9]{3}", text_of(tokens))
    tokens, finish = alone(sampled(regex="(1|2|3|4|5|6|7|8|9|10)( [0-9]+)*"), "count to 10")
    assert finish is Finish.STOP and tokens[-1] == END and re.fullmatch("[0-9]+( [0-9]+)*", text_of(tokens[:-1]))
    tokens, finish = alone(sampled(5, regex="[a-z]{100}"))
    assert (finish, len(tokens)) == (Finish.LENGTH, 5)


def test_ignored_end_tokens_leave_the_grammar_in_charge() -> None:
    ignoring = Sampling(max_tokens=40, temperature=1.0, seed=4, ignore_eos=True, regex="[0-9]( [0-9]+)*")
    tokens, finish = alone(ignoring, "count to 3")
    assert (finish, len(tokens)) == (Finish.LENGTH, 40) and END not in tokens
    closed = Sampling(max_tokens=40, temperature=1.0, seed=4, ignore_eos=True, json_schema='{"const": [1, "x"]}')
    tokens, finish = alone(closed)
    assert (text_of(tokens), finish) == ('[1,"x"]', Finish.STOP)


def test_the_first_token_may_complete_the_output() -> None:
    emission = prefill(engine(), "a", prompt("count to 5"), sampled(regex="7"))
    assert emission.finish is Finish.STOP and emission.lease is None
    assert text_of(emission.tokens) == "7"


def test_a_grammar_that_outgrows_its_limits_ends_with_an_error() -> None:
    subject = engine()
    endless = "(([a-z ]{1,100}){1,100}){1,1000}x"
    subject.submit(request("bad", prompt("count to 5"), sampled(regex=endless)))
    subject.submit(request("good", prompt("count to 5"), sampled(regex="[0-9]{30}")))
    errors = {}
    while subject.has_work():
        for emission in subject.step():
            if emission.error:
                errors[emission.key.request_id] = emission
        subject.check_integrity()
    assert errors.keys() == {"bad"}
    assert errors["bad"].finish is Finish.ERROR and errors["bad"].tokens == []
    assert errors["bad"].error.startswith("the output cannot be kept to its grammar: lexer error")
    assert subject.stats.kv_used_blocks == 0


def test_compiled_grammars_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = engine()
    compiler = subject.grammars._compiler()
    compiled: list[str] = []
    original = compiler.compile

    def counting(grammar: Any) -> Any:
        compiled.append(grammar.text)
        return original(grammar)

    monkeypatch.setattr(compiler, "compile", counting)
    for text in ("a", "b", "a", *map(str, range(CACHED_GRAMMARS - 1)), "a", "b"):
        assert isinstance(subject.grammars.matcher(sampled(regex=text), ()), Matcher)
    assert compiled == ["a", "b", *map(str, range(CACHED_GRAMMARS - 1)), "b"]


def test_an_attached_request_that_left_its_grammar_is_refused_and_keeps_its_reservation() -> None:
    subject = engine()
    words = prompt("count to 5")
    subject.reserve(Key("a", 0), len(words))
    with pytest.raises(Invalid, match="1 tokens already emitted do not follow the regex"):
        subject.attach(request("a", [*words, END], sampled(regex="[0-9]+"), first_index=1), len(words))
    assert subject.reserved(Key("a", 0)).tokens == len(words)
    subject.submit(request("b", words, sampled(regex="[0-9]{3}")))
    drain(subject)
    subject.check_integrity()
