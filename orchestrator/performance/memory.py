"""What a model takes of a device's memory, and how much KV fits beside it."""

from __future__ import annotations

from orchestrator.core.config.problems import did_you_mean
from orchestrator.performance.dtype import ELEMENT_BYTES
from orchestrator.performance.error import CatalogError
from orchestrator.performance.hardware import Hardware
from orchestrator.performance.model import ModelShape

DEGREES = (1, 2, 4, 8)


def element_bytes(dtype: str) -> float:
    """Bytes of one number. Raises CatalogError for an unknown dtype."""
    if dtype not in ELEMENT_BYTES:
        raise CatalogError(f"unknown dtype {dtype!r}", "catalog of dtypes", did_you_mean(dtype, ELEMENT_BYTES))
    return ELEMENT_BYTES[dtype]


def weight_bytes(model: ModelShape, dtype: str, tensor_parallel: int = 1) -> float:
    """Bytes of the weights on each of `tensor_parallel` devices; KV projections are repeated where there are fewer KV heads."""
    kv_projections = 2 * model.layers * model.hidden * model.head_dim * model.kv_heads
    split = (model.parameters - kv_projections) / tensor_parallel
    return (split + kv_projections * _kv_share(model, tensor_parallel)) * element_bytes(dtype)


def kv_bytes_per_token(model: ModelShape, dtype: str, tensor_parallel: int = 1) -> float:
    """KV bytes of one token on each device: its KV heads, at least one."""
    return model.kv_bytes_per_token(element_bytes(dtype)) * _kv_share(model, tensor_parallel)


def activation_bytes(model: ModelShape, dtype: str, tokens: int, tensor_parallel: int = 1) -> float:
    """Bytes that an iteration of `tokens` holds at once on each device: residual, its norm, and the widest of QKV and FFN."""
    qkv = model.head_dim * (model.heads / tensor_parallel + 2 * model.kv_heads * _kv_share(model, tensor_parallel))
    ffn = (2 if model.gated else 1) * model.intermediate / tensor_parallel
    return tokens * (2 * model.hidden + max(qkv, ffn)) * element_bytes(dtype)


def kv_capacity_tokens(
    hardware: Hardware,
    model: ModelShape,
    dtype: str = "bfloat16",
    tensor_parallel: int = 1,
    utilization: float | None = None,
    *,
    kv_dtype: str | None = None,
    activation_tokens: int = 0,
) -> int:
    """KV tokens that `tensor_parallel` devices hold together beside the weights and the activations of `activation_tokens`.

    `utilization` is the usable share of memory (None: the catalog's). Raises CatalogError where not one token fits, naming the
    smallest tensor parallel that would do. Source: BestServe §4.3, SPAD §5.2.
    """
    _must_divide(model, tensor_parallel)
    share = hardware.usable_memory if utilization is None else utilization
    if not 0 < share <= 1:
        raise CatalogError(
            f"utilization = {share} is wrong", f"hardware {hardware.name}", "make it a share above 0, at most 1"
        )
    usable = hardware.memory_bytes * share

    def left(degree: int) -> float:
        return usable - _fixed(model, dtype, degree, activation_tokens)

    def per_token(degree: int) -> float:
        return kv_bytes_per_token(model, kv_dtype or dtype, degree)

    tokens = int(left(tensor_parallel) // per_token(tensor_parallel))
    if tokens >= 1:
        return tokens
    fitting = [d for d in DEGREES if d > tensor_parallel and divides(model, d) and left(d) >= per_token(d)]
    least = (_fixed(model, dtype, tensor_parallel, activation_tokens) + per_token(tensor_parallel)) / share
    larger = f"a device with more than {least / 1e9:.1f} GB"
    needed, there = _fixed(model, dtype, tensor_parallel, activation_tokens) / 1e9, usable / 1e9
    raise CatalogError(
        f"{model.name} in {dtype} needs {needed:.1f} GB and room for KV on each device, of which {there:.1f} GB are usable",
        f"hardware {hardware.name}, tensor parallel {tensor_parallel}",
        f"use tensor parallel {fitting[0]} or {larger}" if fitting else f"use {larger}",
    )


def divides(model: ModelShape, tensor_parallel: int) -> bool:
    """Whether the model can be split so: heads divide evenly, and KV heads divide or repeat evenly."""
    whole, repeated = model.kv_heads % tensor_parallel == 0, tensor_parallel % model.kv_heads == 0
    return model.heads % tensor_parallel == 0 and (whole or repeated)


def _must_divide(model: ModelShape, tensor_parallel: int) -> None:
    if tensor_parallel < 1 or not divides(model, tensor_parallel):
        can = ", ".join(str(d) for d in DEGREES if divides(model, d))
        what = f"{model.heads} heads and {model.kv_heads} KV heads cannot be split over {tensor_parallel} devices"
        raise CatalogError(what, f"model {model.name}", f"use tensor parallel {can}")


def _fixed(model: ModelShape, dtype: str, tensor_parallel: int, activation_tokens: int) -> float:
    activations = activation_bytes(model, dtype, activation_tokens, tensor_parallel)
    return weight_bytes(model, dtype, tensor_parallel) + activations


def _kv_share(model: ModelShape, tensor_parallel: int) -> float:
    """A device's share of the KV heads: one of them at least."""
    return max(1 / tensor_parallel, 1 / model.kv_heads)
