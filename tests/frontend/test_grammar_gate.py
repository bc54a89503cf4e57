"""Grammars are checked off the event loop, with bounds."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from orchestrator.core.grammar import GrammarError
from orchestrator.frontend.service import Cause, ServiceError
from orchestrator.frontend.text import InvalidRequest, TextModel
from orchestrator.frontend.text.grammar_check import GrammarCheck
from orchestrator.frontend.text.grammar_gate import MAX_WAITING, GrammarGate


async def test_nothing_to_check_loads_nothing() -> None:
    def load() -> GrammarCheck:
        raise AssertionError("not needed")

    await GrammarGate(load).check(None, None, "x")


async def test_loads_once(model_dir: Path, text: TextModel) -> None:
    loads = []

    def load() -> GrammarCheck:
        loads.append(threading.current_thread())
        return GrammarCheck.load(model_dir, text.vocab_size, text.eos_token_ids)

    gate = GrammarGate(load)
    await asyncio.gather(*(gate.check('{"type":"object"}', None, "x") for _ in range(8)))
    assert len(loads) == 1 and loads[0] is not threading.main_thread()


@pytest.mark.parametrize("schema", ['{"$ref":"https://example.com/schema.json"}', '{"$ref":"file:///etc/passwd"}'])
async def test_nothing_is_fetched(grammars: GrammarGate, schema: str) -> None:
    with pytest.raises(InvalidRequest, match="'x': json_schema cannot be enforced"):
        await grammars.check(schema, None, "x")


async def test_a_model_that_cannot(tmp_path: Path) -> None:
    def load() -> GrammarCheck:
        raise GrammarError("json_schema and regex need a model with a tokenizer.json")

    gate = GrammarGate(load)
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="need a model with a tokenizer") as caught:
            await gate.check(None, "a", "regex")
        assert (caught.value.param, caught.value.code) == ("regex", "invalid_grammar")


async def test_those_that_wait_are_bounded(model_dir: Path, text: TextModel) -> None:
    go_on = threading.Event()

    def load() -> GrammarCheck:
        assert go_on.wait(10)
        return GrammarCheck.load(model_dir, text.vocab_size, text.eos_token_ids)

    gate = GrammarGate(load)
    waiting = [asyncio.create_task(gate.check(None, "a", "x")) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(ServiceError) as caught:
        await gate.check(None, "b", "x")
    assert caught.value.cause is Cause.QUEUE_FULL and caught.value.retry_after_s == 1.0
    waiting[-1].cancel()
    go_on.set()
    await asyncio.gather(*waiting[:-1])
    await gate.check(None, "b", "x")
