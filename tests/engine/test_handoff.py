"""Prefill here, decode there: leases, reservations, pins, and blocks copied by hand in place of a transport."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.core.sampling import Finish, Sampling
from tests.engine.conftest import OUTPUT_TOKENS, Case
from tests.engine.driver import Outputs, drain, greedy, request
from workers.engine.base import Emission, Full, Invalid, Key, KvBlocks, Phase
from workers.engine.torch import TorchEngine

GREEDY = greedy(OUTPUT_TOKENS)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def prefill(engine: TorchEngine, name: str, prompt: list[int], sampling: Sampling = GREEDY) -> Emission:
    engine.submit(request(name, prompt, sampling, phase=Phase.PREFILL))
    emissions: list[Emission] = []
    while not emissions:
        emissions = engine.step()
        engine.check_integrity()
    (emission,) = emissions
    return emission


def copy(source: TorchEngine, lease: KvBlocks, target: TorchEngine, blocks: KvBlocks) -> None:
    """What a transport does, with its check of generations."""
    target.pool.data[list(blocks.blocks)] = source.pool.data[list(lease.blocks)]
    assert source.pool.generations[list(lease.blocks)].tolist() == list(lease.generations)


@pytest.mark.parametrize("budget", [13, 512])
def test_decode_continues_what_prefill_began(llama: Case, engine_of: Any, budget: int) -> None:
    source = engine_of(llama, prefill_budget_tokens=budget)
    target = engine_of(llama)
    outputs = Outputs()
    for i, prompt in enumerate(llama.prompts):
        blocks = target.reserve(Key(str(i), 0), len(prompt))
        first = blocks.blocks[0]
        assert blocks.blocks == tuple(range(first, first + len(blocks.blocks))), "one run"
        emission = prefill(source, str(i), prompt)
        outputs.add([emission])
        assert emission.finish is None and emission.lease is not None
        assert emission.lease.tokens == len(prompt)
        assert source.stats.leased_blocks == source.stats.kv_used_blocks == len(emission.lease.blocks)
        copy(source, emission.lease, target, blocks)
        source.release(emission.key)
        target.attach(request(str(i), [*prompt, *emission.tokens], GREEDY, first_index=1), len(prompt))
        target.check_integrity()
        outputs.add(target.step())
    drain(target, outputs)
    assert [outputs.tokens[str(i)] for i in range(8)] == llama.answers
    assert source.stats.kv_used_blocks == target.stats.kv_used_blocks == 0
    assert target.stats.reserved_blocks == 0


@pytest.mark.parametrize("pulled", [0, 20, 48])
def test_missing_context_is_computed_on_arrival(llama: Case, engine_of: Any, pulled: int) -> None:
    source, target = engine_of(llama), engine_of(llama)
    prompt, answer = llama.prompts[2], llama.answers[2]
    lease = prefill(source, "a", prompt).lease
    assert lease is not None
    copy(source, lease, target, target.reserve(Key("a", 0), len(prompt)))
    target.attach(request("a", prompt + answer[:3], GREEDY, first_index=3), pulled)
    assert target.stats.waiting_prefill_tokens == len(prompt) + 3 - pulled
    tokens = []
    while target.has_work():
        tokens += [t for emission in target.step() for t in emission.tokens]
    assert tokens == answer[3:]


def test_attached_requests_are_preempted_and_recomputed(llama: Case, engine_of: Any) -> None:
    source, target = engine_of(llama), engine_of(llama, kv_blocks=14, prefix_cache=False)
    outputs = Outputs()
    for i in range(4):  # 3 + 3 + 4 + 4 blocks: the pool is full before anything grows
        emission = prefill(source, str(i), llama.prompts[i])
        outputs.add([emission])
        assert emission.lease is not None
        blocks = target.reserve(emission.key, emission.lease.tokens)
        copy(source, emission.lease, target, blocks)
    for i in range(4):
        tokens = [*llama.prompts[i], *outputs.tokens[str(i)]]
        target.attach(request(str(i), tokens, GREEDY, first_index=1), len(llama.prompts[i]))
    drain(target, outputs)
    assert [outputs.tokens[str(i)] for i in range(4)] == llama.answers[:4]
    assert target.stats.preemptions > 0


def test_pulled_prompts_serve_later_requests(llama: Case, engine_of: Any) -> None:
    source, target = engine_of(llama), engine_of(llama)
    prompt = llama.prompts[6]
    emission = prefill(source, "a", prompt)
    assert emission.lease is not None
    copy(source, emission.lease, target, target.reserve(emission.key, len(prompt)))
    target.attach(request("a", [*prompt, *emission.tokens], GREEDY, first_index=1), len(prompt))
    target.submit(request("b", prompt, GREEDY))
    outputs = Outputs()
    outputs.tokens["a"] = list(emission.tokens)
    drain(target, outputs)
    assert outputs.tokens == {"a": llama.answers[6], "b": llama.answers[6]}
    assert outputs.cached["b"] == 112


def test_first_token_may_end_the_request(llama: Case, engine_of: Any) -> None:
    engine = engine_of(llama)
    emission = prefill(engine, "a", llama.prompts[0], greedy(1))
    assert emission.finish is Finish.LENGTH and emission.lease is None
    stop = Sampling(max_tokens=9, temperature=0.0, stop_token_ids=(llama.answers[0][0],))
    emission = prefill(engine, "b", llama.prompts[0], stop)
    assert emission.finish is Finish.STOP and emission.lease is None
    assert engine.stats.kv_used_blocks == 0


def test_leases_and_reservations_expire(llama: Case, engine_of: Any) -> None:
    clock = Clock()
    engine = engine_of(llama, clock=clock, lease_s=5.0)
    emission = prefill(engine, "a", llama.prompts[0])
    clock.now_s = 102.0
    engine.reserve(Key("b", 0), 40)
    assert (engine.stats.leased_blocks, engine.stats.reserved_blocks) == (3, 3)
    assert engine.expire(104.9) == []
    assert engine.expire(105.0) == [emission.key]
    engine.check_integrity()
    assert engine.stats.lease_expiries == 1
    assert engine.expire(107.0) == [Key("b", 0)]
    engine.check_integrity()
    assert engine.stats.kv_used_blocks == 0
    with pytest.raises(KeyError):
        engine.attach(request("b", [1, 2], GREEDY, first_index=1), 1)


def test_pinned_blocks_outlive_their_key(llama: Case, engine_of: Any) -> None:
    engine = engine_of(llama, lease_s=5.0, clock=Clock())
    key = Key("a", 0)
    blocks = engine.reserve(key, 100)
    assert engine.reserved(key) == blocks
    engine.pin(key)
    assert engine.expire(1e9) == []
    engine.cancel(key)
    engine.check_integrity()
    assert engine.stats.reserved_blocks == engine.stats.kv_used_blocks == 7
    with pytest.raises(KeyError):
        engine.reserved(key)
    with pytest.raises(Invalid, match="already known"):
        engine.reserve(key, 1)
    engine.unpin(key)
    engine.check_integrity()
    assert engine.stats.reserved_blocks == engine.stats.kv_used_blocks == 0
    with pytest.raises(KeyError):
        engine.pin(key)


@pytest.mark.parametrize("pinned", [False, True])
def test_pinned_requests_are_not_preempted(llama: Case, engine_of: Any, pinned: bool) -> None:
    """When both grow there is one block left: the younger gives its own up, or waits while a transfer uses them."""
    engine = engine_of(llama, kv_blocks=8, prefix_cache=False)
    engine.reserve(Key("r", 0), 16)
    for name in ("older", "younger"):
        engine.submit(request(name, llama.prompts[0], GREEDY))
    outputs = Outputs()
    outputs.add(engine.step())
    assert engine.stats.kv_used_blocks == 7
    if pinned:
        engine.pin(Key("younger", 0))
    drain(engine, outputs)
    assert outputs.tokens == {"older": llama.answers[0], "younger": llama.answers[0]}
    assert engine.stats.preemptions == (not pinned)
    engine.unpin(Key("younger", 0))
    engine.check_integrity()
    assert engine.stats.kv_used_blocks == 1


def test_waiting_requests_are_not_overtaken_by_reservations(llama: Case, engine_of: Any) -> None:
    engine = engine_of(llama, kv_blocks=16, max_batch=1)
    engine.submit(request("running", llama.prompts[0], GREEDY))
    engine.step()
    engine.submit(request("waiting", llama.prompts[6], GREEDY))
    with pytest.raises(Full):
        engine.reserve(Key("r", 0), 100)
    engine.cancel(Key("waiting", 0))
    engine.reserve(Key("r", 0), 100)


def test_reserve_says_full_or_invalid(llama: Case, engine_of: Any) -> None:
    engine = engine_of(llama, kv_blocks=10)
    with pytest.raises(Invalid, match="1 to 159"):
        engine.reserve(Key("a", 0), 160)
    engine.reserve(Key("a", 0), 100)
    with pytest.raises(Full, match="4 blocks wanted, 3 free"):
        engine.reserve(Key("b", 0), 50)
    engine.reserve(Key("b", 0), 48)
    engine.check_integrity()


def test_leases_make_requests_wait_without_spinning(llama: Case, engine_of: Any) -> None:
    engine = engine_of(llama, kv_blocks=13, prefix_cache=False)
    emission = prefill(engine, "a", llama.prompts[7][:190])
    engine.submit(request("b", llama.prompts[0], GREEDY))
    assert not engine.has_work()
    assert engine.step() == []
    engine.release(emission.key)
    assert engine.has_work()
    assert drain(engine).tokens["b"] == llama.answers[0]


def test_generations_tell_reuse(llama: Case, engine_of: Any) -> None:
    """A released block may be read until something else is written to it."""
    engine = engine_of(llama, kv_blocks=13)
    lease = prefill(engine, "a", llama.prompts[0]).lease
    assert lease is not None
    engine.release(Key("a", 0))
    full, partial = list(lease.blocks[:2]), lease.blocks[2]
    assert engine.pool.generations[full].tolist() == list(lease.generations[:2]), "cached, so still readable"
    assert engine.pool.generations[partial] == lease.generations[2] + 1
    engine.reserve(Key("b", 0), 207)
    assert engine.pool.generations[full].tolist() == [g + 1 for g in lease.generations[:2]]


def test_cancel_in_every_state(llama: Case, engine_of: Any) -> None:
    engine = engine_of(llama, prefill_budget_tokens=20, max_batch=1)
    leased = prefill(engine, "leased", llama.prompts[0]).key
    engine.reserve(Key("reserved", 0), 30)
    engine.reserve(Key("attached", 0), 36)
    engine.submit(request("prefilling", llama.prompts[7], GREEDY))
    engine.submit(request("waiting", llama.prompts[6], GREEDY))
    engine.step()
    engine.attach(request("attached", [*llama.prompts[0], llama.answers[0][0]], GREEDY, first_index=1), 36)
    assert (engine.stats.running, engine.stats.waiting) == (1, 2)
    for key in (leased, *(Key(name, 0) for name in ("waiting", "attached", "prefilling", "reserved", "unknown"))):
        engine.cancel(key)
        engine.check_integrity()
    assert engine.stats.kv_used_blocks == engine.stats.waiting_prefill_tokens == 0
    assert not engine.has_work()


def test_prefill_of_a_later_attempt_ends_with_its_first_token(llama: Case, engine_of: Any) -> None:
    """And only there: an attached request has been prefilled elsewhere."""
    engine, target = engine_of(llama), engine_of(llama)
    prompt, answer = llama.prompts[0], llama.answers[0]
    engine.submit(request("later", prompt + answer[:3], GREEDY, first_index=3))
    marks = [emission.prefilled for _ in range(3) for emission in engine.step()]
    assert marks == [True, False, False]
    lease = prefill(engine_of(llama), "a", prompt).lease
    assert lease is not None
    target.reserve(Key("a", 0), len(prompt))
    target.attach(request("a", [*prompt, answer[0]], GREEDY, first_index=1), len(prompt))
    (first,) = target.step()
    assert not first.prefilled
