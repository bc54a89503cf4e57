"""Refusals, headers, keys, probes, and clients that go away."""

from __future__ import annotations

import asyncio
import json
import socket

import aiohttp
import pytest

from orchestrator.core.sampling import Finish
from orchestrator.frontend.auth import Gate, Keyring
from orchestrator.frontend.auth.http_guard import HttpGuard
from orchestrator.frontend.http import Limits, make_app, start_http
from orchestrator.frontend.service import Cause, Delta, ServiceError
from orchestrator.frontend.text import TextModel
from orchestrator.observability import Metrics
from tests.frontend.conftest import Script, until
from tests.frontend.scripted import ScriptedService

BODY = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("cause", "status", "code", "kind", "dropped", "retry_after"),
    [
        (Cause.INVALID, 400, "invalid_request", "invalid_request_error", "rejected-invalid", None),
        (Cause.DUPLICATE, 409, "duplicate_request_id", "invalid_request_error", "rejected-duplicate", None),
        (Cause.QUEUE_FULL, 429, "queue_full", "rate_limit_error", "rejected-queue-full", "3"),
        (Cause.NO_CAPACITY, 503, "no_capacity", "server_error", "rejected-no-capacity", "1"),
        (Cause.TIMEOUT, 504, "timeout", "server_error", "evicted-timeout", None),
        (Cause.SHUTTING_DOWN, 503, "shutting_down", "server_error", "rejected-shutting-down", "1"),
        (Cause.WORKER, 500, "worker_failure", "server_error", "evicted-worker-failure", None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_causes(
    url: str, service: ScriptedService, metrics: Metrics, cause: Cause, status: int, code: str, kind: str, dropped: str,
    retry_after: str | None, stream: bool,
) -> None:  # fmt: skip
    service.refusal = ServiceError(cause, "because", 2.5 if cause is Cause.QUEUE_FULL else None)
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/v1/chat/completions", json=BODY | {"stream": stream}) as response:
            error = (await response.json())["error"]
            assert (response.status, error["code"], error["type"]) == (status, code, kind)
            assert response.headers["x-llm-d-request-dropped-reason"] == dropped
            assert response.headers.get("Retry-After") == retry_after
    outcome = "rejected" if dropped.startswith("rejected") else "failed"
    assert f'pd_requests_total{{api="chat",outcome="{outcome}",reason="{cause}"}} 1.0' in metrics.render().decode()


async def test_headers_reach_the_service(url: str, service: ScriptedService, script: Script) -> None:
    service.deltas = script("one")
    headers = {
        "X-Request-Id": "my.id-1", "x-llm-d-slo-ttft-ms": "250", "x-slo-tpot-ms": "20.5", "x-llm-d-inference-objective": "interactive",
    }  # fmt: skip
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/v1/chat/completions", json=BODY, headers=headers) as response:
            assert (await response.json())["id"] == "chatcmpl-my.id-1"
            assert response.headers["X-Request-Id"] == "my.id-1"
        async with session.post(f"{url}/v1/chat/completions", json=BODY, headers={"X-Request-Id": "a b"}) as response:
            made = response.headers["X-Request-Id"]
    first, second = service.submissions
    assert (first.request_id, first.tier, first.ttft_slo_s, first.tpot_slo_s) == (
        "my.id-1",
        "interactive",
        0.25,
        0.0205,
    )
    assert second.request_id == made != "a b"
    assert (second.tier, second.ttft_slo_s, second.tpot_slo_s) == ("default", None, None)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("how", ["abort", "close"])
async def test_client_gone_cancels(
    url: str, service: ScriptedService, script: Script, metrics: Metrics, stream: bool, after: int, how: str
) -> None:
    service.deltas, service.hold_after = script("one two three"), after
    body = json.dumps(BODY | {"stream": stream}).encode()
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode() + body)
    await until(lambda: bool(service.submissions))
    if stream and after:
        assert await reader.readuntil(b"content")
    writer.transport.abort() if how == "abort" else writer.close()
    await until(lambda: service.cancelled == [service.submissions[0].request_id])
    await until(lambda: b'outcome="cancelled",reason="client_gone"} 1.0' in metrics.render())
    assert b'pd_active_requests{api="chat"} 0.0' in metrics.render()


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    ("finish", "status", "code"),
    [(Finish.CANCELLED, 499, "cancelled"), (Finish.ERROR, 500, "worker_failure")],
)
async def test_requests_that_end_early(
    url: str, service: ScriptedService, script: Script, first: int, finish: Finish, status: int, code: str
) -> None:
    service.deltas = [*script("one two")[:first], Delta(first, (), (), finish)]
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/v1/chat/completions", json=BODY) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (status, code)
        async with session.post(f"{url}/v1/chat/completions", json=BODY | {"stream": True}) as response:
            assert response.status == (200 if first else status)
            last = (await response.text()).strip().splitlines()[-1]
            assert json.loads(last.removeprefix("data: "))["error"]["code"] == code


@pytest.mark.parametrize("stream", [False, True])
async def test_an_internal_error_names_the_request(
    url: str, service: ScriptedService, script: Script, metrics: Metrics, stream: bool
) -> None:
    finish = None if stream else Finish.LENGTH
    service.deltas = [*script("one two")[:1], Delta(1, (10**9,), finish=finish)]
    async with aiohttp.ClientSession() as session:
        body, headers = BODY | {"stream": stream}, {"X-Request-Id": "lost"}
        async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response:
            assert response.status == (200 if stream else 500)
            last = (await response.text()).strip().splitlines()[-1]
            error = json.loads(last.removeprefix("data: "))["error"]
            assert error["code"] == "internal_error" and "lost" in error["message"]
    assert service.cancelled == (["lost"] if stream else [])
    assert b'outcome="failed",reason="internal"} 1.0' in metrics.render()


async def test_api_keys(service: ScriptedService, text: TextModel, script: Script) -> None:
    service.deltas = script("one")
    app = make_app(service, text, limits=Limits(), metrics=Metrics(), guard=HttpGuard(Gate(Keyring(None, "secret"))))
    server, port = await start_http(app, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as session:
            for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
                async with session.post(f"{url}/v1/chat/completions", json=BODY, headers=given) as response:
                    error = (await response.json())["error"]
                    assert (response.status, error["code"]) == (401, "invalid_api_key")
                    assert "Authorization: Bearer KEY" in error["message"]
            async with session.get(f"{url}/v1/models", headers={"Authorization": "Bearer secret"}) as response:
                assert response.status == 200
            async with session.get(f"{url}/health") as response:
                assert response.status == 200
    finally:
        await server.close()


async def test_probes(url: str, service: ScriptedService) -> None:
    async with aiohttp.ClientSession() as session:
        for ready, status in ((True, 200), (False, 503)):
            service.ready = ready
            async with session.get(f"{url}/health") as health, session.get(f"{url}/ready") as response:
                assert (health.status, response.status) == (200, status)


async def test_metrics(url: str, service: ScriptedService, script: Script) -> None:
    service.deltas = script("one two three", cached=2)
    async with aiohttp.ClientSession() as session:
        async with session.post(
            f"{url}/v1/chat/completions", json=BODY, headers={"X-Request-Id": "needle"}
        ) as response:
            usage = (await response.json())["usage"]
        async with session.get(f"{url}/metrics") as response:
            page = await response.text()
            assert response.content_type == "text/plain"
    assert 'pd_requests_total{api="chat",outcome="completed",reason="done"} 1.0' in page
    assert 'pd_ttft_seconds_count{tier="default"} 1.0' in page
    assert f'pd_inter_token_latency_seconds_count{{tier="default"}} {usage["completion_tokens"] - 1}.0' in page
    assert f"pd_generation_tokens_total {usage['completion_tokens']}.0" in page
    assert f"pd_prompt_tokens_total {usage['prompt_tokens']}.0" in page
    assert "pd_cached_prompt_tokens_total 2.0" in page and "needle" not in page


async def test_a_taken_port_is_an_os_error(service: ScriptedService, text: TextModel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        app = make_app(service, text, limits=Limits(), metrics=Metrics())
        with pytest.raises(OSError):
            await start_http(app, "127.0.0.1", taken.getsockname()[1])
