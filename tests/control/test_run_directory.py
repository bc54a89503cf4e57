"""Locks, ports and remains: what start and stop check before they act."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.control import ray_runtime
from orchestrator.control.checks import check_model, check_ports
from orchestrator.control.leftovers import end_leftovers, leftovers
from orchestrator.control.problem import StartError
from orchestrator.control.ray_runtime import start_ray
from orchestrator.control.rundir import RunDirectory
from orchestrator.control.takedown import take_down
from orchestrator.core.config import Cluster, FrontDoor, Model, Ray
from workers.host import OWNER


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "run")
    directory.prepare()
    return directory


def with_front_door(**changes: int) -> Cluster:
    spec = Cluster().spec
    front_door = dataclasses.replace(spec.front_door, **changes)  # type: ignore[arg-type]
    return Cluster(spec=dataclasses.replace(spec, front_door=front_door))


def test_second_cluster_in_a_directory_is_refused(run_dir: RunDirectory) -> None:
    assert run_dir.lock_holder() is None
    with run_dir.locked():
        assert run_dir.lock_holder() == os.getpid()
        with pytest.raises(
            StartError, match=rf"runs in .* already \(process {os.getpid()}\); stop it with `pdctl down`"
        ):
            with run_dir.locked():
                pass
    assert run_dir.lock_holder() is None


def test_run_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="choose another with --run-dir"):
        RunDirectory(tmp_path / "file" / "run").prepare()


def test_taken_port_is_named_with_its_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"port {port}: Address already in use; set spec.frontDoor.grpcPort"):
            check_ports(with_front_door(http_port=0, grpc_port=port))
    check_ports(with_front_door(http_port=0, grpc_port=port))


def test_unreachable_ray_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    spec = dataclasses.replace(Cluster().spec, ray=Ray(address=address))
    with pytest.raises(StartError, match=f"no Ray answers at {address} .*; start it with `ray start --head`"):
        start_ray(Cluster(spec=spec))


def test_ray_that_gave_up_while_it_started_is_started_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def gives_up(cluster: Cluster, directory: Path) -> None:
        if started:
            assert started[-1].poll() is not None, "what the last start left has been ended"
        started.append(subprocess.Popen(["sleep", "600"]))
        raise ray_runtime.RayletEnded("gone")

    monkeypatch.setattr(ray_runtime, "_init", gives_up)
    with pytest.raises(StartError, match="Ray does not start: gone"):
        start_ray(Cluster(), tmp_path / "ray")
    assert len(started) == ray_runtime.STARTS and started[-1].poll() is not None


def test_only_marked_processes_are_ended(run_dir: RunDirectory) -> None:
    command = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)", str(run_dir.path)]
    ours = subprocess.Popen(command, env=os.environ | {OWNER: str(run_dir.path)}, stdout=subprocess.PIPE)
    other = subprocess.Popen(command, env=os.environ | {OWNER: f"{run_dir.path}2"}, stdout=subprocess.PIPE)
    try:
        for process in (ours, other):
            assert process.stdout is not None
            process.stdout.readline()
        assert leftovers(run_dir) == [ours.pid]
        assert end_leftovers(run_dir, patience_s=0.0) == 1
        assert ours.wait(5) == -9
        assert other.poll() is None
    finally:
        for process in (ours, other):
            process.kill()
            process.communicate()


def test_down_without_a_cluster_says_so(run_dir: RunDirectory) -> None:
    with pytest.raises(StartError, match=r"no cluster runs in .*; start one with `pdctl up`"):
        take_down(run_dir, 1.0, print)


def test_down_cleans_up_after_a_killed_launcher(run_dir: RunDirectory) -> None:
    ray_directory = run_dir.path / "ray"
    ray_directory.mkdir()
    run_dir.write_cluster({"name": "gone", "ray_directory": str(ray_directory)})
    said: list[str] = []
    take_down(run_dir, 1.0, said.append)
    assert said == ["the cluster had crashed: cleaning up after it"]
    assert not run_dir.cluster_file.exists()
    assert not ray_directory.exists()


def test_default_ports_are_checked_on_the_configured_host() -> None:
    spec = dataclasses.replace(Cluster().spec, front_door=FrontDoor(host="203.0.113.7", http_port=0, grpc_port=0))
    with pytest.raises(StartError, match=r"cannot listen on 203.0.113.7 .* spec.frontDoor.host"):
        check_ports(Cluster(spec=spec))


def test_missing_model_is_found_before_anything_starts(tmp_path: Path) -> None:
    def with_model(path: Path) -> Cluster:
        return Cluster(spec=dataclasses.replace(Cluster().spec, model=Model(path=str(path))))

    with pytest.raises(StartError, match=r"no model directory .*; set spec.model.path"):
        check_model(with_model(tmp_path / "none"))
    (tmp_path / "config.json").touch()
    with pytest.raises(StartError, match=r"has no tokenizer.json"):
        check_model(with_model(tmp_path))
    check_model(Cluster())
