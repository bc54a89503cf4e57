"""CPU time of a process and everything it started."""

from __future__ import annotations

import psutil


def tree_cpu_s(pid: int) -> float:
    """utime + stime of the tree, with children that have been waited for. Resolution of the kernel's clock, 10 ms."""
    process = psutil.Process(pid)
    total = 0.0
    for member in (process, *process.children(recursive=True)):
        times = member.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total
