"""Sections about the model and how a worker runs it: `model`, `engine`, `transport`."""

# ruff: noqa: RUF009 (setting() returns a dataclass field)
from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

from orchestrator.core.config.settings import setting

DEMO = "demo"


class DType(StrEnum):
    """Element type of weights and KV."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class EngineKind(StrEnum):
    """Which engine a worker runs."""

    TORCH = "torch"
    VLLM = "vllm"


class Device(StrEnum):
    """Where an engine computes. `AUTO` is CUDA for workers of a pool with `resources.gpus` above 0, else the CPU."""

    CPU = "cpu"
    CUDA = "cuda"
    AUTO = "auto"


class TransportKind(StrEnum):
    """How KV blocks move between workers."""

    NIXL = "nixl"
    GLOO = "gloo"
    NCCL = "nccl"


@dataclass(frozen=True, slots=True)
class Model:
    """Which model is served. A relative `path` in a file is taken from that file's directory and stored absolute."""

    path: str = setting("`demo` for the model that ships with Tandem, or a Hugging Face model directory", DEMO)
    name: str | None = setting("name that clients ask for; the directory's name if absent", None)
    dtype: DType = setting("element type of weights and KV", DType.FLOAT32)
    max_len: int | None = setting("longest prompt + output in tokens; the model's own limit if absent", None, minimum=2)

    @property
    def served_name(self) -> str:
        """The name in `/v1/models`."""
        return self.name or PurePath(self.path).name

    @property
    def is_demo(self) -> bool:
        """True for the bundled model, whose directory only `workers.demo` knows."""
        return self.path == DEMO


@dataclass(frozen=True, slots=True)
class Vllm:
    """The vLLM servers that workers start; see docs/engines/vllm.md."""

    python: str | None = setting(
        "interpreter of the environment with vLLM; Tandem's own if absent, or `.venv-vllm` where `make setup-vllm` made it",
        None,
    )
    args: str | None = setting("more of vLLM's command line, as in a shell; wins over what Tandem says", None)
    env: str | None = setting("more of its environment: NAME=VALUE pairs, as in a shell", None)
    kv_events: bool = setting("learn from its KV events which prefixes it holds; without them that is assumed", True)
    start_timeout_s: float = setting(
        "how long a server may take to load, compile and answer, in seconds", 900.0, minimum=1, maximum=86400
    )


@dataclass(frozen=True, slots=True)
class Engine:
    """How each worker runs the model. `None` leaves a size to the engine, which knows the device's memory."""

    kind: EngineKind = setting("torch, or vllm: a vLLM server for each worker", EngineKind.TORCH)
    device: Device = setting("cpu, cuda, or auto: cuda for pools with resources.gpus above 0", Device.AUTO)
    kv_blocks: int | None = setting("KV blocks per worker; sized to memory if absent", None, minimum=8, maximum=2**24)
    block_tokens: int | None = setting(
        "tokens per KV block; what the attention kernel wants (16 on CPU) if absent", None, minimum=1, maximum=1024
    )
    max_batch: int = setting("requests that run at once on a worker", 64, minimum=1, maximum=4096)
    prefill_budget_tokens: int = setting(
        "prompt tokens in one iteration until a multiplexing policy is in force", 2048, minimum=1, maximum=2**20
    )
    prefix_cache: bool = setting("reuse the KV of prompt prefixes", True)
    num_threads: int = setting("CPU threads per worker; 0 leaves it to the engine", 1, minimum=0, maximum=1024)
    vllm: Vllm = setting("of the engine `vllm`", factory=Vllm)


@dataclass(frozen=True, slots=True)
class Transport:
    """How KV moves from prefill to decode workers."""

    kind: TransportKind = setting("nixl (DRAM and VRAM), gloo (CPU) or nccl (CUDA)", TransportKind.NIXL)
    lease_s: float = setting(
        "how long a prefill worker holds blocks that nobody pulls, in seconds", 30.0, minimum=0.1, maximum=3600
    )
    checksums: bool = setting("verify every block after a pull; for debugging, costs CPU time", False)
