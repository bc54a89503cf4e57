"""A vLLM server as a child process: started, watched until it answers, its last words kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Callable

from workers.engine.vllm.address import Address
from workers.engine.vllm.client import HttpClient, HttpError
from workers.engine.vllm.diagnosis import diagnose, is_hopeless, stage_of
from workers.engine.vllm.flags import ServerSpec, command, environment
from workers.engine.vllm.handoff import Handoff
from workers.supervisor import describe_exit

KEPT_LINES = 500
KEPT_CHARACTERS = 1000
"""Of a line: last words travel to the store and to `pdctl`."""
SHOWN_LINES = 8
LOOK_S = 0.25
ANSWER_S = 2.0
STOP_S = 5.0


class ServerError(Exception):
    """The server did not start, or ended."""


class Server:
    """One run. `say` hears how the start goes."""

    def __init__(self, spec: ServerSpec, handoff: Handoff, say: Callable[[str], None]) -> None:
        self.address = Address(spec.host, spec.port)
        self._command = command(spec, handoff)
        self._environment = os.environ | environment(spec)
        self._say = say
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._stage = ""
        self._hopeless = False
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self, client: HttpClient) -> None:
        """Return when /health answers 200; raises ServerError when the server ends before."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                limit=1 << 20,
            )
        except OSError as error:
            text = f"cannot start {self._command[0]}: {error.strerror}"
            raise ServerError(f"{text}; set spec.engine.vllm.python to an interpreter that has vLLM") from None
        self._reader = asyncio.create_task(self._read(self._process))
        self._say("vLLM: starting")
        while not await healthy(client):
            if self._process.returncode is not None:
                await self._reader
                raise ServerError(self.last_words())
            if self._hopeless:
                raise ServerError(self._told("vLLM does not start"))
            await asyncio.sleep(LOOK_S)

    async def ended(self) -> str:
        """Wait for its end; how and why it ended."""
        assert self._process is not None and self._reader is not None
        await self._process.wait()
        await self._reader
        return self.last_words()

    async def stop(self) -> None:
        """End it and what it started: SIGTERM, then SIGKILL."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_S):
                    await self._process.wait()
            except TimeoutError:
                os.killpg(self._process.pid, signal.SIGKILL)
                await self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def last_words(self) -> str:
        """Exit, likely cause and remedy, and the end of the log."""
        assert self._process is not None and self._process.returncode is not None
        return self._told(f"vLLM ended: {describe_exit(self._process.returncode)}")

    def _told(self, what: str) -> str:
        cause = diagnose(self._lines)
        tail = "\n".join(list(self._lines)[-SHOWN_LINES:])
        return f"{what}{f': {cause}' if cause else ''}" + (f"\n{tail}" if tail else "")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than the limit
                continue
            if not line:
                return
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
            text = line.decode(errors="replace").rstrip()[:KEPT_CHARACTERS]
            if text:
                self._lines.append(text)
                self._hopeless = self._hopeless or is_hopeless(text)
            if (stage := stage_of(text)) and stage != self._stage:
                self._stage = stage
                self._say(f"vLLM: {stage}")


async def healthy(client: HttpClient) -> bool:
    """The server answers /health with 200."""
    try:
        status, _ = await client.get("/health", ANSWER_S)
    except HttpError:
        return False
    return status == 200
