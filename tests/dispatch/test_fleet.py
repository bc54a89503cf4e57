"""Requests through real worker processes: same tokens as one plain engine, whatever the transport and whoever dies."""

import asyncio
import random
from array import array

import pytest

from bench.equality import compare, plain, served
from bench.fleet import collect, fleet
from bench.prompts import mixed
from orchestrator.core.request import RequestState
from orchestrator.core.sampling import Sampling
from orchestrator.frontend.service import Cause, ServiceError, Submission
from orchestrator.frontend.text import TextModel
from tests.dispatch.links import submit
from workers.demo import MODEL_DIR

PROMPTS = mixed(TextModel.load(MODEL_DIR), 24, seed=11, longest_output=60)
COUNT = TextModel.load(MODEL_DIR).apply_chat_template([{"role": "user", "content": "count to 60"}])
LONG = Sampling(max_tokens=120, temperature=0, ignore_eos=True)
SPLIT = {"p0": "prefill", "d0": "decode"}


@pytest.fixture(scope="module")
def expected():
    return plain(PROMPTS)


@pytest.mark.parametrize(
    ("roles", "engine"),
    [
        ({"w0": "both"}, {"prefill_budget_tokens": 37}),
        (SPLIT, {"transport": "nixl"}),
        (SPLIT, {"transport": "gloo", "prefill_budget_tokens": 37, "prefix_cache": False}),
        (SPLIT, {"transport": "nixl", "kv_blocks": 96}),
    ],
    ids=["co-located, chunked", "nixl", "gloo, chunked, no reuse", "nixl, blocks run out"],
)
async def test_tokens_equal_a_plain_run(expected, roles, engine):
    outputs, gaps = expected
    differ, wrong, lines = compare("served", await served(PROMPTS, roles, engine), outputs, gaps)
    assert wrong == 0, lines
    assert differ <= 1, lines


async def test_seeded_sampling_continues_the_same_after_a_death():
    sampling = Sampling(max_tokens=150, temperature=1.0, seed=1234, ignore_eos=True)
    async with fleet({"p0": "prefill", "d0": "decode", "d1": "decode"}) as running:
        undisturbed, _ = await collect(running.dispatcher, "first", COUNT, sampling)
        stream = submit(running.dispatcher, Submission("second", array("I", COUNT), sampling))
        output = []
        killed = False
        async for delta in stream:
            assert delta.first_index == len(output)
            output += delta.tokens
            if len(output) > 40 and not killed:
                killed = True
                await asyncio.to_thread(running.kill, running.dispatcher.find("second").decode_worker)
        assert output == undisturbed
        assert running.dispatcher.find("second").attempt == 2


@pytest.mark.parametrize("victim", ["d0", "p0"])
async def test_a_killed_worker_loses_and_repeats_no_token(victim):
    rng = random.Random(victim)
    async with fleet({"p0": "prefill", "d0": "decode", "d1": "decode"}) as running:
        undisturbed, _ = await collect(running.dispatcher, "alone", COUNT, LONG)
        tasks = [asyncio.create_task(collect(running.dispatcher, f"r{i}", COUNT, LONG)) for i in range(8)]
        wanted = rng.randint(1, 80)
        await until(
            lambda: sum(r.output_tokens for r in running.dispatcher.requests() if r.request_id[0] == "r") >= wanted
        )
        await asyncio.to_thread(running.kill, victim)
        await asyncio.to_thread(running.start, victim, "prefill" if victim == "p0" else "decode")
        assert [tokens for tokens, _ in await asyncio.gather(*tasks)] == [undisturbed] * 8
        await running.ready()
        again, _ = await collect(running.dispatcher, "after", COUNT, LONG)
        assert again == undisturbed
        await idle(running)


async def test_clients_that_vanish_leave_nothing_behind():
    rng = random.Random(5)
    async with fleet({"p0": "prefill", "d0": "decode", "d1": "decode"}) as running:

        async def vanish(i):
            stream = submit(running.dispatcher, Submission(f"r{i}", array("I", COUNT), LONG))
            for _ in range(rng.randint(0, 30)):
                await anext(stream)
            await stream.aclose()

        await asyncio.gather(*(vanish(i) for i in range(50)))
        assert all(r.state is RequestState.CANCELLED for r in running.dispatcher.requests())
        await idle(running, within_s=1.0)


async def test_no_live_prefill_worker_decode_workers_co_locate():
    async with fleet({"p0": "prefill", "d0": "decode"}) as running:
        expected, _ = await collect(running.dispatcher, "before", COUNT, LONG)
        running.kill("p0")
        tokens, _ = await collect(running.dispatcher, "after", COUNT, LONG)
        assert tokens == expected
        record = running.dispatcher.find("after")
        assert record.co_located
        assert record.decode_worker == "d0"


async def test_refusals_name_the_remedy():
    async with fleet({"w0": "both"}, kv_blocks=64) as running:
        limit = running.dispatcher.model.max_model_len
        assert limit == 64 * 16
        with pytest.raises(ServiceError, match=f"1 to {limit - 1}") as too_long:
            submit(running.dispatcher, Submission("long", array("I", [20] * limit), LONG))
        assert too_long.value.cause is Cause.INVALID
        stream = submit(running.dispatcher, Submission("twice", array("I", COUNT), LONG))
        with pytest.raises(ServiceError) as twice:
            submit(running.dispatcher, Submission("twice", array("I", COUNT), LONG))
        assert twice.value.cause is Cause.DUPLICATE
        await stream.aclose()
        running.kill("w0")
        await until(lambda: not running.dispatcher.ready)
        with pytest.raises(ServiceError) as nobody:
            submit(running.dispatcher, Submission("nobody", array("I", COUNT), LONG))
        assert nobody.value.cause is Cause.NO_CAPACITY


async def until(condition, within_s=30.0):
    """Let the event loop run until `condition` holds."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0)


async def idle(running, within_s=5.0):
    """Every block and lease is free and every recount agrees, within `within_s`."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        statuses = await running.integrity()
        used = {name: (s.kv_used_blocks, s.leased_blocks, s.reserved_blocks) for name, s in statuses.items()}
        if all(value == (0, 0, 0) for value in used.values()):
            break
        assert asyncio.get_running_loop().time() < deadline, used
    running.dispatcher.check_integrity()
