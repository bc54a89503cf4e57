"""Simulated OpenAI-style backends, one prefill and several decode servers in one process, for vllm-router and sglang-router.

`python -m bench.peers.http_backend CONFIG` where CONFIG is the JSON of `bench.peers.setting.Backends`. The prefill server
answers after a fixed time. Decode server i has steps of its own phase: at each step every one of its streams gets a token, as
from an engine. With vllm-router the prefill leg comes first and its `kv_transfer_params` go on to the decode leg; with
sglang-router both legs come at once, joined by `bootstrap_room`, and decode starts when prefill has ended.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, cast

import httptools
import orjson
import uvloop

from bench.peers.child import serve_until_eof
from bench.peers.journal import Entry, Journal, now_s, request_number
from bench.peers.setting import Backends
from bench.peers.ticks import Ticks
from workers.demo import MODEL_DIR

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
EVENT = (
    b'data: {"id":"cmpl-%d","object":"text_completion","created":1790000000,"model":"demo",'
    b'"choices":[{"index":0,"text":"%b","logprobs":null,"finish_reason":%b,"stop_reason":null}],"usage":null}\n\n'
)
ANSWERS: dict[str, Any] = {
    "/health": {},
    "/health_generate": {},
    "/v1/models": {"object": "list", "data": [{"id": "demo", "object": "model", "max_model_len": 8192}]},
    "/get_model_info": {"model_path": str(MODEL_DIR), "tokenizer_path": str(MODEL_DIR), "is_generation": True},
    "/model_info": {"model_path": str(MODEL_DIR), "tokenizer_path": str(MODEL_DIR), "is_generation": True},
    "/get_server_info": {
        "model_path": str(MODEL_DIR),
        "served_model_name": "demo",
        "version": "0",
        "dp_size": 1,
        "tp_size": 1,
    },
    "/server_info": {
        "model_path": str(MODEL_DIR),
        "served_model_name": "demo",
        "version": "0",
        "dp_size": 1,
        "tp_size": 1,
    },
    "/version": {"version": "0.11.0"},
}


class Stream:
    """A response in progress on a decode server."""

    __slots__ = ("_entry", "_left", "_number", "_pieces", "_position", "transport")

    def __init__(
        self, transport: asyncio.Transport, number: int, tokens: int, pieces: list[bytes], entry: Entry
    ) -> None:
        self.transport = transport
        self._number = number
        self._left = tokens
        self._pieces = pieces
        self._position = 0
        self._entry = entry

    def emit(self) -> bool:
        """Send a token; False when it was the last or nobody listens."""
        if self.transport.is_closing():
            return False
        self._entry.emitted_s.append(now_s())
        self._left -= 1
        last = self._left == 0
        piece = self._pieces[self._position % len(self._pieces)]
        event = EVENT % (self._number, piece, b'"length"' if last else b"null")
        head = STREAM_HEAD if self._position == 0 else b""
        self._position += 1
        self.transport.write(b"%b%x\r\n%b\r\n%b" % (head, len(event), event, DONE if last else b""))
        return not last


class Server:
    """One backend: `streams` get a token each step; on the prefill server there are none."""

    def __init__(self, cluster: Cluster, prefill: bool) -> None:
        self.cluster = cluster
        self.prefill = prefill
        self.streams: list[Stream] = []

    def step(self) -> None:
        if self.streams:
            self.streams = [stream for stream in self.streams if stream.emit()]


class Cluster:
    """What the servers share: pieces of text, the journal, and sglang's rooms."""

    def __init__(self, setting: Backends) -> None:
        self.setting = setting
        self.journal = Journal()
        self.pieces = [orjson.dumps(piece)[1:-1] for piece in setting.pieces]
        self._rooms: dict[int, asyncio.Future[None]] = {}

    def room(self, number: int) -> asyncio.Future[None]:
        """Done when the prefill of this room is."""
        if number not in self._rooms:
            self._rooms[number] = asyncio.get_running_loop().create_future()
        return self._rooms[number]

    def leave_room(self, number: int) -> None:
        self._rooms.pop(number, None)


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection of a router."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._path = b""
        self._body = b""
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:  # such as the first bytes of HTTP/2, with which routers look for gRPC
            self.transport.close()

    def on_url(self, url: bytes) -> None:
        self._path, self._body = self._path + url, b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        path, self._path = self._path.decode().partition("?")[0], b""
        if self._parser.get_method() != b"POST":
            self._answer(ANSWERS.get(path, {}))
            return
        received_s = now_s()
        body = orjson.loads(self._body)
        number = request_number(body.get("prompt") or body.get("text") or body["input_ids"])
        entry = self._server.cluster.journal.entry(number)
        if self._server.prefill:
            entry.prefill_received_s = received_s
            delay_s = self._server.cluster.setting.prefill_s
            asyncio.get_running_loop().call_later(delay_s, self._prefilled, number, body, entry)
        else:
            entry.decode_received_s = received_s
            self._decode(number, body, entry)

    def _prefilled(self, number: int, body: dict[str, Any], entry: Entry) -> None:
        entry.prefill_sent_s = now_s()
        cluster = self._server.cluster
        if (room := body.get("bootstrap_room")) is not None:
            cluster.room(room).set_result(None)
        if body.get("stream"):
            Stream(self.transport, number, 1, cluster.pieces, Entry()).emit()
            return
        choice = {"index": 0, "text": cluster.setting.pieces[0], "logprobs": None, "finish_reason": "length"}
        transfer = {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": list(range(64)),
            "remote_engine_id": "4a1c8b52-9a4e-4a57-9c43-0f2f0a1b7c11",
            "remote_request_id": f"cmpl-{number}",
            "remote_host": "127.0.0.1",
            "remote_port": 5600,
            "tp_size": 1,
        }
        usage = {"prompt_tokens": 1024, "total_tokens": 1025, "completion_tokens": 1}
        answer = {"id": f"cmpl-{number}", "object": "text_completion", "created": 1790000000, "model": "demo"}
        self._answer({**answer, "choices": [choice], "usage": usage, "kv_transfer_params": transfer})

    def _decode(self, number: int, body: dict[str, Any], entry: Entry) -> None:
        cluster = self._server.cluster
        tokens = body.get("max_tokens") or body["sampling_params"]["max_new_tokens"]
        stream = Stream(self.transport, number, tokens, cluster.pieces, entry)
        room = body.get("bootstrap_room")
        if room is None:
            self._server.streams.append(stream)
            return

        def start(_: object) -> None:
            cluster.leave_room(room)
            self._server.streams.append(stream)

        cluster.room(room).add_done_callback(start)

    def _answer(self, document: Any) -> None:
        body = orjson.dumps(document)
        self.transport.write(HEAD % (len(body), body))


async def serve(setting: Backends) -> None:
    loop = asyncio.get_running_loop()
    cluster = Cluster(setting)
    ports = []
    for i in range(1 + setting.decoders):
        server = Server(cluster, prefill=i == 0)
        listener = await loop.create_server(lambda s=server: Connection(s), "127.0.0.1", 0, backlog=1024)  # type: ignore[misc]
        ports.append(listener.sockets[0].getsockname()[1])
        if i > 0:
            Ticks(setting.step_s, setting.phase_s(i - 1), server.step).start()
    await serve_until_eof({"ports": ports}, cluster.journal.take)


if __name__ == "__main__":
    uvloop.run(serve(Backends.load(sys.argv[1])))
