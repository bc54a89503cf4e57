"""Which engine of a memory-centric accelerator runs what. Source: HALO §5."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Engine(Enum):
    """Compute at the DRAM banks (CiD), or in SRAM arrays that load their operands first (CiM)."""

    DRAM = "dram"
    ARRAY = "array"


class Mapping(Enum):
    """Fixed by phase and operator, or per operator the faster engine.

    AttAcc and CENT are mappings on the same hardware, not the machines of those names.
    """

    HALO = "halo"
    CENT = "cent"
    ATTACC = "attacc"
    CIM = "cim"
    FASTEST = "fastest"


@dataclass(frozen=True, slots=True)
class Assignment:
    """Engines of a mapping; None is the faster for the operator at hand, `map(op)` in the source.

    The LM head, one row for each produced token, runs where `decode_linear` does.
    """

    prefill_linear: Engine | None = None
    prefill_attention: Engine | None = None
    decode_linear: Engine | None = None
    decode_attention: Engine | None = None


ASSIGNMENTS = {
    Mapping.HALO: Assignment(Engine.ARRAY, Engine.ARRAY, Engine.DRAM, Engine.DRAM),
    Mapping.CENT: Assignment(Engine.DRAM, Engine.DRAM, Engine.DRAM, Engine.DRAM),
    Mapping.ATTACC: Assignment(Engine.ARRAY, Engine.ARRAY, Engine.ARRAY, Engine.DRAM),
    Mapping.CIM: Assignment(Engine.ARRAY, Engine.ARRAY, Engine.ARRAY, Engine.ARRAY),
    Mapping.FASTEST: Assignment(),
}
