"""Parts of the campaigns that need no cluster."""

import asyncio
import math
import random
import signal
from collections import Counter

from bench.campaign.client import ask, body, encode
from bench.campaign.crowd import Silence
from bench.campaign.kills import Strike, attribute, plan
from bench.campaign.openloop import Slo, arrivals
from bench.campaign.soak import longest_gap_s
from bench.campaign.victims import KINDS, Victim


def test_every_kind_has_its_share_of_both_signals():
    order = plan(3, 30, 10)
    assert Counter(order) == {(kind, n): 6 if n == 9 else 2 for kind in KINDS for n in (9, 19)}
    assert order == plan(3, 30, 10) != plan(4, 30, 10)


def test_a_silence_belongs_to_the_last_strike_before_it():
    strikes = [Strike(Victim("controller", "main", 1, lambda: True), signal.SIGKILL, at) for at in (10.0, 20.0)]
    attribute(strikes, [Silence(5.0, 9.0), Silence(9.95, 12.0), Silence(19.8, 25.0), Silence(21.0, 22.0)])
    assert [round(one.silence_s, 2) for one in strikes] == [5.2, 1.0]


def test_gaps_count_from_the_start_and_to_the_end():
    assert longest_gap_s([], 10.0, 5.0) == 5.0
    assert longest_gap_s([11.0, 12.5, 30.0], 10.0, 5.0) == 2.5


async def test_arrivals_keep_their_times_however_late_they_are_taken():
    moments = []
    async for due_s in arrivals(random.Random(1), 1e5, 0.01):
        moments.append(due_s)
        await asyncio.sleep(0)
    assert 800 < len(moments) < 1200 and moments == sorted(moments) and moments[-1] - moments[0] < 0.01


async def served(answer):
    """What a client makes of these bytes."""

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        for piece in answer:
            writer.write(piece)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        return await ask(url, encode(url, body(random.Random(0), 4, 4)), asyncio.get_running_loop().time())


HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


async def test_a_client_counts_tokens_across_writes():
    pieces = [HEAD + b'data: {"id":1}\n\nda', b'ta: {"id":1', b"}\n\n", b'data: {"id":1}\n\ndata: [DONE]\n\n']
    outcome = await served(pieces)
    assert (outcome.status, outcome.tokens, outcome.whole) == (200, 3, True)
    assert Slo(5.0, 5.0).met(outcome) and not Slo(0.0, 5.0).met(outcome)


async def test_a_client_notes_refusals_and_broken_streams():
    head = b"HTTP/1.1 429 Too Many\r\nRetry-After: 2\r\nX-LLM-D-Request-Dropped-Reason: rejected-overloaded\r\n\r\n{}"
    refused = await served([head])
    assert (refused.status, refused.retry_after, refused.reason) == (429, "2", "rejected-overloaded")
    assert refused.refused_s >= 0 and math.isnan(refused.ttft_s)
    broken = await served([HEAD + b'data: {"id":1}\n\n'])
    assert broken.tokens == 1 and not broken.whole
    failed = await served([HEAD + b'data: {"id":1}\n\ndata: {"error":{}}\n\n'])
    assert "error" in failed.error and not failed.whole
    assert (await served([])).status == 0
