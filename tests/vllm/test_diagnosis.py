"""Why a server ended, out of what vLLM and what it stands on print."""

from __future__ import annotations

import pytest

from workers.engine.vllm.diagnosis import diagnose, stage_of

BEFORE = [
    "INFO 11-22 00:00:00 [loader.py:1] Starting to load model tiny...",
    "Loading safetensors checkpoint shards:   0% Completed | 0/1 [00:00<?, ?it/s]",
    "WARNING 11-22 00:00:00 [interface.py:1] Failed to import from vllm._C: ModuleNotFoundError(\"No module named 'vllm._C'\")",
]
"""Of a start in which nothing is wrong yet."""


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ValueError: No common block size for 24.", "no blocks of that size"),
        ("/usr/bin/python: Error while finding module specification (ModuleNotFoundError: No module named 'vllm')", ""),
        ("ModuleNotFoundError: No module named 'vllm'", "vLLM is not installed there"),
        ("RuntimeError: NIXL is not available", "NIXL is not installed"),
        ("ModuleNotFoundError: No module named 'nixl'", "NIXL is not installed"),
        ("OSError: [Errno 98] Address already in use", "one of its ports is taken"),
        ("OSError: [Errno 98] error while attempting to bind on address: address already in use", "ports is taken"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "the GPU's memory"),
        ("ValueError: No available memory for the cache blocks.", "the GPU's memory"),
        ("ValueError: Free memory on device is less than desired GPU memory utilization (0.9)", "the GPU's memory"),
        ("ValueError: The model's max seq len (4096) is larger than the maximum number of tokens", "full length"),
        ("ValueError: 2 GiB KV cache is needed, which is larger than the available KV cache memory", "full length"),
        ("ImportError: libcuda.so.1: cannot open shared object file", "finds no GPU"),
        ("RuntimeError: Found no NVIDIA driver on your system.", "finds no GPU"),
        ("RuntimeError: No CUDA GPUs are available", "finds no GPU"),
        ("api_server.py: error: unrecognized arguments: --nonsense", "does not know an option"),
        ("api_server.py: error: argument --dtype: invalid choice: 'x'", "does not know an option"),
        ("ValueError: Model architectures ['X'] are not supported for now.", "does not know this model's architecture"),
        (
            "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge",
            "load the model's files",
        ),
        ("OSError: [Errno 2] No such file or directory: '/m/config.json'", "load the model's files"),
        ("RuntimeError: Cannot find any model weights with `/m`", "load the model's files"),
        ("ValueError: Invalid repository ID or local directory specified: '/m'.", "load the model's files"),
    ],
)
def test_known_causes(line: str, cause: str) -> None:
    found = diagnose([*BEFORE, line, "RuntimeError: Engine core initialization failed. See root cause above."])
    assert cause in found
    assert "; " in found, "a remedy follows"


def test_the_last_error_where_the_cause_is_not_known() -> None:
    lines = [*BEFORE, "KeyError: 'first'", "(EngineCore pid=7) ValueError: odd thing  ", "INFO shutting down"]
    follows = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
    assert diagnose([*lines, follows]) == "ValueError: odd thing"


@pytest.mark.parametrize("lines", [[], ["INFO all is well", "INFO bye"]])
def test_nothing_to_say(lines: list[str]) -> None:
    assert diagnose(lines) == ""


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        ("INFO 11-22 [gpu_model_runner.py:1] Starting to load model /m...", "loading weights"),
        ("INFO 11-22 [default_loader.py:1] Loading weights took 0.42 seconds", "weights are loaded"),
        ("INFO [kv_cache_utils.py:1] GPU KV cache size: 12,000 tokens", "KV cache is allocated"),
        ("INFO [kv_cache_utils.py:1] CPU KV cache size: 12,000 tokens", "KV cache is allocated"),
        ("INFO:     Application startup complete.", "serving"),
        ("INFO:     Started server process [7]", ""),
    ],
)
def test_stages_of_a_start(line: str, stage: str) -> None:
    assert stage_of(line) == stage
