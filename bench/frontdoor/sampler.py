"""Runs a module under a sampling profiler: `python -m bench.frontdoor.sampler FILE MODULE ARGUMENTS…`.

Every millisecond of the process's CPU time the stack of the main thread is noted; CPU spent in C counts for the Python line that
called it. Written to FILE at SIGUSR1 (which also starts afresh): lines of "count<TAB>frame;frame;…", innermost last.
"""

from __future__ import annotations

import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

PERIOD_S = 0.001
DEPTH = 48


def install(path: Path) -> None:
    """Start sampling in this process's main thread."""
    stacks: Counter[tuple[tuple[str, str, int], ...]] = Counter()

    def sample(_number: int, frame: FrameType | None) -> None:
        stack: list[tuple[str, str, int]] = []
        while frame is not None and len(stack) < DEPTH:
            code = frame.f_code
            stack.append((code.co_filename, code.co_qualname, frame.f_lineno))
            frame = frame.f_back
        stacks[tuple(stack)] += 1

    def write(_number: int, _frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        lines = [
            f"{n}\t" + ";".join(f"{file}|{name}|{line}" for file, name, line in reversed(stack))
            for stack, n in list(stacks.items())
        ]
        stacks.clear()
        path.write_text("\n".join(lines) + "\n")
        signal.setitimer(signal.ITIMER_PROF, PERIOD_S, PERIOD_S)

    signal.signal(signal.SIGPROF, sample)
    signal.signal(signal.SIGUSR1, write)
    signal.siginterrupt(signal.SIGPROF, False)
    signal.setitimer(signal.ITIMER_PROF, PERIOD_S, PERIOD_S)


if __name__ == "__main__":
    out, module = Path(sys.argv[1]), sys.argv[2]
    sys.argv = sys.argv[2:]
    install(out)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
