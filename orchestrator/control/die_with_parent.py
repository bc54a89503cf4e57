"""Runs a command that dies with the process that asked for it: `die_with_parent.py PARENT_PID COMMAND…`.

The request survives exec, and is made here because code between fork and exec of a threaded process may hang.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def wrapper() -> tuple[str, ...]:
    """What to put before a command (as an absolute path) that shall die with this process."""
    return (sys.executable, "-I", "-S", __file__, str(os.getpid()))


if __name__ == "__main__":
    parent, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone already")
    os.execv(command[0], command)
