"""Stops the cluster of a run directory from outside, whatever state it is in."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable

from orchestrator.control.budget import budget_at
from orchestrator.control.leftovers import end_actors, end_leftovers, exists, leftovers
from orchestrator.control.problem import StartError
from orchestrator.control.ray_runtime import join_ray
from orchestrator.control.rundir import RunDirectory
from orchestrator.control.signals import NOW

STOP_S = 30.0
"""What a launcher may take to stop its cluster besides the time that requests have to finish."""


def take_down(run_dir: RunDirectory, timeout_s: float | None, say: Callable[[str], None], drain: bool = True) -> None:
    """Stop what runs in `run_dir` and leave no process of it. Raises StartError if nothing runs there.

    The launcher lets running requests finish first, for at most `drain.budgetS`, unless `drain` is false. It has `timeout_s` to stop
    its cluster (None: the budget and STOP_S); then it is killed, and so is all that it started.
    """
    launcher = run_dir.lock_holder()
    cluster = run_dir.read_cluster()
    if launcher is not None:
        budget_s = budget_at(cluster["store_url"], cluster["name"]) if drain and cluster else 0.0
        if budget_s:
            say(f"requests have {budget_s:g} s to finish; `pdctl down --now` stops at once")
        _end_launcher(launcher, budget_s + STOP_S if timeout_s is None else timeout_s, drain, say)
    elif not cluster and not leftovers(run_dir):
        raise StartError(
            f"no cluster runs in {run_dir.path}", "start one with `pdctl up`, or name another directory with --run-dir"
        )
    else:
        say("the cluster had crashed: cleaning up after it")
    remains = run_dir.read_cluster()
    if remains and not remains["ray_directory"]:
        _end_on_ray(remains, say)
    if killed := end_leftovers(run_dir):
        say(f"killed {killed} processes that did not end by themselves")
    if remains and remains["ray_directory"]:
        shutil.rmtree(remains["ray_directory"], ignore_errors=True)
    run_dir.cluster_file.unlink(missing_ok=True)


def _end_launcher(pid: int, timeout_s: float, drain: bool, say: Callable[[str], None]) -> None:
    deadline = time.monotonic() + timeout_s
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM if drain else NOW)
        while exists(pid):
            if time.monotonic() > deadline:
                say(f"process {pid} did not stop within {timeout_s:g} s: killing it")
                os.kill(pid, signal.SIGKILL)
                deadline += timeout_s
            time.sleep(0.05)


def _end_on_ray(cluster: dict[str, object], say: Callable[[str], None]) -> None:
    """A launcher that was killed left its actors on a Ray that it had joined."""
    try:
        runtime = join_ray(str(cluster["ray_address"]))
    except StartError as error:
        say(f"its actors are gone with their Ray ({error.message})")
        return
    try:
        end_actors(str(cluster["name"]))
    finally:
        runtime.stop()
