"""A server as a child process: its start, its end, its last words. The process is a double; see server_process."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.core.sockets import free_ports
from tests.vllm.test_flags import SPEC
from workers.engine.vllm import server as module
from workers.engine.vllm.client import HttpClient
from workers.engine.vllm.flags import LAUNCH, ServerSpec
from workers.engine.vllm.nixl import NixlHandoff
from workers.engine.vllm.server import Server, ServerError

DOUBLE = Path(__file__).with_name("server_process.py")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)


def spec(directory: Path, how: str) -> ServerSpec:
    """An interpreter that runs the double whatever it is told to run."""
    python = directory / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S {DOUBLE} "$@"\n')
    python.chmod(0o755)
    return dataclasses.replace(SPEC, python=str(python), port=free_ports(1)[0], environment=f"HOW={how}")


def made(directory: Path, how: str) -> tuple[Server, list[str]]:
    said: list[str] = []
    return Server(spec(directory, how), NixlHandoff(), said.append), said


async def start(server: Server) -> None:
    client = HttpClient(server.address)
    try:
        async with asyncio.timeout(10):
            await server.start(client)
    finally:
        client.close()


async def test_start_until_it_answers_and_stop(tmp_path: Path) -> None:
    server, said = made(tmp_path, "serves")
    await start(server)
    assert said[:2] == ["vLLM: starting", "vLLM: loading weights"]
    assert said[2:] in ([], ["vLLM: serving"]), "each stage once"
    os.kill(server.pid, 0)
    ended = asyncio.create_task(server.ended())
    await server.stop()
    assert (await ended).startswith("vLLM ended: SIGTERM")
    await server.stop()


async def test_server_that_does_not_hear_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_S", 0.01)
    server, _ = made(tmp_path, "deaf")
    await start(server)
    await server.stop()
    assert server.last_words().startswith("vLLM ended: SIGKILL")


async def test_server_that_is_killed_says_how(tmp_path: Path) -> None:
    server, _ = made(tmp_path, "serves")
    await start(server)
    os.killpg(server.pid, signal.SIGKILL)
    words = await server.ended()
    assert words.startswith("vLLM ended: SIGKILL\nINFO Starting to load model")


async def test_server_that_ends_before_it_serves(tmp_path: Path) -> None:
    server, _ = made(tmp_path, "fails")
    with pytest.raises(ServerError) as raised:
        await start(server)
    first, *tail = str(raised.value).splitlines()
    assert first == "vLLM ended: exit code 3: ValueError: odd thing"
    assert tail[-1] == "ValueError: odd thing"
    length = len(str(raised.value))
    assert length < 2000, "a line of megabytes is not shown"


async def test_server_that_lives_on_but_will_not_serve(tmp_path: Path) -> None:
    """Its engine says that a port is taken and goes on without the thread that wanted it."""
    server, _ = made(tmp_path, "stuck")
    with pytest.raises(ServerError, match="vLLM does not start: one of its ports is taken; free it"):
        await start(server)
    await server.stop()


async def test_interpreter_that_is_missing(tmp_path: Path) -> None:
    server = Server(dataclasses.replace(SPEC, python=str(tmp_path / "none")), NixlHandoff(), lambda text: None)
    with pytest.raises(ServerError, match=r"cannot start .*/none: No such file or directory; set spec\.engine\.vllm"):
        await start(server)
    await server.stop()
    assert server.pid == 0


SHOW = "import json, os, sys; print(json.dumps([sys.argv[1:], sys.path, os.getppid()]))"


SPAWN = """
import multiprocessing, os

def ask(answers):
    import nixl._api as api
    api.nixl_agent_config()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    answers.put([api.made, os.sched_getaffinity(0) == before])

def main():
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    child = context.Process(target=ask, args=(answers,))
    child.start()
    print(answers.get())
    child.join()
"""
NIXL = """
made = []

class nixl_agent_config:
    def __init__(self, *arguments, **options):
        made.append(arguments)
"""


def double_of_vllm(directory: Path, server: str) -> dict[str, str]:
    """Put a server module of the same name as vLLM's there; returns the environment in which it is found."""
    package = directory / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    for place in (package, package.parent, package.parent.parent):
        (place / "__init__.py").touch()
    (package / "api_server.py").write_text(server)
    return {"PYTHONPATH": str(directory)}


def test_launcher_runs_the_server_module_with_its_arguments_alone(tmp_path: Path) -> None:
    environment = double_of_vllm(tmp_path, SHOW)
    words = [sys.executable, "-S", str(LAUNCH), "--port", "7"]
    ran = subprocess.run(words, env=environment, capture_output=True, check=True, timeout=30, start_new_session=True)
    found = json.loads(ran.stdout)
    assert found[0] == ["--port", "7"]
    assert str(LAUNCH.parent) not in found[1], "nothing of ours is on its path"
    assert found[2] == os.getpid()


@pytest.mark.parametrize("on_cpu", [True, False])
def test_what_a_server_on_a_cpu_spawns_leaves_the_cores_to_the_model(tmp_path: Path, on_cpu: bool) -> None:
    """vLLM's engine is a fresh interpreter: what the launcher has changed must hold there."""
    environment = double_of_vllm(tmp_path, "import spawning\n\nspawning.main()\n")
    (tmp_path / "spawning.py").write_text(SPAWN)
    (tmp_path / "nixl").mkdir()
    (tmp_path / "nixl" / "__init__.py").touch()
    (tmp_path / "nixl" / "_api.py").write_text(NIXL)
    if on_cpu:
        environment["TANDEM_VLLM_ON_CPU"] = "1"
    words = [sys.executable, "-S", str(LAUNCH)]
    ran = subprocess.run(
        words, env=environment, capture_output=True, check=True, timeout=60, start_new_session=True, text=True
    )
    assert ran.stdout.strip() == ("[[(False,)], True]" if on_cpu else f"[[()], {os.cpu_count() == 1}]")


def test_quiet_agents_have_no_progress_thread(tmp_path: Path) -> None:
    """`nixl` is a double whose configuration shows what it was given."""
    (tmp_path / "nixl").mkdir()
    (tmp_path / "nixl" / "__init__.py").touch()
    shown = "class nixl_agent_config:\n    def __init__(self, *a, **o):\n        print(a, sorted(o.items()))\n"
    (tmp_path / "nixl" / "_api.py").write_text(shown)
    code = (
        f"import sys; sys.argv[0] = {str(LAUNCH)!r}; sys.path.insert(0, 'dropped')\n"
        f"import runpy; made = runpy.run_path({str(LAUNCH)!r}); made['quiet_nixl']()\n"
        "import nixl._api as api\n"
        "api.nixl_agent_config(); api.nixl_agent_config(True, False, backends=['UCX'])\n"
    )
    words = [sys.executable, "-S", "-c", code]
    environment = {"PYTHONPATH": str(tmp_path)}
    found = subprocess.run(words, env=environment, capture_output=True, check=True, timeout=30, text=True).stdout
    assert found.splitlines() == ["(False,) []", "(False, False) [('backends', ['UCX'])]"]
