"""What a vLLM server says of itself on /metrics, as far as a worker needs it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_LINE = re.compile(rb'^vllm:(\w+)(?:\{((?:[^"}]++|"(?:[^"\\]++|\\.)*+")*+)\})? (\S+)$', re.MULTILINE)
_LABEL = re.compile(rb'(\w+)="((?:[^"\\]++|\\.)*+)"')
_SKIPPED = (b"_bucket", b"_created")


@dataclass(slots=True)
class Sample:
    """Sums over the server's engines (data-parallel ranks), by name, and by name and label where one tells them apart."""

    values: dict[str, float] = field(default_factory=dict)
    engines: int = 1
    config: dict[str, str] = field(default_factory=dict)

    def get(self, name: str) -> float:
        return self.values.get(name, 0.0)

    @property
    def kv_usage(self) -> float:
        """Share of the KV blocks that are in use, 0 to 1."""
        return self.get("kv_cache_usage_perc") / self.engines

    @property
    def steps(self) -> int:
        """Iterations since start."""
        return int(self.get("iteration_tokens_total_count"))

    @property
    def external_tokens(self) -> int:
        """Prompt tokens whose KV came from another server."""
        return int(self.get('prompt_tokens_by_source_total{source="external_kv_transfer"}'))


def read(text: bytes) -> Sample:
    """Parse the text format. Histogram buckets are left out."""
    sample = Sample()
    engines = set()
    for name, labels, value in _LINE.findall(text):
        if name.endswith(_SKIPPED):
            continue
        known = dict(_LABEL.findall(labels))
        engines.add(known.get(b"engine", b"0"))
        key = name.decode()
        if name == b"cache_config_info":
            sample.config = {k.decode(): v.decode() for k, v in known.items()}
        number = float(value)
        sample.values[key] = sample.values.get(key, 0.0) + number
        for label in (b"source", b"reason", b"finished_reason"):
            if label in known:
                by = f'{key}{{{label.decode()}="{known[label].decode()}"}}'
                sample.values[by] = sample.values.get(by, 0.0) + number
    sample.engines = max(1, len(engines))
    return sample
