"""Requests whose framing is wrong, odd or unfinished."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from tests.fuzz.requests import GOOD, GOOD_BODY, SMUGGLED, post

PATH = "/v1/completions"


@dataclass(frozen=True, slots=True)
class Case:
    """Bytes to send; then the client waits, or closes its side if `shut`. `silent`: a close without an answer is right, too."""

    data: bytes
    shut: bool = False
    silent: bool = False


def framed(*lines: bytes, body: bytes = b"", path: str = PATH, version: bytes = b"HTTP/1.1") -> bytes:
    """A POST with these framing headers, right or wrong."""
    head = b"POST " + path.encode() + b" " + version + b"\r\nHost: a\r\nContent-Type: application/json\r\n"
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


LENGTHS = [
    b"+5", b"-1", b"5, 5", b"5,5", b"5 5", b"0x5", b"5.0", b"1e3", b"", b" ", b"five", b"\xb2",
    b"99999999999999999999999", b"18446744073709551616",
    b"4294967296", b"1048577", b"00000000005", b"5\t", b"\x0b5", b"5;a=1", b'"5"',
]  # fmt: skip
CODINGS = [
    b"chunked, identity", b"identity", b"identity, chunked", b"gzip, chunked", b"xchunked", b"chunkedx", b"chunked;q=1",
    b'"chunked"', b"CHUNKED",
    b"\tchunked", b"chunked\t", b"\x0bchunked", b"chunked\x0b", b"chun\x00ked", b"", b",", b"chunked,", b",chunked",
    b"chunked, chunked", b"gzip",
    b"chunked\x00", b"ch\xc3\xbcnked",
]  # fmt: skip
NAMES = [
    b"Transfer-Encoding", b"transfer-encoding", b"Transfer-Encoding ", b" Transfer-Encoding", b"Transfer-Encoding\t",
    b"X: y\nTransfer-Encoding", b"X: y\rTransfer-Encoding", b"Transfer-Encoding\x00", b"Transfer-\r\n Encoding",
]  # fmt: skip
OTHER_NAMES = [b"Transfer_Encoding", b"Content-Encoding", b"X-Transfer-Encoding", b"TE"]
"""They frame nothing: what follows such a head is what Content-Length says."""
CHUNKS = [
    b"5\r\nhello\r\n0\r\n\r\n", b"g\r\nhello\r\n0\r\n\r\n", b"-1\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n0\r\n\r\n", b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n',
    b"5;" + b"a" * 50_000 + b"\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\n0\n\n", b"5\rhello\r0\r\r", b"5\r\nhello0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n",
    b"6\r\nhello\r\n0\r\n\r\n", b"4\r\nhello\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\nhello", b"fffffffffffffffff\r\nhello", b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    b"000000000000000000005\r\nhello\r\n0\r\n\r\n",
    b"7fffffff\r\nhello", b"100001\r\n" + b" " * 0x100001 + b"\r\n0\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"0\r\n" + b"".join(b"t%d: x\r\n" % i for i in range(500)) + b"\r\n", b"0\r\nt: " + b"x" * 70_000 + b"\r\n\r\n",
    b"0\r\nbad trailer\r\n\r\n",
    b"0\r\n: x\r\n\r\n", b"0\r\n", b"", b"\r\n", b"5", b"5\r\nhel", b"0;\r\n\r\n", b"0\r\n\r\nX",
]  # fmt: skip


def chunked(body: bytes, size: int) -> bytes:
    """`body` in chunks."""
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


lengths = st.sampled_from(LENGTHS).map(lambda value: framed(b"Content-Length: " + value, body=GOOD_BODY))
two_lengths = st.builds(
    lambda first, second: framed(
        b"Content-Length: %d" % first, b"Content-Length: %d" % second, body=GOOD_BODY + SMUGGLED
    ),
    st.sampled_from([0, 5, len(GOOD_BODY)]),
    st.sampled_from([0, 5, len(GOOD_BODY), len(GOOD_BODY) + len(SMUGGLED)]),
)
both = st.builds(
    lambda name, coding, first, length: framed(
        *((name + b": " + coding, length) if first else (length, name + b": " + coding)), body=b"0\r\n\r\n" + SMUGGLED
    ),
    st.sampled_from(NAMES),
    st.sampled_from([b"chunked", *CODINGS]),
    st.booleans(),
    st.sampled_from([b"Content-Length: 5", b"Content-Length: %d" % (5 + len(SMUGGLED)), b"Content-Length: 0"]),
)
codings = st.builds(
    lambda name, coding, body, version: framed(name + b": " + coding, body=body, version=version),
    st.sampled_from(NAMES),
    st.sampled_from([b"chunked", *CODINGS]),
    st.sampled_from([chunked(GOOD_BODY, 7), b"0\r\n\r\n" + SMUGGLED, GOOD_BODY]),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"]),
)
others = st.builds(
    lambda name, coding, body: framed(name + b": " + coding, b"Content-Length: %d" % len(body), body=body),
    st.sampled_from(OTHER_NAMES),
    st.sampled_from([b"chunked", *CODINGS]),
    st.sampled_from([b"0\r\n\r\n" + SMUGGLED, GOOD_BODY]),
)
twice = st.sampled_from([b"chunked", b"identity", b"xchunked"]).map(
    lambda other: framed(b"Transfer-Encoding: chunked", b"Transfer-Encoding: " + other, body=b"0\r\n\r\n" + SMUGGLED)
)
chunks = st.sampled_from(CHUNKS).map(lambda body: framed(b"Transfer-Encoding: chunked", body=body))
noisy_chunks = st.builds(
    lambda size, at, noise: framed(b"Transfer-Encoding: chunked", body=_with(chunked(GOOD_BODY, size), at, noise)),
    st.integers(1, 40),
    st.integers(0, 400),
    st.binary(max_size=4),
)
cut = st.builds(lambda at: GOOD[: min(at, len(GOOD) - 1)], st.integers(1, len(GOOD) - 1))
promised = st.builds(
    lambda more: framed(b"Content-Length: %d" % (len(GOOD_BODY) + more), body=GOOD_BODY),
    st.sampled_from([1, 9, 99_999]),
)
expecting = st.sampled_from(
    [
        framed(b"Expect: 100-continue", b"Content-Length: 50"),
        framed(b"Expect: 100-continue", b"Content-Length: 5000000"),
        framed(b"Expect: 200-ok", b"Content-Length: 5", body=b"hello"),
        framed(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 5", body=b"hello"),
        framed(b"Expect: 100-continue", b"Transfer-Encoding: chunked"),
        framed(b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA", b"Content-Length: 0"),
        framed(b"Upgrade: websocket", b"Connection: upgrade", b"Content-Length: 5", body=b"hello" + SMUGGLED),
        post("/v1/completions", b"a" * 3_000_000),
    ]
)  # fmt: skip


def _with(data: bytes, at: int, noise: bytes) -> bytes:
    at %= len(data)
    return data[:at] + noise + data[at:]


unfinished = st.one_of(cut, promised)
cases = st.one_of(
    st.builds(Case, st.one_of(lengths, two_lengths, both, codings, others, twice, chunks, noisy_chunks, expecting)),
    st.builds(lambda data, shut: Case(data, shut, silent=shut), unfinished, st.booleans()),
)
