"""Run by vLLM's own interpreter, by path: `launch.py SERVER ARGUMENTS`. Imports nothing of ours.

Start it in a session of its own: the server, with all that it starts, ends with the process that started it, and as soon as its own
first process ends. vLLM starts its engine as a fresh interpreter that imports this file again, as a module.
With TANDEM_VLLM_ON_CPU in the environment, NIXL leaves the cores to the model.
"""

import os
import runpy
import select
import signal
import sys

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
    """NIXL agents without a progress thread, which would spin on a core, whoever makes them in this process."""
    try:
        import nixl._api as api
    except ImportError:
        return
    configure = api.nixl_agent_config.__init__

    def without_thread(self, enable_prog_thread=True, *arguments, **options):  # type: ignore[no-untyped-def]
        configure(self, False, *arguments, **options)

    api.nixl_agent_config.__init__ = without_thread


def keep_cores() -> None:
    """On a CPU, vLLM's NixlConnector moves the thread that computes to the machine's last core, and so those of all servers there."""
    os.sched_setaffinity = lambda pid, mask: None


if "TANDEM_VLLM_ON_CPU" in os.environ:
    quiet_nixl()
    keep_cores()

if __name__ == "__main__":
    sys.path.pop(0)  # this directory, whose modules are not for vLLM
    end_together(os.getppid())
    # Not alter_sys: the interpreters that vLLM spawns import what __main__ is here.
    runpy.run_module(SERVER, run_name="__main__")
