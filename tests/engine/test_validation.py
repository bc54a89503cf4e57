"""Models and requests that cannot run are refused with a reason."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.sampling import Sampling
from tests.engine.conftest import Case
from tests.engine.driver import greedy, request
from tests.engine.models import save_model
from workers.engine.base import Invalid, Key
from workers.engine.torch import TorchEngine
from workers.engine.torch.config import ModelConfig

RAW = {
    "model_type": "llama",
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


def test_old_and_new_rope_keys_mean_the_same() -> None:
    scaling = {"factor": 4.0, "rope_type": "linear"}
    old = ModelConfig.parse({**RAW, "rope_theta": 5e5, "rope_scaling": scaling})
    older = ModelConfig.parse({**RAW, "rope_theta": 5e5, "rope_scaling": {"factor": 4.0, "type": "linear"}})
    new = ModelConfig.parse({**RAW, "rope_parameters": {**scaling, "rope_theta": 5e5}})
    assert old.rope == older.rope == new.rope
    assert old.rope != ModelConfig.parse(RAW).rope


def test_end_tokens_of_both_files() -> None:
    config = ModelConfig.parse({**RAW, "eos_token_id": 2}, {"eos_token_id": [5, 2]})
    assert config.eos_token_ids == (5, 2)
    assert ModelConfig.parse({**RAW, "eos_token_id": None}).eos_token_ids == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mamba"}, "'mamba' is not supported"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"num_key_value_heads": 3}, "not a multiple"),
        ({"num_hidden_layers": None}, "num_hidden_layers must be a positive integer"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "'dynamic' is not supported"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}, "'llama3' lacks 'low_freq_factor'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
    ],
)
def test_config_that_cannot_run(change: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        ModelConfig.parse({**RAW, **change})


def test_model_directory_that_cannot_run(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"config\.json does not exist"):
        TorchEngine(tmp_path, kv_blocks=8)
    model = tmp_path / "model"
    save_model(model, shard="60KB")
    index = model / "model.safetensors.index.json"
    content = json.loads(index.read_text())

    def broken(name: str, file: str | None = None) -> Path:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(model, copy)
        weight_map = {k: v for k, v in content["weight_map"].items() if k != name or file}
        if file:
            weight_map[name] = file
        (copy / index.name).write_text(json.dumps({"weight_map": weight_map}))
        return copy

    with pytest.raises(Invalid, match=r"model\.layers\.1\.mlp\.up_proj\.weight is missing"):
        TorchEngine(broken("model.layers.1.mlp.up_proj.weight"), kv_blocks=8)
    with pytest.raises(Invalid, match=r"gone\.safetensors does not exist"):
        TorchEngine(broken("model.norm.weight", "gone.safetensors"), kv_blocks=8)
    copy = broken("")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "intermediate_size": 95}))
    with pytest.raises(Invalid, match=r"shape \(96, 64\), config\.json wants \(95, 64\)"):
        TorchEngine(copy, kv_blocks=8)
    (copy / "config.json").write_text("{")
    with pytest.raises(Invalid, match="cannot be read"):
        TorchEngine(copy, kv_blocks=8)
    for file in copy.glob("*.safetensors*"):
        file.unlink()
    shutil.copy(model / "config.json", copy)
    with pytest.raises(Invalid, match=r"has neither model\.safetensors nor"):
        TorchEngine(copy, kv_blocks=8)


def test_imports_stay_light() -> None:
    """The engine runs on machines that have torch and numpy, but neither the control plane nor its configuration."""
    code = "import sys, workers.engine.torch; print({'ray', 'grpc', 'yaml', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_options_that_cannot_be(llama: Case, engine_of: Any) -> None:
    with pytest.raises(Invalid, match="dtype 'int4'"):
        engine_of(llama, dtype="int4")
    with pytest.raises(Invalid, match="exceeds the model's 1024"):
        engine_of(llama, max_model_len=1025)
    with pytest.raises(Invalid, match="raise kv_blocks"):
        engine_of(llama, max_model_len=161, kv_blocks=10)
    with pytest.raises(Invalid, match="must be positive"):
        engine_of(llama, max_batch=0)
    assert engine_of(llama).max_model_len == 1024
    assert engine_of(llama, kv_blocks=10).max_model_len == 160


def test_requests_that_can_never_run(llama: Case, engine_of: Any) -> None:
    engine = engine_of(llama, kv_blocks=4)
    for tokens, sampling, first_index, message in (
        ([], greedy(1), 0, "1 to 63"),
        ([1] * 64, greedy(1), 0, "a context of 64 tokens"),
        ([1, 320], greedy(1), 0, "outside 0 to 319"),
        ([-1], greedy(1), 0, "outside 0 to 319"),
        ([1], greedy(0), 0, "max_tokens 0"),
        ([1, 2], greedy(3), 3, "first_index 3"),
    ):
        with pytest.raises(Invalid, match=message):
            engine.submit(request("a", tokens, sampling, first_index))
        engine.check_integrity()
    assert not engine.has_work()
    engine.submit(request("a", [1], greedy(1)))
    with pytest.raises(Invalid, match="already known"):
        engine.submit(request("a", [1], greedy(1)))
    engine.reserve(Key("b", 0), 10)
    with pytest.raises(Invalid, match="kv_tokens 11"):
        engine.attach(request("b", [1] * 20, Sampling(), 1), 11)
    assert engine.reserved(Key("b", 0)).tokens == 10
