"""A worker for real front doors: one token for whoever wants one, and nothing for others until they are let go."""

from __future__ import annotations

import contextlib
import socket
import threading

from orchestrator.core.frames import Deframer, frame
from pd.v1 import worker_pb2 as pb

INCARNATION = 1
BLOCKS = 4096
STATUS = pb.WorkerStatus(kv_total_blocks=BLOCKS)
WELCOME = pb.WorkerDescription(
    name="all-0",
    incarnation=INCARNATION,
    block_tokens=16,
    kv_total_blocks=BLOCKS,
    max_model_len=128,
)
STATUS_S = 0.2


class HeldWorker:
    """Speaks the session wire on `address`. `served` are the front doors whose requests came, `held` those of them that wait."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._served: set[str] = set()
        self._held: list[tuple[str, pb.Key, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def served(self) -> set[str]:
        with self._lock:
            return set(self._served)

    @property
    def held(self) -> list[str]:
        with self._lock:
            return [door for door, _, _ in self._held]

    def forget(self) -> None:
        """What came so far."""
        with self._lock:
            self._served.clear()

    def let_go(self, door: str) -> None:
        """Answer what waits of `door`."""
        with self._lock:
            mine = [held for held in self._held if held[0] == door]
            self._held = [held for held in self._held if held[0] != door]
        for _, key, connection in mine:
            self._answer(connection, key)

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(STATUS_S)
        deframer, door = Deframer(), ""
        self._send(connection, pb.FromWorker(welcome=WELCOME))
        self._send(connection, pb.FromWorker(status=STATUS))
        with contextlib.suppress(OSError):
            while True:
                try:
                    data = connection.recv(65536)
                except TimeoutError:
                    self._send(connection, pb.FromWorker(status=STATUS))
                    continue
                if not data:
                    return
                for raw in deframer.feed(data):
                    message = pb.ToWorker.FromString(raw)
                    door = message.hello.front_door or door
                    if message.HasField("submit"):
                        self._submitted(connection, door, message.submit)

    def _submitted(self, connection: socket.socket, door: str, submit: pb.Submit) -> None:
        with self._lock:
            self._served.add(door)
            if submit.sampling.max_tokens > 1:
                self._held.append((door, submit.key, connection))
                return
        self._answer(connection, submit.key)

    def _answer(self, connection: socket.socket, key: pb.Key) -> None:
        tokens = pb.Tokens(key=key, first_index=0, tokens=[65], finish="length")
        self._send(connection, pb.FromWorker(step=pb.Step(items=[tokens])))

    def _send(self, connection: socket.socket, message: pb.FromWorker) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(frame(message.SerializeToString()))
