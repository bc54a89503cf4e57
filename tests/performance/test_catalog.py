"""The shipped catalogs, a user's own, and Hugging Face configurations."""

from __future__ import annotations

import csv
import gzip
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.performance import catalog as package
from orchestrator.performance.batch import Batch
from orchestrator.performance.catalog import Catalog, CatalogError
from orchestrator.performance.huggingface import read_shape, shape
from orchestrator.performance.latency.roofline import Roofline

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / ".." / "shared" / "profiles" / "aiconfigurator"
FILES = Path(package.__file__).parent
HARDWARE = (
    *("a100-80g", "h100", "h100-capped", "h200", "b200", "l20", "l40s", "a6000", "orin", "xavier"),
    *("spad-prefill", "spad-decode", "halo", "cpu-core"),
)
MODELS = (
    *("llama-2-7b", "llama-2-70b", "llama-3.1-8b", "llama-3.1-70b", "codellama-34b", "qwen2.5-3b", "qwen2.5-14b"),
    *("qwen3-8b", "qwen3-14b", "qwen3-32b", "r1-distill-qwen-7b", "bloom-176b", "opt-13b", "demo"),
)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


def raw(section: str) -> dict[str, dict[str, Any]]:
    return tomllib.loads((FILES / f"{section}.toml").read_text())[section]


def test_every_entry_is_there(catalog: Catalog) -> None:
    assert set(catalog.hardware_names()) == set(HARDWARE)
    assert set(catalog.model_names()) == set(MODELS)
    assert {"nvlink3", "nvlink4", "nvlink5", "infiniband-hdr", "infiniband-ndr"} <= set(catalog.link_names())


@pytest.mark.parametrize("name", HARDWARE)
def test_every_figure_of_a_device_names_its_source_in_its_own_entry(name: str) -> None:
    entry = raw("hardware")[name]
    figures = set(entry) - {"base", "sources"}
    assert figures == set(entry["sources"]), "figures and sources differ"
    assert all(isinstance(text, str) and text.strip() for text in entry["sources"].values())


@pytest.mark.parametrize("section", ["models", "links"])
def test_every_model_and_link_names_its_source(section: str) -> None:
    assert all(entry["source"].strip() for entry in raw(section).values())


def test_unknown_figures_stay_unknown(catalog: Catalog) -> None:
    halo = catalog.hardware("halo")
    assert halo.tdp_w is None and halo.price_usd is None and halo.power is None
    for name in ("spad-prefill", "spad-decode"):
        assert "float8" not in catalog.hardware(name).compute_flops
    assert "bfloat16" not in catalog.hardware("xavier").compute_flops


def test_published_figures(catalog: Catalog) -> None:
    """SPAD §3.1 and §3.2, Nexus §11, HALO §2."""
    published = {
        "a100-80g": (312e12, 2039e9, 108, 400),
        "h100": (989e12, 3352e9, 132, 700),
        "h200": (989e12, 4800e9, 132, 700),
        "b200": (2250e12, 8000e9, 148, 1000),
        "l20": (119.5e12, 864e9, 92, 275),
        "spad-prefill": (1920e12, 2048e9, 128, 596),
        "spad-decode": (540e12, 3352e9, 144, 507),
    }
    for name, figures in published.items():
        h = catalog.hardware(name)
        assert (h.compute_flops["bfloat16"], h.memory_bytes_per_s, h.sms, h.tdp_w) == figures, name
    engines = catalog.hardware("halo").in_memory
    assert engines is not None
    assert engines.dram_bytes_per_s == pytest.approx(9 * 3.35e12)
    assert engines.dram_flops == pytest.approx(2 * engines.dram_bytes_per_s)


@pytest.mark.parametrize("name", ["spad-prefill", "spad-decode", "h100"])
def test_a_chips_geometry_gives_its_rates(catalog: Catalog, name: str) -> None:
    """SPAD §4: F = C·l·sx·sy·2·f and BW = bus·pin/8."""
    device = catalog.hardware(name)
    chip = device.chip
    assert chip is not None
    tensor = chip.cores * chip.lanes * chip.array_rows * chip.array_columns * 2 * chip.tensor_ghz * 1e9
    vector = chip.cores * chip.lanes * chip.vector_width * 2 * chip.vector_ghz * 1e9
    assert device.compute_flops["bfloat16"] == pytest.approx(tensor, rel=0.002)
    assert device.compute_flops["float32"] == pytest.approx(vector, rel=0.003)
    assert device.memory_bytes_per_s == pytest.approx(chip.bus_bits * chip.pin_gbps * 1e9 / 8, rel=0.008)


def test_models_have_their_nominal_sizes(catalog: Catalog) -> None:
    """Parameter counts that the models' authors publish, in units of 10⁹."""
    nominal = {
        **{
            "llama-2-7b": 6.74,
            "llama-2-70b": 68.98,
            "llama-3.1-8b": 8.03,
            "llama-3.1-70b": 70.6,
            "codellama-34b": 33.7,
        },
        **{"qwen2.5-3b": 3.09, "qwen2.5-14b": 14.7, "qwen3-8b": 8.2, "qwen3-14b": 14.8, "qwen3-32b": 32.8},
        **{"r1-distill-qwen-7b": 7.62, "bloom-176b": 176.2, "opt-13b": 12.85},
    }
    assert set(nominal) | {"demo"} == set(MODELS)
    for name, size in nominal.items():
        assert catalog.model(name).parameters / 1e9 == pytest.approx(size, rel=0.005), name


def test_the_demo_model_is_the_one_that_ships(catalog: Catalog) -> None:
    demo, shipped = catalog.model("demo"), catalog.model(str(ROOT / "workers" / "demo" / "model"))
    for figure in type(demo).__dataclass_fields__.keys() - {"name", "source"}:
        assert getattr(demo, figure) == getattr(shipped, figure), figure


def test_one_core_decodes_the_demo_model_in_about_1_4_ms(catalog: Catalog) -> None:
    core = catalog.hardware("cpu-core")
    roofline = Roofline(core, catalog.model("demo"), dtype="float32")
    seconds = roofline.iteration_s(Batch.decode(np.array([1.0, 32.0]), np.array([80.0, 300.0])))
    assert seconds[0] == pytest.approx(1.4e-3, rel=0.05)
    assert 10e-3 < seconds[1] < 14e-3
    assert 45 * core.dispatch.operator_s > 0.6 * seconds[0], "the host dominates"


@pytest.mark.parametrize(
    ("name", "file", "tolerance"),
    [
        ("a100-80g", "a100_sxm__vllm_0.14.0", 0.01),
        ("h100", "h100_sxm__vllm_0.24.0", 0.06),
        ("h200", "h200_sxm__vllm_0.24.0", 0.06),
        ("b200", "b200_sxm__vllm_0.24.0", 0.01),
        ("l40s", "l40s__vllm_0.24.0", 0.01),
    ],
)
def test_efficiencies_are_those_of_measured_gemms(catalog: Catalog, name: str, file: str, tolerance: float) -> None:
    """Large GEMMs reach `compute` of the peak, those of few rows `memory` of the bandwidth. Hopper's are the paper's."""
    path = PROFILES / f"{file}__gemm_perf.csv.gz"
    if not path.exists():
        pytest.skip(f"no measured profiles at {path}")
    with gzip.open(path, "rt") as text:
        rows = [(r["m"], r["n"], r["k"], r["latency"]) for r in csv.DictReader(text) if r["gemm_dtype"] == "bfloat16"]
    m, n, k, ms = np.array(rows, float).T
    device = catalog.hardware(name)
    compute_s = 2 * m * n * k / device.compute_flops["bfloat16"]
    memory_s = 2 * (m * k + k * n + m * n) / device.memory_bytes_per_s
    large, thin = (compute_s > 200e-6) & (m >= 2048), (memory_s > 30e-6) & (m <= 16)
    assert min(large.sum(), thin.sum()) > 100
    assert device.efficiency.compute == pytest.approx(np.median(compute_s[large] / ms[large]) * 1e3, abs=tolerance)
    assert device.efficiency.memory == pytest.approx(np.median(memory_s[thin] / ms[thin]) * 1e3, abs=tolerance)


# A user's own file


def load(tmp_path: Path, text: str) -> Catalog:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    return Catalog.load(file)


def test_a_users_entry_overrides_its_base_field_by_field(tmp_path: Path, catalog: Catalog) -> None:
    text = """
        [hardware.h100-slow]
        base = "h100"
        tdp_w = 350
        rent_usd_per_hour = 2.5
        efficiency = { memory = 0.5 }
        sources = { rent_usd_per_hour = "my contract" }
        [hardware.tiny]
        base = "h100-slow"
        compute_flops = { int8 = 1e12 }
        [models.half]
        base = "llama-3.1-8b"
        layers = 16
        [links.wire]
        bytes_per_s = 1e9
        latency_s = 0
    """
    mine = load(tmp_path, text)
    slow, h100 = mine.hardware("h100-slow"), catalog.hardware("h100")
    assert (slow.name, slow.tdp_w, slow.rent_usd_per_hour, slow.memory_bytes) == (
        "h100-slow",
        350,
        2.5,
        h100.memory_bytes,
    )
    assert (slow.efficiency.memory, slow.efficiency.compute) == (0.5, h100.efficiency.compute)
    assert slow.sources["rent_usd_per_hour"] == "my contract"
    assert slow.sources["tdp_w"].endswith("mine.toml")
    assert slow.sources["memory_bytes"] == h100.sources["memory_bytes"]
    assert dict(mine.hardware("tiny").compute_flops) == {"int8": 1e12}, "rates of the base are gone"
    assert (mine.model("half").layers, mine.model("half").hidden) == (16, 4096)
    assert mine.model("half").source.endswith("mine.toml")
    assert mine.link("wire").bytes_per_s == 1e9
    assert catalog.hardware("h100") == mine.hardware("h100")


def test_a_users_entry_may_replace_a_shipped_one(tmp_path: Path) -> None:
    assert load(tmp_path, '[hardware.h100]\nbase = "h100"\nsms = 100').hardware("h100").sms == 100


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[hardware.x]\nbase = "h100"\nsmss = 3', ("unknown field 'smss'", "[hardware.x]", "did you mean 'sms'?")),
        ('[hardware.x]\nbase = "h10"', ("base = 'h10' names no entry", "[hardware.x]", "did you mean 'h100'?")),
        ('[hardware.x]\nbase = "h100"\ntdp_w = "700"', ("tdp_w = '700' is wrong", "make it a number")),
        ('[hardware.x]\nbase = "h100"\ntdp_w = true', ("tdp_w = True is wrong", "make it a number")),
        ('[hardware.x]\nbase = "h100"\nsms = 1.5', ("sms = 1.5 is wrong", "make it a whole number")),
        ('[hardware.x]\nbase = "h100"\ntdp_w = -1', ("tdp_w = -1 is wrong", "make it more than 0")),
        ('[hardware.x]\nbase = "h100"\ntdp_w = nan', ("tdp_w = nan is wrong", "make it more than 0")),
        ('[hardware.x]\nbase = "h100"\nusable_memory = 90', ("usable_memory = 90 is wrong", "a share of at most 1")),
        ('[hardware.x]\nbase = "h100"\nclocks_mhz = [2, 1]', ("clocks_mhz = [2, 1] is wrong", "ascending")),
        (
            '[hardware.x]\nbase = "h100"\ncompute_flops = { bf16 = 1 }',
            ("unknown dtype 'bf16'", "did you mean 'bfloat16'?"),
        ),
        ('[hardware.x]\nbase = "h100"\npower = 3', ("power = 3 is wrong", "a table of idle_w")),
        (
            '[hardware.x]\nbase = "h100"\npower = { idle = 3 }',
            ("unknown field 'idle'", "power", "did you mean 'idle_w'?"),
        ),
        ('[hardware.x]\nbase = "h100"\nsources = 3', ("sources = 3 is wrong", "make it a table")),
        ("[hardware.x]\nsms = 3", ("compute_flops is missing", "[hardware.x]", "set compute_flops")),
        ("[models.x]\nlayers = 3", ("hidden is missing", "[models.x]", "set hidden")),
        ('[models.x]\nbase = "qwen3-8b"\nkv_heads = 5', ("32 heads are no multiple of 5 KV heads", "[models.x]")),
        ('[models.x]\nbase = "qwen3-8b"\ngated = 1', ("gated = 1 is wrong", "true or false")),
        ("[links.x]\nbytes_per_s = 0\nlatency_s = 0", ("bytes_per_s = 0 is wrong", "[links.x]", "more than 0")),
        ("[links.x]\nbytes_per_s = 1", ("latency_s is missing", "[links.x]")),
        ("[link.x]\nbytes_per_s = 1", ("unknown section [link]", "did you mean 'links'?")),
        ("hardware = 3", ("hardware is no table", "[hardware.NAME]")),
        ("[hardware]\nsms = 3", ("sms is no entry", '[hardware."NAME"]')),
        ("[hardware.x\n", ("the catalog is no TOML", "line 1")),
    ],
)
def test_faults_are_one_line_with_file_entry_field_and_remedy(tmp_path: Path, text: str, says: tuple[str, ...]) -> None:
    with pytest.raises(CatalogError) as raised:
        load(tmp_path, text)
    message = str(raised.value)
    assert "\n" not in message and "mine.toml" in message
    for part in says:
        assert part in message


def test_a_catalog_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no such catalog"):
        Catalog.load(tmp_path / "gone.toml")
    with pytest.raises(CatalogError, match="cannot read the catalog"):
        Catalog.load(tmp_path)


def test_unknown_names_say_what_is_nearest(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="there is no 'H100x'; catalog of hardware; did you mean 'h100'"):
        catalog.hardware("H100x")
    with pytest.raises(
        CatalogError, match=r"there is no model 'llama3.1-8b'.*did you mean 'llama-3.1-8b'.*config.json"
    ):
        catalog.model("llama3.1-8b")
    with pytest.raises(CatalogError, match=r"did you mean 'llama-3.1-8b'"):
        catalog.model("meta-llama/Llama-3.1-8B")
    with pytest.raises(CatalogError, match="catalog of links; did you mean 'nvlink4'"):
        catalog.link("nvlinc4")


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/models/meta-llama/Llama-3.1-70B", "llama-3.1-70b"),
        ("/models/meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("/models/Qwen/Qwen2.5-14B-Instruct/config.json", "qwen2.5-14b"),
        ("/models/llama3.1-70b", "llama-3.1-70b"),
        ("/models/mixture-of-mine", None),
    ],
)
def test_a_path_that_is_not_there_may_be_a_name_of_a_hub(catalog: Catalog, path: str, near: str | None) -> None:
    with pytest.raises(CatalogError) as raised:
        catalog.model(path)
    guess = f"did you mean {near!r} of the catalog? else " if near else ""
    assert str(raised.value) == f"no such model; {path}; {guess}give a model's directory or its config.json"


# Hugging Face configurations, as published

LLAMA = {
    **{"model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32, "num_hidden_layers": 32},
    **{"intermediate_size": 11008, "vocab_size": 32000, "max_position_embeddings": 4096},
}
OPT_13B = {
    **{"model_type": "opt", "hidden_size": 5120, "num_attention_heads": 40, "num_hidden_layers": 40},
    **{"ffn_dim": 20480, "vocab_size": 50272, "max_position_embeddings": 2048, "word_embed_proj_dim": 5120},
}
BLOOM = {"model_type": "bloom", "n_layer": 70, "n_head": 112, "hidden_size": 14336, "vocab_size": 250880}
QWEN3_8B = {
    **{
        "model_type": "qwen3",
        "hidden_size": 4096,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
    **{"num_hidden_layers": 36, "intermediate_size": 12288, "vocab_size": 151936, "max_position_embeddings": 40960},
    **{"tie_word_embeddings": False},
}
QWEN25_3B = {
    **{"model_type": "qwen2", "hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 2},
    **{"num_hidden_layers": 36, "intermediate_size": 11008, "vocab_size": 151936, "max_position_embeddings": 32768},
    **{"tie_word_embeddings": True},
}


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (LLAMA, "llama-2-7b"),
        (OPT_13B, "opt-13b"),
        (BLOOM, "bloom-176b"),
        (QWEN3_8B, "qwen3-8b"),
        (QWEN25_3B, "qwen2.5-3b"),
    ],
)
def test_published_configurations_give_the_shipped_shapes(catalog: Catalog, config: dict[str, Any], name: str) -> None:
    read, shipped = shape(config, name, "test"), catalog.model(name)
    for figure in type(read).__dataclass_fields__.keys() - {"source"}:
        assert getattr(read, figure) == getattr(shipped, figure), figure


def test_other_families() -> None:
    neox = shape({**LLAMA, "model_type": "gpt_neox", "intermediate_size": 16384}, "neox", "test")
    assert not neox.gated and not neox.tied_embeddings
    gemma = shape({**LLAMA, "model_type": "gemma", "head_dim": 256, "num_key_value_heads": 16}, "gemma", "test")
    assert gemma.tied_embeddings and gemma.head_dim == 256
    mistral = shape({**LLAMA, "model_type": "mistral", "num_key_value_heads": 8}, "mistral", "test")
    assert mistral.gated and mistral.kv_heads == 8
    falcon = {"model_type": "falcon", "hidden_size": 4544, "num_hidden_layers": 32, "vocab_size": 65024}
    assert shape({**falcon, "num_attention_heads": 71, "multi_query": True}, "falcon", "test").kv_heads == 1
    gpt2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257, "n_inner": None}
    small = shape({**gpt2, "n_positions": 1024}, "gpt2", "test")
    assert (small.intermediate, small.max_tokens, small.tied_embeddings) == (3072, 1024, True)


def test_the_language_part_of_a_model_of_text_and_images() -> None:
    nested = {
        "model_type": "llava",
        "vision_config": {"hidden_size": 1},
        "text_config": LLAMA,
        "tie_word_embeddings": True,
    }
    read = shape(nested, "llava", "test")
    assert read.layers == 32 and read.tied_embeddings


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"num_local_experts": 8}, "mixtures of experts are not modelled"),
        ({"n_routed_experts": 256, "kv_lora_rank": 512}, "mixtures of experts are not modelled"),
        ({"kv_lora_rank": 512}, "multi-head latent attention is not modelled"),
        ({"num_hidden_layers": None}, "num_hidden_layers is missing"),
        ({"hidden_size": "4096"}, "hidden_size = '4096' is wrong"),
        ({"num_key_value_heads": 5}, "32 heads are no multiple of 5 KV heads"),
    ],
)
def test_what_cannot_be_modelled_is_said(change: dict[str, Any], says: str) -> None:
    with pytest.raises(CatalogError, match=says):
        shape({**LLAMA, **change}, "x", "test")


def test_paths_that_hold_no_configuration(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="no such model"):
        catalog.model(str(tmp_path / "gone"))
    broken = tmp_path / "config.json"
    for text, says in (("{", "is no JSON"), ("[1]", "is no JSON object"), ("\xff", "is no JSON")):
        broken.write_bytes(text.encode("latin-1"))
        with pytest.raises(CatalogError, match=says) as raised:
            read_shape(tmp_path)
        assert "\n" not in str(raised.value)
    broken.write_text(json.dumps(QWEN3_8B))
    assert read_shape(broken).name == tmp_path.name
    assert catalog.model(str(tmp_path)) == catalog.model(str(broken))
