"""Run by vLLM's own interpreter, by path: `launch.py [--quiet-nixl] SERVER ARGUMENTS`. Imports nothing of ours.

Start it in a session of its own: the server, with all that it starts, ends with the process that started it, and as soon as its own
first process ends.
On a CPU, NIXL's progress thread would spin a whole core that the model needs.
"""

import sys

sys.path.pop(0)  # this directory, whose modules are not for vLLM

import os
import runpy
import select
import signal

SERVER = "vllm.entrypoints.openai.api_server"


def end_together(parent: int) -> None:
    """Fork a watcher that kills our process group when `parent` or this process ends: vLLM's engine outlives its server."""
    server = os.getpid()
    if os.fork():
        return
    try:
        handles = [os.pidfd_open(pid) for pid in (parent, server)]
        select.select(handles, [], [])
    except ProcessLookupError:
        pass
    os.killpg(0, signal.SIGKILL)


def quiet_nixl() -> None:
    """NIXL agents without a progress thread, whoever makes them."""
    try:
        import nixl._api as api
    except ImportError:
        return
    configure = api.nixl_agent_config.__init__

    def without_thread(self, enable_prog_thread=True, *arguments, **options):  # type: ignore[no-untyped-def]
        configure(self, False, *arguments, **options)

    api.nixl_agent_config.__init__ = without_thread


if __name__ == "__main__":
    end_together(os.getppid())
    if sys.argv[1:2] == ["--quiet-nixl"]:
        del sys.argv[1]
        quiet_nixl()
    runpy.run_module(SERVER, run_name="__main__", alter_sys=True)
