"""Request lines and headers of all kinds, and first bytes that are no HTTP/1.1 at all."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.fuzz.framing import Case
from tests.fuzz.requests import GOOD_BODY, SMUGGLED, post

METHODS = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT", b"PRI", b"get", b"GETX",
    b"", b"G\x00T", b"M-SEARCH",
    b"PROPFIND", b"QUERY", b"X" * 5000, "GÉT".encode(),
]  # fmt: skip
TARGETS = [
    b"/v1/models", b"/v1/models/other", b"/", b"*", b"//", b"/..", b"/v1/../metrics", b"/v1/models/..%2f..%2fetc",
    b"/%00", b"/%0d%0aX:%20y", b"/%",
    b"/%zz", b"/%ff%fe", b"/v1/models/%ed%a0%80", b"http://a/health", b"HTTP://a:99999/health", b"http://",
    b"http://a?x", b"ftp://a/b", b"a:443",
    b"a:80", b"health", b"?x", b"#x", b"/health#x", b"/health?" + b"x" * 7000, b"/" + b"x" * 9000,
    b"/" + b"x" * 200_000, "/é".encode(), b"/a b", b"/\x7f",
    b"/\x01", b"/health?a=\xff", b"/v1/models/" + b"%41" * 2000, b"/v1/models/{id}", b"/v1/chat/completions/",
    b"/V1/MODELS", b"/metrics", b"",
    b"/v1/models/%F0%9F%91%8B", b"[::1]:80", b"/\\..\\x", b"/health;a=b", b"/v1/models/" + b"a" * 5000,
]  # fmt: skip
VERSIONS = [
    b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/1.", b"http/1.1", b"HTTP/11",
    b"HTTPS/1.1", b"", b"HTTP/1.1 x",
    b"HTTP/9999999999.1", b"RTSP/1.0", b"ICE/1.0",
]  # fmt: skip
ENDS = [b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r\n", b"\x00\r\n", b" \r\n"]
SEPARATORS = [b": ", b":", b" : ", b"\t: ", b":\t", b" ", b"", b"\x00: ", b":\r\n ", b":: "]
NAMES = [
    b"X-Request-Id", b"x-llm-d-slo-ttft-ms", b"x-slo-ttft-ms", b"x-slo-tpot-ms", b"x-llm-d-inference-objective",
    b"Authorization", b"Content-Type",
    b"Content-Length", b"Transfer-Encoding", b"Host", b"Connection", b"Expect", b"Upgrade", b"Cookie", b"traceparent",
    b"Accept", b"Accept-Encoding",
    b"Content-Encoding", b"Range", b"If-Match", b"X-Forwarded-For", b"Via", b"TE", b"Trailer",
    b"X-HTTP-Method-Override", b"", b" ", b"X Y", b"X(Y)",
    "É".encode(), b"\xff", b"\x00", b"X" * 3000, b"X" * 70_000, b"x-llm-d-inference-fairness-id", b"X-API-Key",
    b"OpenAI-Organization", b"HTTP2-Settings",
]  # fmt: skip
VALUES = [
    b"", b" ", b"a", b"0", b"-1", b"1e999", b"nan", b"inf", b"1_0", b"250", b"5, 5", b"\x00", b"\x01", b"\x7f",
    b"\xff\xfe", b"a\tb", b"a\nb", b"a\rb",
    b"a\r\n b", b"a\r\n\tb", b"interactive", b"INTERACTIVE", b"gold", b"x" * 200, b"x" * 5000, b"x" * 33_000,
    b"x" * 100_000, b"Bearer u", b"Bearer",
    b"Bearer  u", b"Bearer u u", b"bearer\tu", b"Basic dTp1", b"Bearer " + b"x" * 9000, b"Bearer \xff\xfe",
    b"Bearer \xc3\xa9", b"Digest username=\"a\"", b"close",
    b"keep-alive, close", b"upgrade", b"Upgrade, HTTP2-Settings", b"h2c", b"websocket", b"chunked", b"100-continue",
    b"application/json", b"${jndi:ldap://a}",
    b"../../x", b"%0d%0a", b"'; DROP TABLE", b"a b", "\u0661\u0662".encode(),
    b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", b"00-zz-zz-zz", b"a.b:c",
    b"application/json; charset=utf-7", b"{}", b"\\", b'"', b"127.0.0.1, a",
]  # fmt: skip
PREFACES = [
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    b"GET /health\r\n", b"GET /health\r\n\r\n", b"\r\n" * 2000, b"\n" * 50_000, b"\x00" * 1000, b"\x05\x01\x00",
    b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
    b"SSH-2.0-OpenSSH_9.6\r\n", b"*1\r\n$4\r\nPING\r\n", b"EHLO a\r\n", b"\xff" * 5000,
    b" GET /health HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n", b"G" * 100_000, b"{}", b"",
]  # fmt: skip


@st.composite
def request_lines(draw: st.DrawFn) -> Case:
    """Any method on any target."""
    space = draw(st.sampled_from([b" ", b" ", b" ", b"  ", b"\t", b""]))
    line = space.join([draw(st.sampled_from(METHODS)), draw(st.sampled_from(TARGETS)), draw(st.sampled_from(VERSIONS))])
    host = draw(
        st.sampled_from(
            [
                b"Host: a\r\n",
                b"Host: a\r\n",
                b"",
                b"Host: a\r\nHost: b\r\n",
                b"Host:\r\n",
                b"Host: a/b\r\n",
                b"Host: \xff\r\n",
            ]
        )
    )
    return Case(line + draw(st.sampled_from(ENDS)) + host + b"\r\n")


@st.composite
def header_lines(draw: st.DrawFn) -> Case:
    """A good request with one to three headers of any kind among its own."""
    lines = [b"Host: a", b"Content-Type: application/json", b"Content-Length: %d" % len(GOOD_BODY)]
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        value = draw(st.one_of(st.sampled_from(VALUES), st.binary(max_size=30)))
        line = draw(st.sampled_from(NAMES)) + draw(st.sampled_from(SEPARATORS)) + value
        lines.insert(draw(st.integers(0, len(lines))), line)
    end = draw(st.sampled_from(ENDS))
    return Case(b"POST /v1/completions HTTP/1.1\r\n" + b"".join(line + end for line in lines) + b"\r\n" + GOOD_BODY)


@st.composite
def plain_headers(draw: st.DrawFn) -> Case:
    """A good request with headers that are well formed and mean something to us, with any values."""
    names = [n for n in NAMES[:9] if n != b"Content-Length" and n != b"Transfer-Encoding"]
    lines = [
        draw(st.sampled_from(names))
        + b": "
        + draw(st.sampled_from([v for v in VALUES if b"\n" not in v and b"\r" not in v]))
        for _ in range(draw(st.sampled_from([1, 1, 2])))
    ]
    return Case(post("/v1/completions", GOOD_BODY, *lines))


many_headers = st.builds(
    lambda count, size: Case(
        post("/v1/completions", GOOD_BODY, *(b"X-%d: %b" % (i, b"y" * size) for i in range(count)))
    ),
    st.sampled_from([90, 97, 98, 200, 5000]),
    st.sampled_from([0, 10, 300, 400, 1000]),
)
prefaces = st.builds(
    lambda data, noise, more: Case(data + noise + more, silent=True),
    st.sampled_from(PREFACES),
    st.binary(min_size=1, max_size=30),
    st.sampled_from([b"", SMUGGLED]),
)
noise = st.binary(min_size=1, max_size=400).map(lambda data: Case(data, silent=True))
cases = st.one_of(
    request_lines(), request_lines(), header_lines(), header_lines(), plain_headers(), many_headers, prefaces, noise
)
