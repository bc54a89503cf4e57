"""A request on two servers: a prefill leg that leaves its blocks under a lease, a decode leg that pulls them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import orjson
import pytest

from orchestrator.core.sampling import Finish, Sampling
from tests.vllm.driver import GREEDY, LEASE_S, Driven, request, tokens_of
from tests.vllm.server_double import GRAMMAR, Behave, answer
from workers.engine.base import Emission, EngineRequest, KvBlocks, Phase
from workers.engine.vllm.bodies import leg_seed
from workers.engine.vllm.engine import LEASE_SHARE
from workers.engine.vllm.ledger import Stage

PROMPT = [3, 1, 4, 1, 5, 9]
ALIGNED = [3, 1, 4, 1, 5, 9, 2, 6]
SAMPLED = replace(GREEDY, temperature=0.8, seed=99)
SCHEMA = replace(GREEDY, json_schema='{"type": "object"}')


def continued(one: EngineRequest, first: Emission) -> EngineRequest:
    """What the front door attaches on the decode side."""
    tokens = [*one.tokens, *first.tokens]
    return replace(one, tokens=tokens, first_index=first.first_index + len(first.tokens), phase=Phase.BOTH)


async def prefill(driven: Driven, one: EngineRequest) -> Emission:
    (first,) = await driven.run(replace(one, phase=Phase.PREFILL))
    return first


async def hand_over(pair: tuple[Driven, Driven], one: EngineRequest) -> tuple[Emission, list[Emission]]:
    """Both legs of a request, as a front door runs them: (of the prefill leg, of the decode leg)."""
    decode = pair[1]
    decode.engine.reserve(one.key, len(one.tokens))
    first = await prefill(pair[0], one)
    assert first.lease is not None
    second = continued(one, first)
    decode.engine.pull(second, first.lease)
    emissions = await decode.ended(second)
    pair[0].engine.release(one.key)
    return first, emissions


@pytest.mark.parametrize("tokens", [PROMPT, ALIGNED, [7], [1, 2, 3, 4], [1, 2, 3]])
@pytest.mark.parametrize("most", [3, 8])
async def test_two_legs_say_what_one_would(pair: tuple[Driven, Driven], tokens: list[int], most: int) -> None:
    one = request("a", tokens, replace(SAMPLED, max_tokens=most))
    first, emissions = await hand_over(pair, one)
    produced = 1 if len(tokens) % 4 else 2
    assert (len(first.tokens), first.first_index, first.prefilled) == (produced, 0, True)
    assert tokens_of([first, *emissions]) == answer(tokens, most)
    assert emissions[-1].finish is Finish.LENGTH
    assert [e.pulled is not None for e in emissions] == [True] + [False] * (most - produced - 1)
    assert not any(e.prefilled for e in emissions), "the prompt was computed elsewhere"
    leg, other = pair[0].double.bodies[0], pair[1].double.bodies[0]
    assert (leg["max_tokens"], other["max_tokens"]) == (produced, most - produced)
    assert (leg["seed"], other["seed"]) == (99, leg_seed(99, produced))
    assert other["prompt"] == tokens + first.tokens
    assert (pair[0].double.names, pair[1].double.names) == (["a-0-prefill"], ["a-0-pull"])
    for driven in pair:
        stats = driven.engine.stats
        assert (stats.kv_used_blocks, stats.leased_blocks, stats.reserved_blocks) == (0, 0, 0)
        driven.engine.check_integrity()
    assert pair[1].engine.pulls == (0, 1, 0)
    assert pair[1].engine.stats.prompt_tokens == 0


async def test_parameters_are_relayed_untouched(pair: tuple[Driven, Driven]) -> None:
    one = request("a", PROMPT)
    given: list[dict[str, Any]] = []
    pair[0].double.script.append(Behave(change=lambda document: given.append(document["kv_transfer_params"])))
    first, _ = await hand_over(pair, one)
    assert first.lease is not None
    assert orjson.loads(first.lease.handoff) == given[0]
    assert pair[1].double.bodies[0]["kv_transfer_params"] == given[0]
    assert given[0]["a field of a later version"] == [1, {"deep": None}]
    assert pair[0].double.bodies[0]["kv_transfer_params"] == {
        "do_remote_decode": True,
        "do_remote_prefill": False,
        "remote_engine_id": None,
        "remote_block_ids": None,
        "remote_host": None,
        "remote_port": None,
    }
    assert "stream" not in pair[0].double.bodies[0]


@pytest.mark.parametrize(("tokens", "computed"), [(PROMPT, 6), (ALIGNED, 9)])
async def test_lease_covers_what_was_computed(pair: tuple[Driven, Driven], tokens: list[int], computed: int) -> None:
    one = request("a", tokens)
    first = await prefill(pair[0], one)
    assert first.lease is not None
    assert (first.lease.blocks, first.lease.generations, first.lease.tokens) == ((), (), computed)
    engine = pair[0].engine
    blocks = -(-computed // 4)
    assert (engine.stats.leased_blocks, engine.stats.kv_used_blocks) == (blocks, blocks)
    engine.check_integrity()
    now_s = time.monotonic()
    assert engine.expire(now_s + LEASE_SHARE * LEASE_S - 1) == []
    assert engine.expire(now_s + LEASE_SHARE * LEASE_S) == [one.key], "before vLLM frees the blocks"
    assert (engine.stats.lease_expiries, engine.stats.kv_used_blocks) == (1, 0)


async def test_what_the_prefill_leg_did_not_compute_is_left_to_the_decode_leg(pair: tuple[Driven, Driven]) -> None:
    one = request("a", PROMPT)

    def truncate(document: dict[str, Any]) -> None:
        """As for a model with recurrent state, whose prefill server stops one token before the prompt's end."""
        document["kv_transfer_params"]["remote_num_tokens"] = len(PROMPT) - 1

    pair[0].double.script.append(Behave(change=truncate))
    first, emissions = await hand_over(pair, one)
    assert (first.tokens, first.first_index, first.prefilled) == ([], 0, True)
    assert pair[1].double.bodies[0]["prompt"] == PROMPT
    assert tokens_of(emissions) == answer(PROMPT, 8)


async def test_attempt_in_the_middle_of_a_request(pair: tuple[Driven, Driven]) -> None:
    """PROMPT and two tokens fill two blocks, so this leg produces two."""
    out = answer(PROMPT, 2)
    one = request("a", PROMPT + out, SAMPLED, first_index=2, attempt=3)
    first, emissions = await hand_over(pair, one)
    assert (first.first_index, len(first.tokens)) == (2, 2)
    assert tokens_of([first, *emissions]) == answer(PROMPT, 8)[2:]
    leg, other = pair[0].double.bodies[0], pair[1].double.bodies[0]
    assert (leg["max_tokens"], other["max_tokens"]) == (2, 4)
    assert (leg["seed"], other["seed"]) == (leg_seed(99, 2), leg_seed(99, 4))
    assert pair[0].double.names == ["a-3-prefill"]


@pytest.mark.parametrize(("tokens", "most"), [(PROMPT, 1), (ALIGNED, 1), (ALIGNED, 2)])
async def test_nothing_is_handed_over_where_the_prefill_leg_says_it_all(
    driven: Driven, tokens: list[int], most: int
) -> None:
    emissions = await driven.run(request("a", tokens, replace(GREEDY, max_tokens=most), phase=Phase.PREFILL))
    assert tokens_of(emissions) == answer(tokens, most)
    assert emissions[-1].finish is Finish.LENGTH
    assert emissions[0].prefilled
    assert all(e.lease is None for e in emissions)
    assert driven.double.held == {}


@pytest.mark.parametrize(("tokens", "after"), [(PROMPT, 1), (ALIGNED, 1), (ALIGNED, 2)])
async def test_prefill_leg_that_stops_leaves_no_lease(driven: Driven, tokens: list[int], after: int) -> None:
    driven.double.script.append(Behave(finish=(after, "stop")))
    (only,) = await driven.run(request("a", tokens, phase=Phase.PREFILL))
    assert (only.tokens, only.finish, only.lease) == (answer(tokens, after), Finish.STOP, None)
    assert driven.engine.stats.leased_blocks == 0


@pytest.mark.parametrize("tokens", [PROMPT, ALIGNED])
@pytest.mark.parametrize("out", [0, 2])
async def test_constrained_request_is_handed_over_with_its_prompt_alone(
    pair: tuple[Driven, Driven], tokens: list[int], out: int
) -> None:
    expected = [GRAMMAR + i for i in range(8)]
    one = request("a", tokens + expected[:out], SCHEMA, first_index=out)
    first, emissions = await hand_over(pair, one)
    assert (first.tokens, first.first_index, first.prefilled) == ([], out, True)
    assert first.lease is not None
    assert first.lease.tokens == len(tokens)
    assert tokens_of(emissions) == expected[out:]
    leg, other = pair[0].double.bodies[0], pair[1].double.bodies[0]
    assert (leg["prompt"], leg["max_tokens"]) == (tokens, 1)
    assert (other["prompt"], other["max_tokens"]) == (tokens, 8)
    assert emissions[0].pulled is not None
    assert other["structured_outputs"] == {"json": {"type": "object"}}


async def test_pull_is_told_even_if_its_first_tokens_are_out_already(pair: tuple[Driven, Driven]) -> None:
    one = request("a", [*PROMPT, GRAMMAR, GRAMMAR + 1], SCHEMA, first_index=2)
    pair[1].double.script.append(Behave(at_once=1))
    _, emissions = await hand_over(pair, one)
    assert (emissions[0].tokens, emissions[0].pulled is not None) == ([], True)


async def test_prompt_log_probabilities_come_with_the_prefill_leg(pair: tuple[Driven, Driven]) -> None:
    sampling = replace(GREEDY, prompt_logprobs=1, logprobs=0)
    first, emissions = await hand_over(pair, request("a", PROMPT, sampling))
    assert [p.logprob for p in first.prompt_logprobs] == [-2.0] * 5
    assert len(first.logprobs) == 1
    assert tokens_of([first, *emissions]) == answer(PROMPT, 8)
    assert "prompt_logprobs" not in pair[1].double.bodies[0]


async def test_cached_tokens_are_counted(driven: Driven) -> None:
    for name, cached in (("a", 0), ("b", 8)):
        (first,) = await driven.run(request(name, [*ALIGNED, 7], phase=Phase.PREFILL))
        assert first.cached_tokens == cached
    assert (driven.engine.stats.prompt_tokens, driven.engine.stats.cached_prompt_tokens) == (18, 8)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda document: document.pop("kv_transfer_params"), "kv_transfer_params"),
        (lambda document: document.update(kv_transfer_params=None), "kv_transfer_params"),
        (lambda document: document["kv_transfer_params"].pop("remote_port"), "lacks remote_port"),
        (lambda document: document["kv_transfer_params"].update(remote_block_ids=[]), "lacks remote_block_ids"),
        (lambda document: document["choices"][0].pop("token_ids") and document["choices"][0].pop("finish_reason"), ""),
        (lambda document: document.update(choices=["a"]), ""),
        (lambda document: document.update(usage=[1]), ""),
        (lambda document: document["choices"][0].update(finish_reason="error"), "vLLM ended the request: error"),
    ],
)
async def test_answer_of_a_prefill_leg_that_cannot_be_used(driven: Driven, change: Any, text: str) -> None:
    driven.double.script.append(Behave(change=change))
    (only,) = await driven.run(request("a", PROMPT, phase=Phase.PREFILL))
    assert only.refusal is not None
    assert only.refusal[0] == "engine"
    assert text in only.refusal[1]
    assert (only.tokens, driven.engine.stats.kv_used_blocks) == ([], 0)


@pytest.mark.parametrize(
    ("handoff", "text"), [(b"", "kv_transfer_params are no JSON"), (b"{", "kv_transfer_params are no JSON")]
)
async def test_handoff_that_is_no_json_is_refused_at_once(driven: Driven, handoff: bytes, text: str) -> None:
    one = request("a", PROMPT, first_index=1)
    driven.engine.reserve(one.key, 6)
    driven.engine.pull(one, KvBlocks((), (), 5, handoff))
    (only,) = await driven.ended(one)
    assert only.refusal is not None
    assert only.refusal[0] == "invalid"
    assert text in only.refusal[1]
    assert driven.double.bodies == []
    assert driven.engine.stats.reserved_blocks == 0


async def test_blocks_that_are_gone_are_a_failed_transfer(pair: tuple[Driven, Driven]) -> None:
    one = request("a", PROMPT)
    first = await prefill(pair[0], one)
    assert first.lease is not None
    pair[0].double.held.clear()
    second = continued(one, first)
    pair[1].engine.pull(second, first.lease)
    (only,) = await pair[1].ended(second)
    assert only.refusal == ("transfer", "vLLM answered 500: KV load failed: the blocks are gone")
    assert pair[1].engine.pulls == (0, 0, 1)


async def leased(pair: tuple[Driven, Driven]) -> tuple[EngineRequest, KvBlocks]:
    """A decode leg that may begin."""
    one = request("a", PROMPT)
    first = await prefill(pair[0], one)
    assert first.lease is not None
    return continued(one, first), first.lease


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (Behave(end_after=0), "transfer"),
        (Behave(say_after=(0, b'data: {"error": {"message": "KV load failed"}}\n\n')), "transfer"),
        (Behave(status=400), "invalid"),
        (Behave(status=503), "full"),
        (Behave(end_after=2), "engine"),
        (Behave(say_after=(1, b'data: {"error": {"message": "dead"}}\n\n')), "engine"),
        (Behave(hang_up_after=0), "engine"),
    ],
)
async def test_decode_leg_that_fails_before_and_after_its_first_token(
    pair: tuple[Driven, Driven], how: Behave, code: str
) -> None:
    second, lease = await leased(pair)
    pair[1].double.script.append(how)
    pair[1].engine.pull(second, lease)
    emissions = await pair[1].ended(second)
    assert emissions[-1].refusal is not None
    assert emissions[-1].refusal[0] == code
    assert pair[1].engine.pulls[2] == (code == "transfer")


async def test_pull_that_is_overdue_is_given_up(pair: tuple[Driven, Driven]) -> None:
    second, lease = await leased(pair)
    engine, double = pair[1].engine, pair[1].double
    double.script.append(Behave(silent=True))
    engine.pull(second, lease)
    assert (engine.ledger.stage(second.key), engine.stats.waiting) == (Stage.PULL, 1)
    assert engine.stats.waiting_prefill_tokens == 0
    await double.until(lambda: len(double.bodies) == 1)
    now_s = time.monotonic()
    assert engine.stalled_s(now_s + 500) == 0.0, "one that waits for KV says nothing about this server"
    assert engine.expire(now_s + LEASE_S - 1) == []
    assert not pair[1].of(second)
    assert engine.expire(now_s + LEASE_S + 1) == [], "refused by an emission"
    (only,) = await pair[1].ended(second)
    assert only.refusal == ("transfer", "the KV has not come within 30 s")
    await double.until(lambda: double.aborted == ["a-0-pull"])
    assert engine.pulls == (0, 0, 1)


async def test_stream_whose_kv_has_come_is_not_overdue(pair: tuple[Driven, Driven]) -> None:
    second, lease = await leased(pair)
    pair[1].double.script.append(Behave(stop_after=1))
    pair[1].engine.pull(second, lease)
    await pair[1].until(lambda: len(pair[1].of(second)) == 1)
    assert pair[1].engine.expire(time.monotonic() + 1000) == []
    assert pair[1].engine.stalled_s(time.monotonic() + 50) > 40
    pair[1].engine.cancel(second.key)


async def test_cancel_of_each_leg(pair: tuple[Driven, Driven]) -> None:
    prefilling, decoding = pair
    one = request("p", PROMPT, phase=Phase.PREFILL)
    prefilling.double.script.append(Behave(silent=True))
    prefilling.engine.submit(one)
    await prefilling.double.until(lambda: len(prefilling.double.bodies) == 1)
    prefilling.engine.cancel(one.key)
    await prefilling.double.until(lambda: prefilling.double.aborted == ["p-0-prefill"])

    second, lease = await leased(pair)
    prefilling.engine.cancel(second.key)
    assert prefilling.engine.stats.leased_blocks == 0, "a lease can be cancelled"
    decoding.engine.reserve(second.key, 7)
    decoding.engine.cancel(second.key)
    assert decoding.engine.stats.reserved_blocks == 0, "and so can a reservation"
    for how in (Behave(silent=True), Behave(stop_after=2)):
        del decoding.double.bodies[:], decoding.double.aborted[:], decoding.emissions[:]
        prefilling.double.held["a-0-prefill"] = 2
        decoding.double.script.append(how)
        decoding.engine.pull(second, lease)
        await decoding.double.until(lambda: len(decoding.double.bodies) == 1)
        if how.stop_after:
            await decoding.until(lambda: len(decoding.of(second)) == 2)
        decoding.engine.cancel(second.key)
        await decoding.double.until(lambda: decoding.double.aborted == ["a-0-pull"])
        assert decoding.engine.stats.kv_used_blocks == 0
        assert not decoding.engine.has_work()


def test_sampling_of_two_legs_draws_different_numbers() -> None:
    seeds = [leg_seed(seed, index) for seed in (0, 1, 2**63 - 1, 2**64 - 1) for index in range(50)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len(set(seeds)) == 150, "2**63 - 1 and 2**64 - 1 are one seed to vLLM"
    assert leg_seed(Sampling().seed, 0) == 0


async def test_constrained_request_whose_first_token_ends_it_is_handed_over_all_the_same(driven: Driven) -> None:
    """The decode leg says that token, and that it is the last."""
    driven.double.script.append(Behave(finish=(1, "stop")))
    (only,) = await driven.run(request("a", PROMPT, SCHEMA, phase=Phase.PREFILL))
    assert (only.tokens, only.finish) == ([], None)
    assert only.lease is not None
