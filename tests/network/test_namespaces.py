"""Namespaces of runs that were killed do not pile up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.namespaces import Host, remove_stale

NAMES = Path("/run/netns")


def test_a_killed_run_leaves_nothing_for_long(hosts: tuple[Host, Host]) -> None:
    script = (
        "from bench.namespaces import two_hosts\nwith two_hosts() as hosts: print(hosts[0].name, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        remove_stale()
        assert (NAMES / name).exists(), "its maker lives"
        other.kill()
    assert (NAMES / name).exists()
    remove_stale()
    assert not (NAMES / name).exists()
    assert all((NAMES / host.name).exists() for host in hosts)
