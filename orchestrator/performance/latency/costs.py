"""Operators as seconds: what a device at some point needs per row, per weight read and per token of context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple

from orchestrator.performance.hardware import Dispatch
from orchestrator.performance.latency.dispatch import Number
from orchestrator.performance.latency.operators import Layer, Operator
from orchestrator.performance.latency.row import Row


class Rates(NamedTuple, Generic[Number]):
    """What is achieved: FLOP/s, bytes/s, link bytes/s; and the rows that a GEMM loses to its ramp-up."""

    compute: Number
    memory: Number
    link: float
    ramp_tokens: Number


class Gemm(NamedTuple, Generic[Number]):
    """On n rows: max(compute·n + ramp, weights + row·n) seconds."""

    compute: Number
    ramp: Number
    weights: Number
    row: Number


class Costs(NamedTuple, Generic[Number]):
    """Seconds. Vector operators take coefficient·n + `kernel` on n rows.

    Attention takes `pair` per query-key pair to compute, `query` per row and `context` per KV token to read; a decoded token
    needs `read` per KV token of its context, the longer of both; `kernel` comes on top. All-reduce takes `reduce_fixed` + `reduce_row`·n.
    """

    norm: Number
    rope: Number
    activation: Number
    residual: Number
    qkv: Gemm[Number]
    output: Gemm[Number]
    expand: Gemm[Number]
    contract: Gemm[Number]
    head: Gemm[Number]
    pair: Number
    query: Number
    context: Number
    read: Number
    reduce_fixed: float
    reduce_row: float
    kernel: float


def costs(
    layer: Layer, head: Operator, rates: Rates[Number], dispatch: Dispatch, maximum: Callable[[Number, Number], Number]
) -> Costs[Number]:
    """Divide the work of each operator by what the device achieves, and add what every kernel and collective takes besides."""

    def vector(operator: Operator) -> Number:
        return maximum(operator.flops / rates.compute, operator.row_bytes / rates.memory)

    def gemm(operator: Operator) -> Gemm[Number]:
        compute = operator.flops / rates.compute
        weights, row = operator.fixed_bytes / rates.memory, operator.row_bytes / rates.memory
        return Gemm(compute, compute * rates.ramp_tokens + dispatch.kernel_s, weights + dispatch.kernel_s, row)

    pair, context = layer.attention.pair_flops / rates.compute, layer.attention.context_bytes / rates.memory
    alone = layer.reduced_bytes == 0
    return Costs(
        norm=vector(layer.norm),
        rope=vector(layer.rope),
        activation=vector(layer.activation),
        residual=vector(layer.residual),
        qkv=gemm(layer.qkv),
        output=gemm(layer.output),
        expand=gemm(layer.expand),
        contract=gemm(layer.contract),
        head=gemm(head),
        pair=pair,
        query=layer.attention.row_bytes / rates.memory,
        context=context,
        read=maximum(pair, context),
        reduce_fixed=0.0 if alone else dispatch.collective_s,
        reduce_row=0.0 if alone else layer.reduced_bytes / rates.link,
        kernel=dispatch.kernel_s,
    )


class Work(NamedTuple, Generic[Number]):
    """Seconds of a layer's operators in program order up to attention and after it, of attention's reads of the decode context,
    which come on top, and of the LM head."""

    before: list[Number]
    after: list[Number]
    context: Number
    head: Number


def work(c: Costs[Number], row: Row[Number], maximum: Callable[[Number, Number], Number]) -> Work[Number]:
    """The fields of a `Batch`, for floats and for arrays alike. Both phases share the token-level operators."""
    tokens, pairs, context, prefills, decodes, decode_context = row
    n, m = tokens + decodes, prefills + decodes
    (
        norm,
        rope,
        activation,
        residual,
        qkv,
        output,
        expand,
        contract,
        head,
        pair,
        query,
        cached,
        read,
        fixed,
        wire,
        kernel,
    ) = c
    compute, ramp, weights, each = qkv
    qkv_s = maximum(compute * n + ramp, weights + each * n)
    compute, ramp, weights, each = output
    output_s = maximum(compute * n + ramp, weights + each * n)
    compute, ramp, weights, each = expand
    expand_s = maximum(compute * n + ramp, weights + each * n)
    compute, ramp, weights, each = contract
    contract_s = maximum(compute * n + ramp, weights + each * n)
    compute, ramp, weights, each = head
    head_s = maximum(compute * m + ramp, weights + each * m)
    attention_s = maximum(pair * pairs, query * tokens + cached * context) + query * decodes + kernel
    norm_s, residual_s = norm * n + kernel, residual * n + kernel
    before = [norm_s, qkv_s, rope * n + kernel, attention_s]
    after = [output_s, residual_s, norm_s, expand_s, activation * n + kernel, contract_s, residual_s]
    if fixed or wire:
        reduce_s = fixed + wire * n
        after = [
            output_s,
            reduce_s,
            residual_s,
            norm_s,
            expand_s,
            activation * n + kernel,
            contract_s,
            reduce_s,
            residual_s,
        ]
    return Work(before, after, read * decode_context, head_s)


def device_s(done: Work[Number], layers: int) -> Number:
    """All of it, as if nothing waited for the host."""
    total = done.head + layers * done.context
    for operator_s in done.before:
        total = total + layers * operator_s
    for operator_s in done.after:
        total = total + layers * operator_s
    return total
