"""Run by vLLM's own interpreter, by path: `launch.py [--quiet-nixl] SERVER ARGUMENTS`. Imports nothing of ours.

The server ends with the process that started it. On a CPU, NIXL's progress thread would spin a whole core that the model needs.
"""

import sys

sys.path.pop(0)  # this directory, whose modules are not for vLLM

import ctypes
import runpy
import signal

SERVER = "vllm.entrypoints.openai.api_server"
PR_SET_PDEATHSIG = 1


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
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if sys.argv[1:2] == ["--quiet-nixl"]:
        del sys.argv[1]
        quiet_nixl()
    runpy.run_module(SERVER, run_name="__main__", alter_sys=True)
