"""Real vLLM servers behind Tandem: the tokens of a plain server, KV that really was pulled, two engines by model name, failures."""

from __future__ import annotations

import json
import math
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.live_vllm.conftest import LEASE_S, Pair, started
from tests.live_vllm.prompts import greedy, metric, prompts

PULLED = 'vllm:prompt_tokens_by_source_total{source="external_kv_transfer"}'
ATTACHED = """
apiVersion: pd/v1
kind: Cluster
metadata: {{name: attached}}
spec:
  model: {{path: demo, name: demo-vllm}}
  engine: {{kind: vllm}}
  transport: {{leaseS: {lease_s}}}
  pools:
  - {{name: prefill, role: prefill, count: 1, servers: "{source}", resources: {{cpus: 0.1}}}}
  - {{name: decode, role: decode, count: 1, servers: "{target}", resources: {{cpus: 0.1}}}}
  tiers: [{{name: default, ttftMs: 60000, tpotMs: 60000}}]
  frontDoor: {{httpPort: 0, grpcPort: 0, refuseLate: false}}
"""
TIE = 0.02
"""Two log-probabilities that are closer than this are a tie: engines add in another order."""


def ask_all(pair: Pair, url: str, model: str, asked: list[list[int]], **more: object) -> list[dict]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda prompt: greedy(url, model, prompt, **more), asked))


def gap(top: dict[str, float]) -> float:
    """Between the likeliest two tokens."""
    best = sorted(top.values())
    return best[-1] - best[-2] if len(best) > 1 else math.inf


def differences(ours: list[dict], theirs: list[dict]) -> list[str]:
    """Answers that differ at a token where the likeliest two are no tie."""
    found = []
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        at = next((k for k, pair in enumerate(zip(a["tokens"], b["tokens"], strict=True)) if pair[0] != pair[1]), None)
        if at is not None and gap(a["top"][at]) > TIE:
            found.append(
                f"prompt {i}, token {at}: {a['tokens'][at]!r} {a['top'][at]} and {b['tokens'][at]!r} {b['top'][at]}"
            )
    return found


def test_tokens_are_those_of_a_plain_server_and_of_the_torch_engine(pair: Pair) -> None:
    asked = prompts(100)
    source, target = pair.server_url("prefill-0"), pair.server_url("decode-0")
    before = metric(target, PULLED), metric(target, "vllm:nixl_bytes_transferred_sum")
    through = ask_all(pair, pair.url, "demo-vllm", asked)
    assert metric(target, PULLED) - before[0] >= 0.9 * sum(map(len, asked))
    assert metric(target, "vllm:nixl_bytes_transferred_sum") > before[1]
    assert metric(target, "vllm:nixl_num_failed_transfers_total") == 0
    plain = ask_all(pair, source, "demo-vllm", asked)
    assert not differences(through, plain)
    assert not differences(through, ask_all(pair, pair.url, "demo-torch", asked))


def test_tokens_without_text_are_the_same_tokens(pair: Pair) -> None:
    """A plain request is streamed by another endpoint of the server than one that wants log-probabilities."""
    asked = prompts(40, seed=4)
    whole = ask_all(pair, pair.url, "demo-vllm", asked)
    plain = ask_all(pair, pair.url, "demo-vllm", asked, logprobs=None)
    clear = [i for i, answer in enumerate(whole) if all(gap(top) > TIE for top in answer["top"])]
    assert len(clear) >= 20
    assert [plain[i]["text"] for i in clear] == [whole[i]["text"] for i in clear]


def test_models_are_chosen_by_name(pair: Pair) -> None:
    listed = [model["id"] for model in requests.get(f"{pair.url}/v1/models", timeout=10).json()["data"]]
    assert listed == ["demo-vllm", "demo-torch"]
    body = {"model": "demo", "messages": [{"role": "user", "content": "count to 5"}]}
    refused = requests.post(f"{pair.url}/v1/chat/completions", json=body, timeout=10)
    assert refused.status_code == 404 and refused.json()["error"]["code"] == "model_not_found"
    for model, workers in (("demo-vllm", {"prefill-0", "decode-0"}), ("demo-torch", {"torch-0"})):
        answer = requests.post(f"{pair.url}/v1/chat/completions", json={**body, "model": model}, timeout=60).json()
        assert answer["choices"][0]["message"]["content"] == "1 2 3 4 5" and answer["model"] == model
        told = json.loads(pair.pdctl("explain", "request", answer["id"], "-o", "json"))
        assert {told["request"]["prefill_worker"], told["request"]["decode_worker"]} == workers


def test_forms_and_logprobs_of_the_prompt(pair: Pair) -> None:
    body = {"model": "demo-vllm", "messages": [{"role": "user", "content": "count to 5"}], "temperature": 0}
    schema = {
        "type": "object",
        "properties": {"n": {"enum": [7, 8]}},
        "required": ["n"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    answer = requests.post(
        f"{pair.url}/v1/chat/completions", json={**body, "max_tokens": 40, "response_format": form}, timeout=120
    )
    assert answer.json()["choices"][0]["message"]["content"] in ('{"n":7}', '{"n":8}')
    prompt = prompts(1)[0]
    asked = {"model": "demo-vllm", "prompt": prompt, "max_tokens": 3, "temperature": 0, "prompt_logprobs": 1}
    ours, theirs = (
        requests.post(f"{url}/v1/completions", json=asked, timeout=120).json()["choices"][0]["prompt_logprobs"]
        for url in (pair.url, pair.server_url("prefill-0"))
    )
    assert len(ours) == len(theirs) == len(prompt)
    for token, mine, plain in list(zip(prompt, ours, theirs, strict=True))[1:]:
        assert abs(mine[str(token)]["logprob"] - plain[str(token)]["logprob"]) < 1e-3


def test_aborted_streams_strand_no_block(pair: Pair) -> None:
    for i, prompt in enumerate(prompts(20, seed=5)):
        body = {
            "model": "demo-vllm",
            "prompt": prompt,
            "max_tokens": 400,
            "temperature": 0,
            "stream": True,
            "ignore_eos": True,
        }
        with requests.post(f"{pair.url}/v1/completions", json=body, stream=True, timeout=60) as answer:
            for _, _ in zip(range(i % 7), answer.iter_lines(), strict=False):
                pass
    urls = [pair.server_url(name) for name in ("prefill-0", "decode-0")]
    pair.wait("no KV block in use", lambda: not any(metric(url, "vllm:kv_cache_usage_perc") for url in urls), 60)
    pair.wait("nothing counted", pair.idle, 30)
    pair.pdctl("check")


def test_servers_that_run_already_serve_a_second_cluster(pair: Pair, tmp_path: Path) -> None:
    source, target = pair.server_url("prefill-0"), pair.server_url("decode-0")
    asked = prompts(10, seed=12)
    with started(ATTACHED.format(source=source, target=target, lease_s=LEASE_S), tmp_path / "attached") as cluster:
        assert cluster.server_url("decode-0") == target
        assert not cluster.server_pids("decode-0")
        before = metric(target, PULLED)
        through = [greedy(cluster.url, "demo-vllm", prompt) for prompt in asked]
        assert metric(target, PULLED) - before >= 0.9 * sum(map(len, asked))
        cluster.wait("the index knows a prefix", lambda: "cached" in cluster.pdctl("describe", "worker", "prefill-0"))
        cluster.pdctl("check")
    for url in (source, target):
        assert requests.get(f"{url}/health", timeout=10).status_code == 200, "it is not ours to end"
    assert not differences(through, ask_all(pair, source, "demo-vllm", asked))


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGSTOP, "WorkerHung"), (signal.SIGKILL, "WorkerDied")])
def test_a_server_that_hangs_or_dies_costs_no_token(pair: Pair, number: int, reason: str) -> None:
    pair.wait("both servers", lambda: all(worker["state"] == "ready" for worker in pair.workers().values()), 300)
    asked = prompts(8, seed=9)
    calm = ask_all(pair, pair.url, "demo-vllm", asked, max_tokens=150)
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(greedy, pair.url, "demo-vllm", prompt, max_tokens=150) for prompt in asked]
        pair.wait("streams on the decode server", lambda: pair.workers()["decode-0"]["running"] >= 4)
        before = pair.workers()["decode-0"]["pid"]
        for pid in pair.server_pids("decode-0"):
            os.kill(pid, number)
        assert [future.result()["tokens"] for future in running] == [answer["tokens"] for answer in calm]
    pair.wait("the host saw it", lambda: pair.workers()["decode-0"]["pid"] != before)
    events = json.loads(pair.pdctl("get", "events", "-o", "json"))["items"]
    assert reason in {e["reason"] for e in events if e["object"] == "decode-0"}
