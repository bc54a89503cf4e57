"""Processor time of a cluster's processes, without the vLLM servers that it starts."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

MARK = "TANDEM_OWNED_BY"
SERVING = ("orchestrator.frontend", "workers.process")
"""What a token passes; the rest is Ray and what runs on it."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """utime + stime in seconds, of the kernel's clock of 10 ms."""

    serving_s: float
    control_s: float
    vllm_s: float

    def since(self, before: Cpu) -> Cpu:
        return Cpu(self.serving_s - before.serving_s, self.control_s - before.control_s, self.vllm_s - before.vllm_s)


def cluster_cpu(run_dir: str) -> Cpu:
    """Of everything that the cluster in `run_dir` has started and that runs now."""
    serving_s = control_s = vllm_s = 0.0
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) != run_dir:
                continue
            times, line = process.cpu_times(), " ".join(process.cmdline())
        except psutil.Error:
            continue
        spent_s = times.user + times.system
        if "vllm/launch.py" in line or "VLLM::" in line:
            vllm_s += spent_s
        elif any(f"-m {module} " in line for module in SERVING):
            serving_s += spent_s
        else:
            control_s += spent_s
    return Cpu(serving_s, control_s, vllm_s)
