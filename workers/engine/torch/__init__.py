"""The reference engine: a Llama or Qwen decoder with paged KV on plain torch, CPU and CUDA."""

from workers.engine.torch.engine import TorchEngine

__all__ = ["TorchEngine"]
