"""No key, a wrong one, a user's and an operator's, on every HTTP endpoint of a real server; limits; keys over TLS."""

import asyncio
import json
import ssl

import aiohttp
import pytest

from orchestrator.core.config import Tls as TlsFiles
from orchestrator.core.sampling import Finish
from orchestrator.frontend.auth import Gate, Keyring, Tls
from orchestrator.frontend.auth.http_guard import HttpGuard
from orchestrator.frontend.http import Limits, make_app, start_http
from orchestrator.frontend.service import Delta
from orchestrator.observability import Metrics
from tests.auth.authority import Authority
from tests.frontend.conftest import MODEL, metrics, model_dir, service, text, until  # noqa: F401

KEYS = "u user alice; o operator ops; slow user bob rpm=2; busy user carol concurrent=1; small user dave tpm=20"
HEADERS = {
    "none": {},
    "wrong": {"Authorization": "Bearer x"},
    "other scheme": {"Authorization": "Basic u"},
    "user": {"Authorization": "Bearer u"},
    "operator": {"authorization": "bearer o"},
}
BODY = {"model": MODEL, "prompt": [1, 2, 3], "max_tokens": 2}
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
ENDPOINTS = [
    ("GET", "/health", None, "open"),
    ("GET", "/healthz", None, "open"),
    ("GET", "/ready", None, "open"),
    ("GET", "/metrics", None, "operator"),
    ("GET", "/v1/models", None, "user"),
    ("GET", f"/v1/models/{MODEL}", None, "user"),
    ("POST", "/v1/completions", BODY, "user"),
    ("POST", "/v1/completions", {**BODY, "stream": True}, "user"),
    ("POST", "/v1/chat/completions", CHAT, "user"),
    ("GET", "/%6detrics", None, "operator"),
    ("GET", "/nothing/here", None, "user"),
]


class Door:
    """A server with keys, and calls to it."""

    def __init__(self, url, session, gate, metrics):  # noqa: F811
        self.url, self.session, self.gate, self.metrics = url, session, gate, metrics

    async def call(self, method, path, body=None, headers=None):
        """(status, headers, parsed or raw body)."""
        async with self.session.request(method, self.url + path, json=body, headers=headers or {}) as response:
            data = await response.read()
            try:
                return response.status, response.headers, json.loads(data)
            except ValueError:
                return response.status, response.headers, data

    async def ask(self, key, **changes):
        return await self.call(
            "POST", "/v1/completions", {**BODY, **changes}, {"Authorization": f"Bearer {key}"} if key else {}
        )


@pytest.fixture
async def door(request, service, text, metrics):  # noqa: F811
    options = getattr(request, "param", {})
    service.deltas = [Delta(0, (5,)), Delta(1, (6,), finish=Finish.LENGTH)]
    gate = Gate(
        Keyring(None, options.get("keys", KEYS)),
        open_metrics=options.get("open_metrics", False),
        refused=lambda reason: metrics.auth_refused.labels(reason).inc(),
    )
    app = make_app(service, text, limits=Limits(), metrics=metrics, guard=HttpGuard(gate))
    server, port = await start_http(app, "127.0.0.1", 0)
    async with aiohttp.ClientSession() as session:
        yield Door(f"http://127.0.0.1:{port}", session, gate, metrics)
    await server.close(0)


@pytest.mark.parametrize("who", HEADERS)
async def test_matrix(door, who):
    for method, path, body, needs in ENDPOINTS:
        status, headers, answer = await door.call(method, path, body, HEADERS[who])
        known = who in ("user", "operator")
        if needs == "open" or who == "operator" or (known and needs == "user"):
            assert status in (200, 404), (method, path, answer)
            assert (status == 404) == (path == "/nothing/here")
        elif known:
            assert (status, answer["error"]["code"]) == (403, "forbidden"), path
            assert "alice has the role user" in answer["error"]["message"]
        else:
            assert (status, answer["error"]["code"]) == (401, "invalid_api_key"), path
            assert answer["error"]["type"] == "authentication_error"
            assert headers["WWW-Authenticate"].startswith("Bearer")
            assert "Authorization: Bearer KEY" in answer["error"]["message"]
            assert headers["X-Request-Id"]


@pytest.mark.parametrize("door", [{"keys": ""}], indirect=True)
async def test_without_keys_everybody_may_do_everything(door):
    for method, path, body, _ in ENDPOINTS:
        assert (await door.call(method, path, body))[0] in (200, 404)


@pytest.mark.parametrize("door", [{"open_metrics": True}], indirect=True)
async def test_metrics_can_be_open_and_nothing_else_with_them(door):
    assert (await door.call("GET", "/metrics"))[0] == 200
    assert (await door.call("GET", "/v1/models"))[0] == 401


async def test_a_body_is_not_read_for_a_caller_who_may_not(door):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(door.url.rpartition(":")[2]))
    writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
    assert b" 401 " in head
    writer.close()


def refusals(door, reason):
    return door.metrics.auth_refused.labels(reason).value


async def test_requests_a_minute(door):
    for _ in range(2):
        assert (await door.ask("slow"))[0] == 200
    status, headers, answer = await door.ask("slow")
    assert (status, answer["error"]["code"], answer["error"]["type"]) == (
        429,
        "rate_limit_exceeded",
        "rate_limit_error",
    )
    assert headers["x-llm-d-request-dropped-reason"] == "rejected-key-requests"
    assert 20 <= int(headers["Retry-After"]) <= 31
    assert (await door.call("GET", "/v1/models", headers={"Authorization": "Bearer slow"}))[0] == 200  # not counted
    assert (await door.ask("u"))[0] == 200
    assert refusals(door, "key_requests") == 1


async def test_requests_at_once(door, service):  # noqa: F811
    service.hold_after = 0
    first = asyncio.create_task(door.ask("busy"))
    await until(lambda: bool(service.submissions))
    status, headers, _ = await door.ask("busy")
    assert (status, headers["x-llm-d-request-dropped-reason"]) == (429, "rejected-key-concurrency")
    service.release.set()
    assert (await first)[0] == 200
    assert (await door.ask("busy"))[0] == 200


async def test_clients_that_leave_and_bad_requests_give_their_place_back(door, service):  # noqa: F811
    service.hold_after = 0
    leaving = asyncio.create_task(door.ask("busy"))
    await until(lambda: bool(service.submissions))
    leaving.cancel()
    await until(lambda: bool(service.cancelled))
    service.hold_after = None
    for changes in ({"n": 0}, {"max_tokens": "x"}, {"prompt": []}, {"model": "another"}):
        assert (await door.ask("busy", **changes))[0] in (400, 404)
    assert (await door.call("POST", "/nothing", BODY, {"Authorization": "Bearer busy"}))[0] == 404
    _, writer = await asyncio.open_connection("127.0.0.1", int(door.url.rpartition(":")[2]))
    writer.write(
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer busy\r\nContent-Length: 9\r\n\r\n{"
    )
    await writer.drain()
    writer.close()  # half a body
    tries = 0
    while (await door.ask("busy"))[0] != 200:
        tries += 1
        assert tries < 200


async def test_tokens_a_minute(door):
    status, _, answer = await door.ask("small", max_tokens=15)
    assert status == 200  # 18 of 20 taken, 5 used
    assert answer["usage"]["total_tokens"] == 5
    assert (await door.ask("small", max_tokens=12))[0] == 200
    status, headers, answer = await door.ask("small", max_tokens=12)
    assert (status, headers["x-llm-d-request-dropped-reason"]) == (429, "rejected-key-tokens")
    assert "asks for 15" in answer["error"]["message"]


async def test_keys_over_tls(service, text, tmp_path):  # noqa: F811
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    service.deltas = [Delta(0, (5,), finish=Finish.LENGTH)]
    gate = Gate(Keyring(None, KEYS))
    app = make_app(service, text, limits=Limits(), metrics=Metrics(), guard=HttpGuard(gate))
    context = Tls(TlsFiles(str(certificate), str(key))).ssl_context()
    server, port = await start_http(app, "127.0.0.1", 0, ssl=context)
    trusting = ssl.create_default_context(cafile=authority.ca)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
        door = Door(f"https://127.0.0.1:{port}", session, gate, None)
        assert (await door.ask("u"))[0] == 200
        assert (await door.ask(""))[0] == 401
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await Door(f"https://127.0.0.1:{port}", session, gate, None).ask("u")
    await server.close(0)
