"""The command line and environment of a server, and what a worker's configuration makes of them."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from workers.engine.vllm.flags import LAUNCH, ServerSpec, command, environment
from workers.engine.vllm.nixl import LEAST_LEASE_S, NixlHandoff
from workers.process import vllm_worker
from workers.process.config import ProcessConfig
from workers.process.vllm_worker import server_spec

SPEC = ServerSpec(
    python="/venv/bin/python",
    model_dir="/models/tiny",
    model_name="tiny",
    dtype="float32",
    device="cpu",
    max_model_len=None,
    kv_blocks=None,
    block_tokens=None,
    max_batch=8,
    prefill_budget_tokens=256,
    prefix_cache=True,
    num_threads=2,
    lease_s=30.0,
    kv_events=False,
    host="127.0.0.1",
    port=8001,
    side_port=8002,
    scratch=Path("/scratch"),
)


def line(**changes: Any) -> list[str]:
    return command(dataclasses.replace(SPEC, **changes), NixlHandoff())


def value(words: list[str], name: str) -> str:
    assert words.count(name) == 1
    return words[words.index(name) + 1]


def test_command_of_a_cpu_server() -> None:
    words = line()
    assert words[:2] == ["/venv/bin/python", str(LAUNCH)]
    assert LAUNCH.is_file()
    assert "--enforce-eager" in words
    for name, expected in (
        ("--model", "/models/tiny"),
        ("--served-model-name", "tiny"),
        ("--dtype", "float32"),
        ("--host", "127.0.0.1"),
        ("--port", "8001"),
        ("--max-num-seqs", "8"),
        ("--max-num-batched-tokens", "256"),
    ):
        assert value(words, name) == expected
    absent = ("--max-model-len", "--block-size", "--num-gpu-blocks-override", "--kv-events-config")
    assert not set(absent) & set(words), "left to vLLM"
    assert "--no-enable-prefix-caching" not in words
    assert json.loads(value(words, "--kv-transfer-config")) == {
        "kv_connector": "NixlConnector",
        "kv_role": "kv_both",
        "kv_buffer_device": "cpu",
        "kv_connector_extra_config": {"kv_lease_duration": 30, "num_threads": 0},
    }


def test_command_of_a_gpu_server() -> None:
    words = line(device="cuda")
    assert "--enforce-eager" not in words
    assert json.loads(value(words, "--kv-transfer-config")) == {
        "kv_connector": "NixlConnector",
        "kv_role": "kv_both",
        "kv_connector_extra_config": {"kv_lease_duration": 30},
    }


def test_sizes_that_are_given() -> None:
    words = line(max_model_len=512, block_tokens=32, kv_blocks=100, prefix_cache=False)
    assert value(words, "--max-model-len") == "512"
    assert value(words, "--block-size") == "32"
    assert value(words, "--num-gpu-blocks-override") == "100"
    assert "--no-enable-prefix-caching" in words


@pytest.mark.parametrize(("lease_s", "duration"), [(0.5, LEAST_LEASE_S), (6.2, 7), (30.0, 30)])
def test_lease_in_whole_seconds_and_long_enough(lease_s: float, duration: int) -> None:
    config = json.loads(value(line(lease_s=lease_s), "--kv-transfer-config"))
    assert config["kv_connector_extra_config"]["kv_lease_duration"] == duration


def test_events_go_over_sockets_of_this_worker() -> None:
    assert json.loads(value(line(kv_events=True), "--kv-events-config")) == {
        "enable_kv_cache_events": True,
        "publisher": "zmq",
        "endpoint": "ipc:///scratch/events",
        "replay_endpoint": "ipc:///scratch/replay",
    }


def test_what_the_user_wrote_comes_last() -> None:
    words = line(arguments="--dtype bfloat16 --hf-overrides '{\"a\": 1}'")
    assert words[-4:] == ["--dtype", "bfloat16", "--hf-overrides", '{"a": 1}']


def test_environment() -> None:
    found = environment(dataclasses.replace(SPEC, environment="OMP_NUM_THREADS=7 A='b c=d' EMPTY="))
    assert (found["OMP_NUM_THREADS"], found["A"], found["EMPTY"]) == ("7", "b c=d", "")
    assert (found["VLLM_NIXL_SIDE_CHANNEL_HOST"], found["VLLM_NIXL_SIDE_CHANNEL_PORT"]) == ("127.0.0.1", "8002")
    assert found["PYTHONPATH"] == "", "our own modules are not for vLLM"
    assert environment(dataclasses.replace(SPEC, num_threads=0))["OMP_NUM_THREADS"] == "1"
    on_gpu = environment(dataclasses.replace(SPEC, device="cuda"))
    assert not {"OMP_NUM_THREADS", "VLLM_CPU_KVCACHE_SPACE", "VLLM_ENABLE_V1_MULTIPROCESSING"} & on_gpu.keys()


def config(**own: Any) -> ProcessConfig:
    vllm = {"python": None, "kv_events": True, "args": None, "env": None} | own
    engine = {
        "device": "cpu",
        "kv_blocks": 100,
        "block_tokens": None,
        "max_batch": 4,
        "prefill_budget_tokens": 128,
        "prefix_cache": False,
        "num_threads": 3,
        "vllm": vllm,
    }
    transport = {"kind": "nixl", "lease_s": 12.0, "checksums": False}
    return ProcessConfig("w-0", 1, "/models/tiny", "tiny", engine, transport, "float32", 512, 0)


def test_server_of_a_configuration(tmp_path: Path) -> None:
    spec = server_spec(config(python="/p", args="--x 1", env="A=b"), tmp_path)
    assert spec == dataclasses.replace(
        SPEC,
        python="/p",
        max_model_len=512,
        kv_blocks=100,
        max_batch=4,
        prefill_budget_tokens=128,
        prefix_cache=False,
        num_threads=3,
        lease_s=12.0,
        kv_events=True,
        port=spec.port,
        side_port=spec.side_port,
        scratch=tmp_path,
        arguments="--x 1",
        environment="A=b",
    )
    assert spec.port != spec.side_port
    assert min(spec.port, spec.side_port) > 0
    bare = server_spec(config(), tmp_path)
    assert (bare.arguments, bare.environment) == ("", "")


def test_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_worker, "VENV", tmp_path / "python")
    assert server_spec(config(), tmp_path).python == sys.executable
    (tmp_path / "python").touch()
    assert server_spec(config(), tmp_path).python == str(tmp_path / "python")
