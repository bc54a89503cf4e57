"""The command line and environment of a vLLM server that a worker starts."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from workers.engine.vllm.handoff import Handoff

LAUNCH = Path(__file__).with_name("launch.py")
CPU_KV_GIB = "1"
"""A laptop runs several workers side by side."""

FORMS = {"backend": "guidance", "disable_any_whitespace": True}
"""The grammars of Tandem's own engine: the same library, and JSON without spaces that cost tokens."""


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """What a server shall be. `device` is cpu or cuda; sizes that are None are left to vLLM."""

    python: str
    model_dir: str
    model_name: str
    dtype: str
    device: str
    max_model_len: int | None
    kv_blocks: int | None
    block_tokens: int | None
    max_batch: int
    prefill_budget_tokens: int
    prefix_cache: bool
    num_threads: int
    lease_s: float
    kv_events: bool
    host: str
    port: int
    side_port: int
    scratch: Path
    """A directory of this worker alone, for sockets."""
    arguments: str = ""
    environment: str = ""

    @property
    def on_cpu(self) -> bool:
        return self.device == "cpu"

    @property
    def events_endpoint(self) -> str:
        # vLLM connects to a TCP address that names a host, and binds an ipc one.
        return f"ipc://{self.scratch}/events"

    @property
    def replay_endpoint(self) -> str:
        return f"ipc://{self.scratch}/replay"


def command(spec: ServerSpec, handoff: Handoff) -> list[str]:
    """What the user wrote in `arguments` comes last, so that it wins."""
    line = [spec.python, str(LAUNCH)]
    line += ["--model", spec.model_dir, "--served-model-name", spec.model_name, "--dtype", spec.dtype]
    line += ["--host", spec.host, "--port", str(spec.port), "--disable-uvicorn-access-log"]
    line += ["--max-num-seqs", str(spec.max_batch), "--max-num-batched-tokens", str(spec.prefill_budget_tokens)]
    line += ["--enable-prompt-tokens-details", "--enable-scale-out", "--structured-outputs-config", json.dumps(FORMS)]
    if spec.on_cpu:
        line.append("--enforce-eager")
    if spec.max_model_len is not None:
        line += ["--max-model-len", str(spec.max_model_len)]
    if spec.block_tokens is not None:
        line += ["--block-size", str(spec.block_tokens)]
    if spec.kv_blocks is not None:
        line += ["--num-gpu-blocks-override", str(spec.kv_blocks)]
    if not spec.prefix_cache:
        line.append("--no-enable-prefix-caching")
    line += ["--kv-transfer-config", json.dumps(handoff.server_config(spec.lease_s, spec.on_cpu))]
    if spec.kv_events:
        events = {"enable_kv_cache_events": True, "publisher": "zmq", "endpoint": spec.events_endpoint}
        line += ["--kv-events-config", json.dumps({**events, "replay_endpoint": spec.replay_endpoint})]
    return [*line, *shlex.split(spec.arguments)]


def environment(spec: ServerSpec) -> dict[str, str]:
    """Added to that of the worker; what the user wrote wins."""
    found = {
        "VLLM_NIXL_SIDE_CHANNEL_HOST": spec.host,
        "VLLM_NIXL_SIDE_CHANNEL_PORT": str(spec.side_port),
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": "",
    }
    if spec.on_cpu:
        found |= {
            # Two processes would exchange every token, and with one core each that costs more than the model.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_CPU_KVCACHE_SPACE": CPU_KV_GIB,
            "OMP_NUM_THREADS": str(max(1, spec.num_threads)),
            "TANDEM_VLLM_ON_CPU": "1",
        }
    for pair in shlex.split(spec.environment):
        name, _, value = pair.partition("=")
        found[name] = value
    return found
