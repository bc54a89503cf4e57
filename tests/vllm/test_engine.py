"""A request on one server: streamed, accounted, refused, cancelled, overdue."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from orchestrator.core.hashing import block_hashes
from orchestrator.core.sampling import Finish, Sampling
from tests.vllm.driver import GREEDY, LEASE_S, Driven, request, tokens_of
from tests.vllm.server_double import GRAMMAR, Behave, answer, logprob_of
from workers.engine.base import Invalid, Key, KvBlocks, Phase, TokenLogprobs
from workers.engine.vllm.bodies import leg_seed
from workers.engine.vllm.engine import SAMPLE_S
from workers.engine.vllm.ledger import Stage

PROMPT = [3, 1, 4, 1, 5, 9]
REGEX = replace(GREEDY, regex="[a-z]+")


async def test_stream_is_emitted_token_by_token(driven: Driven) -> None:
    emissions = await driven.run(request("a", PROMPT))
    assert tokens_of(emissions) == answer(PROMPT, 8)
    assert [e.finish for e in emissions] == [None] * 7 + [Finish.LENGTH]
    assert [e.prefilled for e in emissions] == [True] + [False] * 7
    stats = driven.engine.stats
    assert (stats.running, stats.waiting, stats.kv_used_blocks) == (0, 0, 0)
    assert (stats.generated_tokens, stats.prompt_tokens) == (8, len(PROMPT))
    assert driven.engine.cache_events() == (block_hashes(PROMPT, 4).tolist(), [])
    assert driven.double.names == ["a-0-prefill"]


async def test_every_sampling_parameter_is_in_the_body(driven: Driven) -> None:
    sampling = Sampling(5, 0.7, 40, 0.9, seed=2**63 + 5, stop_token_ids=(2, 7), ignore_eos=True, logprobs=2)
    await driven.run(request("a", PROMPT, sampling))
    body = driven.double.bodies[0]
    assert body.pop("seed") == 5
    assert body == {
        "model": "m",
        "prompt": PROMPT,
        "max_tokens": 5,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        "add_special_tokens": False,
        "stop_token_ids": [2, 7],
        "ignore_eos": True,
        "logprobs": 2,
        "stream": True,
    }


async def test_several_tokens_in_one_event(driven: Driven) -> None:
    driven.double.script.append(Behave(at_once=3))
    emissions = await driven.run(request("a", PROMPT, replace(GREEDY, logprobs=2)))
    assert [len(e.tokens) for e in emissions] == [3, 3, 2]
    tokens = tokens_of(emissions)
    assert tokens == answer(PROMPT, 8)
    expected = [TokenLogprobs(logprob_of(t), (t, t + 1), (logprob_of(t), logprob_of(t) - 1)) for t in tokens]
    assert [p for e in emissions for p in e.logprobs] == expected


async def test_stream_that_comes_byte_by_byte(driven: Driven) -> None:
    driven.double.script.append(Behave(bytewise=True))
    assert tokens_of(await driven.run(request("a", PROMPT))) == answer(PROMPT, 8)


async def test_stop_token_ends_a_request(driven: Driven) -> None:
    driven.double.script.append(Behave(finish=(3, "stop")))
    emissions = await driven.run(request("a", PROMPT))
    assert tokens_of(emissions) == answer(PROMPT, 3)
    assert emissions[-1].finish is Finish.STOP


async def test_next_attempt_goes_on_behind_the_tokens_that_are_out(driven: Driven) -> None:
    out = answer(PROMPT, 3)
    sampling = replace(GREEDY, temperature=1.0, seed=11)
    emissions = await driven.run(request("a", PROMPT + out, sampling, first_index=3, attempt=1))
    assert emissions[0].first_index == 3
    assert tokens_of(emissions) == answer(PROMPT, 8)[3:]
    body = driven.double.bodies[0]
    assert (body["max_tokens"], body["seed"]) == (5, leg_seed(11, 3))
    assert driven.double.names == ["a-1-prefill"]


async def test_constrained_request_starts_over_and_repeats_nothing(driven: Driven) -> None:
    out = [GRAMMAR, GRAMMAR + 1, GRAMMAR + 2]
    emissions = await driven.run(request("a", PROMPT + out, replace(REGEX, logprobs=0), first_index=3))
    assert emissions[0].first_index == 3
    assert tokens_of(emissions) == [GRAMMAR + i for i in range(3, 8)]
    assert [p.logprob for e in emissions for p in e.logprobs] == [logprob_of(GRAMMAR + i) for i in range(3, 8)]
    body = driven.double.bodies[0]
    assert (body["prompt"], body["max_tokens"]) == (PROMPT, 8)
    assert body["structured_outputs"] == {"regex": "[a-z]+"}


@pytest.mark.parametrize("at_once", [2, 5])
async def test_repeated_tokens_end_within_an_event(driven: Driven, at_once: int) -> None:
    driven.double.script.append(Behave(at_once=at_once))
    out = [GRAMMAR, GRAMMAR + 1, GRAMMAR + 2]
    emissions = await driven.run(request("a", PROMPT + out, REGEX, first_index=3))
    assert emissions[0].first_index == 3
    assert tokens_of(emissions) == [GRAMMAR + i for i in range(3, 8)]


async def test_constrained_request_that_comes_out_otherwise_is_given_back(driven: Driven) -> None:
    out = [GRAMMAR, GRAMMAR + 1, GRAMMAR + 9]
    emissions = await driven.run(request("a", PROMPT + out, REGEX, first_index=3))
    assert not any(e.tokens for e in emissions)
    assert emissions[-1].refusal is not None
    assert emissions[-1].refusal[0] == "engine"
    assert "other tokens" in emissions[-1].refusal[1]
    assert len(emissions) == 1


async def test_constrained_request_that_ends_before_what_is_out_is_given_back(driven: Driven) -> None:
    driven.double.script.append(Behave(finish=(2, "stop")))
    out = [GRAMMAR, GRAMMAR + 1, GRAMMAR + 2]
    emissions = await driven.run(request("a", PROMPT + out, REGEX, first_index=3))
    assert [e.finish for e in emissions] == [None]
    assert emissions[0].refusal is not None


async def test_log_probabilities_of_the_prompt_take_two_calls(driven: Driven) -> None:
    sampling = replace(GREEDY, prompt_logprobs=1, logprobs=1)
    emissions = await driven.run(request("a", PROMPT, sampling))
    assert tokens_of(emissions) == answer(PROMPT, 8)
    first = emissions[0]
    assert (first.prefilled, [e.prefilled for e in emissions[1:]]) == (True, [False] * 7)
    assert list(first.prompt_logprobs) == [TokenLogprobs(-2.0, (t + 1,), (-1.0,)) for t in PROMPT[1:]]
    assert not any(e.prompt_logprobs for e in emissions[1:])
    one, two = driven.double.bodies
    assert (one["max_tokens"], one["prompt_logprobs"], "stream" in one) == (1, 1, False)
    assert "kv_transfer_params" not in one
    assert (two["prompt"], two["max_tokens"], "prompt_logprobs" in two) == (PROMPT + answer(PROMPT, 1), 7, False)
    assert driven.engine.stats.prompt_tokens == len(PROMPT)


@pytest.mark.parametrize(("most", "finish"), [(1, None), (8, (1, "stop"))])
async def test_log_probabilities_of_a_request_of_one_token(
    driven: Driven, most: int, finish: tuple[int, str] | None
) -> None:
    driven.double.script.append(Behave(finish=finish))
    (only,) = await driven.run(request("a", PROMPT, replace(GREEDY, max_tokens=most, prompt_logprobs=0)))
    assert only.tokens == answer(PROMPT, 1)
    assert only.finish is (Finish.STOP if finish else Finish.LENGTH)
    assert [p.logprob for p in only.prompt_logprobs] == [-2.0] * (len(PROMPT) - 1)
    assert len(driven.double.bodies) == 1


async def test_later_attempt_asks_for_no_log_probabilities_of_the_prompt(driven: Driven) -> None:
    sampling = replace(GREEDY, prompt_logprobs=1)
    emissions = await driven.run(request("a", PROMPT + answer(PROMPT, 1), sampling, first_index=1))
    assert tokens_of(emissions) == answer(PROMPT, 8)[1:]
    assert "prompt_logprobs" not in driven.double.bodies[0]


@pytest.mark.parametrize("sampling", [GREEDY, replace(GREEDY, prompt_logprobs=1)], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("status", "code"),
    [
        *[(400, "invalid"), (413, "invalid"), (422, "invalid"), (429, "full"), (503, "full")],
        *[(404, "engine"), (500, "engine")],
    ],
)
async def test_refusal_by_status(driven: Driven, sampling: Sampling, status: int, code: str) -> None:
    driven.double.script.append(Behave(status=status))
    (only,) = await driven.run(request("a", PROMPT, sampling))
    assert only.refusal == (code, f"vLLM answered {status}: no such thing")
    assert driven.engine.stats.kv_used_blocks == 0
    assert tokens_of(await driven.run(request("b", PROMPT))) == answer(PROMPT, 8)


async def test_refusal_that_is_no_json(driven: Driven) -> None:
    driven.double.script.append(Behave(status=502, body=b"<html>bad \xff gateway" + b"x" * 600))
    (only,) = await driven.run(request("a", PROMPT))
    assert only.refusal is not None
    assert only.refusal[1].startswith("vLLM answered 502: <html>bad � gateway")
    assert len(only.refusal[1]) < 600


ERROR = b'data: {"error": {"message": "EngineCore died", "type": "InternalServerError", "code": 500}}\n\n'


@pytest.mark.parametrize(
    ("how", "text"),
    [
        (Behave(hang_up_after=2), "the server hung up"),
        (Behave(end_after=2), "the stream ended before the request did"),
        (Behave(say_after=(2, ERROR)), "EngineCore died"),
        (Behave(say_after=(2, b"event: error\n" + ERROR)), "EngineCore died"),
        (Behave(say_after=(2, b"data: {nonsense\n\n")), "no JSON"),
        (Behave(say_after=(2, b"data: [1]\n\n")), "no JSON object"),
        (Behave(say_after=(2, b'data: {"choices": [{"index": 0, "text": "a"}]}\n\n')), "return_token_ids"),
        (Behave(say_after=(2, b'data: {"choices": ["a"]}\n\n')), ""),
        (Behave(say_after=(2, b'data: {"choices": [{"token_ids": [1], "finish_reason": "abort"}]}\n\n')), "abort"),
        (Behave(say_after=(2, b'data: {"choices": [{"token_ids": 7}]}\n\n')), ""),
    ],
)
async def test_stream_that_goes_wrong_after_two_tokens(driven: Driven, how: Behave, text: str) -> None:
    driven.double.script.append(how)
    emissions = await driven.run(request("a", PROMPT))
    assert tokens_of(emissions[:-1]) == answer(PROMPT, 2)
    refusal = emissions[-1].refusal
    assert refusal is not None
    assert refusal[0] == "engine"
    assert text in refusal[1]
    assert driven.engine.stats.running == 0


async def test_keep_alive_comments_and_usage_events_say_nothing(driven: Driven) -> None:
    extra = b': ping\n\ndata: {"choices": [], "usage": {"prompt_tokens": 6}}\n\n'
    last = b'data: {"choices": [{"token_ids": [9], "finish_reason": "stop"}]}\n\n'
    driven.double.script.append(Behave(say_after=(2, extra + last)))
    emissions = await driven.run(request("a", PROMPT))
    assert tokens_of(emissions) == [*answer(PROMPT, 2), 9]
    assert emissions[-1].finish is Finish.STOP


async def test_server_that_is_gone(driven: Driven) -> None:
    dead = Driven(driven.double)
    dead.client._address = replace(dead.client._address, port=1)
    (only,) = await dead.run(request("a", PROMPT))
    assert only.refusal is not None
    assert only.refusal[0] == "engine"
    assert "cannot reach http://127.0.0.1:1" in only.refusal[1]
    dead.close()


async def test_cancel_before_any_answer_hangs_up(driven: Driven) -> None:
    one = request("a", PROMPT)
    driven.double.script.append(Behave(silent=True))
    driven.engine.submit(one)
    await driven.double.until(lambda: len(driven.double.bodies) == 1)
    driven.engine.cancel(one.key)
    await driven.double.until(lambda: driven.double.aborted == ["a-0-prefill"])
    assert driven.engine.stats.waiting == 0
    assert not driven.engine.has_work()


async def test_cancel_before_the_connection_is_made(driven: Driven) -> None:
    one = request("a", PROMPT)
    driven.engine.submit(one)
    driven.engine.cancel(one.key)
    assert tokens_of(await driven.run(request("b", PROMPT))) == answer(PROMPT, 8)
    assert [name for name in driven.double.names if name not in driven.double.aborted] == ["b-0-prefill"]
    assert not driven.of(one)


async def test_cancel_of_a_running_stream_hangs_up(driven: Driven) -> None:
    one = request("a", PROMPT)
    driven.double.script.append(Behave(stop_after=3))
    driven.engine.submit(one)
    await driven.until(lambda: len(driven.of(one)) == 3)
    assert driven.engine.stats.running == 1
    driven.engine.cancel(one.key)
    driven.engine.cancel(one.key)
    await driven.double.until(lambda: driven.double.aborted == ["a-0-prefill"])
    assert driven.engine.stats.running == 0


async def test_cancel_of_a_request_that_waits_for_its_prompt(driven: Driven) -> None:
    one = request("a", PROMPT, replace(GREEDY, prompt_logprobs=1))
    driven.double.script.append(Behave(silent=True))
    driven.engine.submit(one)
    await driven.double.until(lambda: len(driven.double.bodies) == 1)
    driven.engine.cancel(one.key)
    await driven.double.until(lambda: driven.double.aborted == ["a-0-prefill"])


async def test_prompt_that_is_too_long_is_refused_before_the_server_hears_of_it(driven: Driven) -> None:
    with pytest.raises(Invalid, match="512 tokens; the server takes 511"):
        driven.engine.submit(request("a", [1] * 512))
    driven.engine.pull(request("b", [1] * 512), KvBlocks((), (), 511, b"{}"))
    await driven.ended(request("b", []))
    assert driven.emissions[0].refusal == ("invalid", "512 tokens; the server takes 511")
    assert driven.double.bodies == []


async def test_context_is_counted_while_it_grows(driven: Driven) -> None:
    one = request("a", [1] * 7)
    driven.double.script.append(Behave(stop_after=3))
    stats = driven.engine.stats
    driven.engine.submit(one)
    assert (stats.waiting, stats.waiting_prefill_tokens, stats.kv_used_blocks) == (1, 7, 2)
    await driven.until(lambda: len(driven.of(one)) == 3)
    assert (stats.waiting, stats.running, stats.decode_context_tokens, stats.kv_used_blocks) == (0, 1, 10, 3)
    driven.engine.check_integrity()
    driven.engine.cancel(one.key)


async def test_silent_server_counts_as_stalled_even_if_nothing_runs(driven: Driven) -> None:
    engine = driven.engine
    now_s = time.monotonic()
    assert engine.stalled_s(now_s + 1000) == 0.0, "nobody samples it"
    engine.answered()
    assert engine.stalled_s(now_s + SAMPLE_S) < 1.0
    assert engine.stalled_s(now_s + SAMPLE_S + 70) == pytest.approx(70, abs=1)
    engine.answered()
    assert engine.stalled_s(time.monotonic() + SAMPLE_S) < 1.0


async def test_stalled_while_a_request_runs_and_nothing_moves(driven: Driven) -> None:
    now_s = time.monotonic()
    assert driven.engine.stalled_s(now_s) == 0.0
    assert driven.engine.stalled_s(now_s + 50) == 0.0, "idle"
    driven.double.script.append(Behave(stop_after=1))
    one = request("a", PROMPT)
    driven.engine.submit(one)
    assert driven.engine.stalled_s(now_s + 57) == pytest.approx(7)
    await driven.until(lambda: len(driven.of(one)) == 1)
    assert driven.engine.stalled_s(time.monotonic()) < 5, "a token is a move"
    driven.engine.cancel(one.key)
    assert driven.engine.stalled_s(now_s + 99) == 0.0


async def test_reservation_runs_out(driven: Driven) -> None:
    key = Key("front/a", 0)
    assert driven.engine.reserve(key, 9).tokens == 9
    stats, now_s = driven.engine.stats, time.monotonic()
    assert (stats.reserved_blocks, stats.kv_used_blocks) == (3, 3)
    assert driven.engine.expire(now_s) == []
    assert driven.engine.expire(now_s + LEASE_S + 1) == [key]
    assert (stats.reserved_blocks, stats.kv_used_blocks, stats.lease_expiries) == (0, 0, 0)


async def test_answers_behind_the_end_of_a_request_are_ignored(driven: Driven) -> None:
    late = b'data: {"choices": [{"token_ids": [9], "finish_reason": null}]}\n\n'
    done = b'data: {"choices": [{"token_ids": [8], "finish_reason": "length"}]}\n\n'
    driven.double.script.append(Behave(say_after=(1, done + late)))
    emissions = await driven.run(request("a", PROMPT))
    assert tokens_of(emissions) == [*answer(PROMPT, 1), 8]
    driven.double.script.append(Behave())
    await driven.run(request("b", PROMPT, phase=Phase.BOTH))
    assert len(driven.of(request("a", PROMPT))) == 2


async def test_stages_as_a_request_goes(driven: Driven) -> None:
    one = request("a", PROMPT)
    driven.double.script.append(Behave(stop_after=1))
    driven.engine.submit(one)
    assert driven.engine.ledger.stage(one.key) is Stage.PREFILL
    await driven.until(lambda: len(driven.of(one)) == 1)
    assert driven.engine.ledger.stage(one.key) is Stage.DECODE
    driven.engine.release(one.key)
    assert driven.engine.ledger.stage(one.key) is Stage.DECODE, "only leases are released"
    driven.engine.cancel(one.key)
    assert driven.engine.ledger.stage(one.key) is None


async def test_stream_that_is_given_up_is_hung_up(driven: Driven) -> None:
    driven.double.script.append(Behave(stop_after=2))
    await driven.run(request("a", [*PROMPT, GRAMMAR + 9], REGEX, first_index=1))
    await driven.double.until(lambda: driven.double.aborted == ["a-0-prefill"])
