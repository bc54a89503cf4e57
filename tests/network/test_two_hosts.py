"""Workers on two hosts of our own (network namespaces), KV over TCP: the same tokens, whatever is killed or late."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import pytest

from bench.namespaces import Host
from tests.engine.driver import greedy, run
from tests.network import drive
from workers.demo import MODEL_DIR
from workers.engine.torch import TorchEngine

END_S = 500.0
"""For a machine under heavy load; most of it goes into the starts of four workers."""


@pytest.fixture(scope="module")
def found(hosts: tuple[Host, Host]) -> dict[str, Any]:
    before = hosts[0].sent_bytes()
    command = [*hosts[0].enter, sys.executable, "-m", "tests.network.drive", json.dumps([asdict(h) for h in hosts])]
    # A group of its own: when it takes too long, its workers end with it.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            pytest.fail(f"no end within {END_S:g} s: {process.communicate()[1][-4000:]}")
    assert process.returncode == 0, err[-4000:]
    line = next(line for line in reversed(out.splitlines()) if line.startswith("{"))
    return {**json.loads(line), "crossed_bytes": hosts[0].sent_bytes() - before}


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return TorchEngine(MODEL_DIR, kv_blocks=256, prefix_cache=False, num_threads=1)


@pytest.fixture(scope="module")
def alone(engine: TorchEngine) -> list[list[int]]:
    """What one engine answers by itself."""
    return run(engine, drive.PROMPTS, greedy(drive.GREEDY.max_tokens))


def test_the_tokens_are_those_of_one_engine(found: dict[str, Any], alone: list[list[int]]) -> None:
    """And nothing is left of what was killed and expired before."""
    assert found["apart"] == alone
    assert found["left"] == {"prefill-0": [0, 0], "decode-0": [0, 0]}


def test_the_blocks_crossed_the_wire(found: dict[str, Any]) -> None:
    """Were the kernel to copy between the two processes, the wire would carry little more than tokens."""
    assert found["crossed_bytes"] > found["pulled_bytes"] > 1_000_000


@pytest.mark.parametrize("worker", ["decode", "prefill"])
def test_a_worker_killed_on_either_host_costs_no_token(found: dict[str, Any], engine: TorchEngine, worker: str) -> None:
    assert [found[f"{worker}_killed"]] == run(engine, [drive.KILLED], greedy(drive.LONG.max_tokens))


def test_leases_that_expire_cost_no_token(found: dict[str, Any], alone: list[list[int]]) -> None:
    assert found["lease"] == alone[: len(drive.LATE)]
