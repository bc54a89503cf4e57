"""A worker whose engine computes in its own process."""

from __future__ import annotations

from pathlib import Path

import torch

from pd.v1 import worker_pb2 as pb
from workers.engine.torch.config import ModelConfig
from workers.engine.torch.engine import DTYPES, TorchEngine
from workers.process.config import ProcessConfig
from workers.process.loop import EngineLoop
from workers.process.running import Running
from workers.process.sizing import default_block_tokens, default_kv_blocks
from workers.process.worker_spans import worker_spans
from workers.transfer.factory import make_transport


def build_engine(config: ProcessConfig) -> TorchEngine:
    """The torch engine as the cluster file describes it; sizes that it leaves out fit the device."""
    engine, model_dir = config.engine, Path(config.model_dir)
    device = engine["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    block_tokens = engine["block_tokens"] or default_block_tokens(device)
    model = ModelConfig.load(model_dir)
    block_bytes = model.layers * 2 * block_tokens * model.kv_heads * model.head_dim * DTYPES[config.dtype].itemsize
    weight_bytes = sum(file.stat().st_size for file in model_dir.glob("*.safetensors"))
    return TorchEngine(
        model_dir,
        device=device,
        dtype=config.dtype,
        kv_blocks=engine["kv_blocks"] or default_kv_blocks(device, block_bytes, weight_bytes),
        block_tokens=block_tokens,
        max_batch=engine["max_batch"],
        prefill_budget_tokens=engine["prefill_budget_tokens"],
        max_model_len=config.max_len,
        prefix_cache=engine["prefix_cache"],
        lease_s=config.transport["lease_s"],
        num_threads=engine["num_threads"] or None,
    )


async def run_torch(config: ProcessConfig) -> Running:
    """Load the model and start the engine thread."""
    engine = build_engine(config)
    transport = make_transport(
        config.transport["kind"],
        config.peer_name,
        engine.pool,
        host=config.host,
        checksums=config.transport["checksums"],
    )
    loop = EngineLoop(engine, transport, worker_spans(config))
    loop.start()
    description = pb.WorkerDescription(
        engine="torch",
        device=str(engine.pool.data.device),
        block_tokens=engine.stats.block_tokens,
        block_bytes=engine.pool.block_bytes,
        kv_total_blocks=engine.stats.kv_total_blocks,
        max_model_len=engine.max_model_len,
        versions={"torch": torch.__version__},
        kv_layout=engine.kv_layout(),
    )
    return Running(loop, description)
