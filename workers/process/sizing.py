"""How many KV blocks a worker gets when the cluster file does not say."""

from __future__ import annotations

import torch

CPU_POOL_BYTES = 256 << 20
"""A laptop runs several workers side by side, so a CPU pool is small and fixed."""
CUDA_SHARE = 0.8
"""Share of the free GPU memory, measured before the weights are loaded."""
LEAST_BLOCKS = 64


def default_block_tokens(device: str) -> int:
    """Tokens per KV block: 16 on CPU, 256 on CUDA, where paged FlashAttention kernels want long pages."""
    return 256 if device.startswith("cuda") else 16


def default_kv_blocks(device: str, block_bytes: int, weight_bytes: int) -> int:
    """Blocks that fit the budget of `device`; never fewer than 64."""
    budget = CPU_POOL_BYTES
    if device.startswith("cuda"):
        free_bytes, _ = torch.cuda.mem_get_info(torch.device(device))
        budget = int(CUDA_SHARE * free_bytes) - weight_bytes
    return max(LEAST_BLOCKS, budget // block_bytes)
