"""What an engine process is told, as far as it is the same for every worker of a pool."""

from __future__ import annotations

import dataclasses
from typing import Any

from orchestrator.core.config import Cluster, Device, Pool
from workers.host import model_directory


def process_config(cluster: Cluster, pool: Pool) -> dict[str, Any]:
    """The process configuration without name, incarnation and parent: its host adds those for each run."""
    spec = cluster.spec
    model = spec.model_of(pool)
    engine = {**dataclasses.asdict(spec.engine), "kind": str(spec.engine_of(pool)), "servers": pool.servers}
    if spec.engine.device is Device.AUTO:
        engine["device"] = str(Device.CUDA if pool.resources.gpus else Device.CPU)
    return {
        "host": "127.0.0.1",
        "port": 0,
        "model_dir": str(model_directory(model.path)),
        "model_name": model.served_name,
        "engine": engine,
        "transport": dataclasses.asdict(spec.transport),
        "dtype": str(model.dtype),
        "max_len": model.max_len,
        "observability": dataclasses.asdict(spec.observability),
    }
