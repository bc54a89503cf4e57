"""The operators of a decoder-only transformer: how many FLOPs and bytes each takes on one device."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.performance.model import ModelShape


@dataclass(frozen=True, slots=True)
class Operator:
    """On n rows: `flops`·n FLOPs, and `fixed_bytes` (weights) + `row_bytes`·n bytes."""

    flops: float
    fixed_bytes: float
    row_bytes: float


@dataclass(frozen=True, slots=True)
class Attention:
    """FLOPs of one query-key pair; bytes of one query (with its output) and of one KV token."""

    pair_flops: float
    row_bytes: float
    context_bytes: float


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer in program order: norm, qkv, rope, attention, output, residual, norm, expand, activation, contract, residual.

    On several devices `reduced_bytes` per token cross each device's link after output and after contract.
    """

    norm: Operator
    qkv: Operator
    rope: Operator
    attention: Attention
    output: Operator
    expand: Operator
    activation: Operator
    contract: Operator
    residual: Operator
    reduced_bytes: float

    @property
    def fixed_bytes(self) -> float:
        """Weights."""
        return sum(operator.fixed_bytes for operator in self._token_level)

    @property
    def row_bytes(self) -> float:
        """Activations per token, attention left out."""
        return sum(operator.row_bytes for operator in self._token_level)

    @property
    def _token_level(self) -> tuple[Operator, ...]:
        twice = (self.norm, self.residual) * 2
        return (*twice, self.qkv, self.rope, self.output, self.expand, self.activation, self.contract)


def layer(model: ModelShape, tensor_parallel: int, element_bytes: float) -> Layer:
    """The share of one of `tensor_parallel` devices. KV heads are repeated where there are fewer than devices.

    Source: BestServe §3.1, DuetServe §3.
    """
    h, e = model.hidden, element_bytes
    q = model.heads // tensor_parallel * model.head_dim
    kv = max(model.kv_heads // tensor_parallel, 1) * model.head_dim
    inner = model.intermediate / tensor_parallel
    up = 2 if model.gated else 1
    return Layer(
        norm=Operator(4 * h, 0, 2 * e * h),
        qkv=gemm(h, q + 2 * kv, e),
        rope=Operator(6 * (q + kv), 0, 2 * e * (q + kv)),
        attention=Attention(4 * q, 2 * e * q, 2 * e * kv),
        output=gemm(q, h, e),
        expand=gemm(h, up * inner, e),
        activation=Operator(5 * inner, 0, (up + 1) * e * inner),
        contract=gemm(inner, h, e),
        residual=Operator(h, 0, 3 * e * h),
        reduced_bytes=2 * (tensor_parallel - 1) / tensor_parallel * e * h,
    )


def head(model: ModelShape, tensor_parallel: int, element_bytes: float) -> Operator:
    """The LM head, on one row per request that gets a token. Source: BestServe §3.1."""
    weights = model.hidden * model.vocabulary / tensor_parallel
    return Operator(2 * weights, element_bytes * weights, 0)


def gemm(inputs: float, outputs: float, element_bytes: float) -> Operator:
    """A projection of `inputs` to `outputs` features. Source: DuetServe §3."""
    weights = inputs * outputs
    return Operator(2 * weights, element_bytes * weights, element_bytes * (inputs + outputs))
