"""SIGKILL while eight streams run: every stream ends with exactly the tokens of the undisturbed run."""

import os
import signal

import grpc
import pytest

from pd.v1 import admin_pb2, admin_pb2_grpc
from tests.live.streams import disturbed, undisturbed

pytestmark = pytest.mark.cluster
RUNS = int(os.environ.get("TANDEM_KILL_RUNS", "1"))
"""Seeded runs per victim; the full campaign is 10."""


@pytest.fixture(scope="module")
def expected():
    return {}


@pytest.mark.parametrize("seed", range(RUNS))
@pytest.mark.parametrize("victim", ["decode-0", "prefill-0"])
async def test_worker_killed(live, expected, victim, seed):
    live.wait_ready()
    if "answers" not in expected:
        expected["answers"] = await undisturbed(live.url)
    before = live.workers()[victim]
    answers = await disturbed(live.url, seed, lambda: live.kill(victim))
    assert answers == expected["answers"]
    live.wait("restart", lambda: live.workers()[victim]["incarnation"] > before["incarnation"])
    live.wait_ready()
    live.wait("idle", live.idle, 10)
    live.pdctl("check")


@pytest.mark.parametrize("seed", range(RUNS))
async def test_controller_killed(live, expected, seed):
    live.wait_ready()
    if "answers" not in expected:
        expected["answers"] = await undisturbed(live.url)
    pids = {name: worker["pid"] for name, worker in live.workers().items()}
    controller = controller_pid(live)
    answers = await disturbed(live.url, seed, lambda: os.kill(controller, signal.SIGKILL))
    assert answers == expected["answers"]
    live.wait("a new controller", lambda: controller_pid(live) not in (0, controller))
    assert {name: worker["pid"] for name, worker in live.workers().items()} == pids
    live.pdctl("check")


def controller_pid(live):
    with grpc.insecure_channel(live.grpc) as channel:
        return admin_pb2_grpc.AdminStub(channel).GetCluster(admin_pb2.GetClusterRequest(), timeout=10).controller_pid
