"""Devices and models with the constants of the papers whose figures the tests check."""

from __future__ import annotations

import dataclasses

from orchestrator.performance.hardware import Dispatch, Efficiency, Hardware
from orchestrator.performance.model import ModelShape

BESTSERVE = Efficiency(compute=0.6, memory=0.8, link=0.6)
DUETSERVE = Efficiency(compute=0.75, memory=0.85, link=0.6, saturation_share=0.5)


def device(
    name: str, flops: float, bytes_per_s: float, link: float, efficiency: Efficiency, sms: int = 132
) -> Hardware:
    return Hardware(
        name, {"bfloat16": flops, "float8": 2 * flops}, 80e9, bytes_per_s, sms, link, 50e9, efficiency=efficiency
    )


H100 = device("h100", 989e12, 3.35e12, 450e9, BESTSERVE)
A100 = device("a100", 312e12, 2.0e12, 300e9, BESTSERVE, 108)
DUET_H100 = device("h100", 989e12, 3.35e12, 450e9, DUETSERVE)
DUET_H200 = device("h200", 989e12, 4.8e12, 450e9, DUETSERVE)
# Nexus §11; 0.35 of the SMs reach the bandwidth, see test_roofline.
L20 = device("l20", 119.5e12, 864e9, 32e9, Efficiency(0.8, 0.85, 0.6, saturation_share=0.35), 92)

MODEL_34B = ModelShape("34b", 48, 8192, 64, 8, 128, 22016, 32016, 16384)
MODEL_8B = ModelShape("8b", 32, 4096, 32, 8, 128, 14336, 128256, 131072)
QWEN3_8B = ModelShape("qwen3-8b", 36, 4096, 32, 8, 128, 12288, 151936, 40960)
QWEN2_3B = ModelShape("qwen2.5-3b", 36, 2048, 16, 2, 128, 11008, 151936, 32768)
TWO_MATRICES = ModelShape("opt", 4, 1024, 16, 16, 64, 4096, 50272, 2048, gated=False)


def with_dispatch(hardware: Hardware, **seconds: float) -> Hardware:
    return dataclasses.replace(hardware, dispatch=dataclasses.replace(Dispatch(), **seconds))
