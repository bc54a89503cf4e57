"""Valid configurations: defaults, paths, round trips, the schema, and the examples."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.cluster import Role
from orchestrator.core.config import (
    Cluster,
    Device,
    Engine,
    FrontDoor,
    Metadata,
    Model,
    Policies,
    PolicyChoice,
    Pool,
    Resources,
    Spec,
    State,
    StateKind,
    Tier,
    dump,
    json_schema,
    load,
    loads,
    parse,
)
from orchestrator.core.config.settings import camel, snake
from orchestrator.policies.registry import catalog
from tests.config.test_bad_configurations import CASES

HEAD = "apiVersion: pd/v1\nkind: Cluster\n"
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("text", [HEAD, HEAD + "spec:\n", HEAD + "metadata: {}\nspec: {}\n", HEAD + "spec: {engine: }"])
def test_an_empty_spec_is_the_default(text: str) -> None:
    assert loads(text, catalog()) == Cluster()


def test_the_default_is_one_prefill_and_two_decode_workers_of_the_demo_model() -> None:
    spec = Cluster().spec
    assert [(p.role, p.count) for p in spec.pools] == [(Role.PREFILL, 1), (Role.DECODE, 2)]
    assert spec.model.is_demo and spec.model.served_name == "demo"
    assert spec.transport.kind == "nixl" and spec.state.kind == "sqlite"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_examples(path: Path) -> None:
    cluster = load(path, catalog())
    document = yaml.safe_load(path.read_text())
    jsonschema.validate(document, json_schema(catalog()))
    jsonschema.validate(document, json_schema())
    assert parse(dump(cluster)) == cluster
    assert (cluster == Cluster()) == (path.name == "laptop.yaml")


def test_the_examples_are_there() -> None:
    assert {"laptop.yaml", "h200-node.yaml", "2p6d.yaml", "multi-slo.yaml"} <= {p.name for p in EXAMPLES}


def test_values_arrive() -> None:
    text = HEAD + (
        "spec:\n"
        "  engine: {device: cuda, kvBlocks: 128, prefixCache: false}\n"
        "  pools:\n"
        "  - {name: a, role: both, count: 3, resources: {cpus: 0.5, gpus: 0.25, memory: 1.5Gi}}\n"
        "  drain: {budgetS: 1e3}\n"
        "  policies:\n"
        "    routing: round_robin\n"
        "    multiplexing: {name: chunked, parameters: {minPrefillTokens: 3}}\n"
    )
    spec = loads(text, catalog()).spec
    assert spec.engine == Engine(device=Device.CUDA, kv_blocks=128, prefix_cache=False)
    assert spec.pools == (Pool("a", Role.BOTH, 3, None, Resources(0.5, 0.25, 3 << 29)),)
    assert spec.policies.routing == PolicyChoice("round_robin") and spec.drain.budget_s == 1000
    assert spec.policies.multiplexing == PolicyChoice("chunked", {"min_prefill_tokens": 3})


def test_relative_paths_are_taken_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama" / "config.json").write_text("{}")
    (tmp_path / "keys").write_text("k\n")
    file = tmp_path / "cluster.yaml"
    file.write_text(HEAD + "spec: {model: {path: llama}, security: {apiKeysFile: keys}, state: {path: x/state.db}}\n")
    spec = load(file, catalog()).spec
    assert spec.model.path == str(tmp_path / "llama") and spec.model.served_name == "llama"
    assert spec.security.api_keys_file == str(tmp_path / "keys")
    assert spec.state.store_url(Path("/run")) == f"sqlite:///{tmp_path}/x/state.db"


def test_both_ports_may_be_free_ones() -> None:
    door = loads(HEAD + "spec: {frontDoor: {httpPort: 0, grpcPort: 0}}\n", catalog()).spec.front_door
    assert (door.http_port, door.grpc_port) == (0, 0)


def test_store_urls() -> None:
    assert State().store_url(Path("/run/tandem")) == "sqlite:////run/tandem/state.db"
    assert State(StateKind.REDIS, "redis://h:1/0").store_url(Path("/run")) == "redis://h:1/0"


def test_tiers_by_name() -> None:
    gold, bronze = Tier("gold", 1, 1), Tier("bronze", 2, 2)
    spec = Spec(tiers=(gold, bronze))
    assert spec.tier("bronze") is bronze and spec.tier(None) is gold
    assert Spec(tiers=(gold, bronze), front_door=FrontDoor(default_tier="bronze")).tier(None) is bronze
    with pytest.raises(KeyError):
        spec.tier("silver")


@settings(derandomize=True, deadline=None)
@given(st.from_regex(r"[a-z]+(_[a-z]+)*", fullmatch=True))
def test_names_convert_both_ways(name: str) -> None:
    assert snake(camel(name)) == name


names = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    name=names,
    engine=st.builds(
        Engine,
        kv_blocks=st.none() | st.integers(8, 2**24),
        max_batch=st.integers(1, 4096),
        prefix_cache=st.booleans(),
    ),
    model=st.builds(Model, name=st.none() | names, max_len=st.none() | st.integers(2, 2**20)),
    pools=st.lists(
        st.builds(
            Pool,
            name=names,
            role=st.just(Role.BOTH),
            count=st.integers(1, 9),
            resources=st.builds(Resources, cpus=st.floats(0, 64), memory_bytes=st.none() | st.integers(1, 2**50)),
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda pool: pool.name,
    ),
    budget=st.integers(1, 2**20),
    http_port=st.integers(1, 8000),
)
def test_round_trip(name: str, engine: Engine, model: Model, pools: list[Pool], budget: int, http_port: int) -> None:
    policies = Policies(multiplexing=PolicyChoice("chunked", {"budget_tokens": budget}))
    door = FrontDoor(http_port=http_port)
    cluster = Cluster(Metadata(name), Spec(model, engine, pools=tuple(pools), policies=policies, front_door=door))
    document = dump(cluster)
    assert parse(document) == cluster
    assert loads(yaml.safe_dump(document), catalog()) == cluster
    jsonschema.validate(document, json_schema(catalog()))


def test_the_schema_is_one_and_refuses_what_single_fields_get_wrong() -> None:
    schema = json_schema(catalog())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    titles = {
        "misspelt field",
        "text for a number",
        "no batch",
        "misspelt role",
        "pool without a role",
        "unknown policy",
        "unknown parameter",
        "parameter out of range",
        "wrong kind",
        "empty list",
        "memory without a unit that exists",
        "name with capitals",
    }
    for case in CASES:
        if case.title in titles:
            titles.remove(case.title)
            assert not validator.is_valid(yaml.safe_load(case.text)), case.title
    assert not titles


def test_every_setting_has_help() -> None:
    def check(schema: dict[str, object], path: str) -> None:
        for key, child in schema.get("properties", {}).items():  # type: ignore[attr-defined]
            if path and "const" not in child:
                assert child.get("description") or "parameters" in key or key == "name", f"{path}.{key}"
            check(child, f"{path}.{key}")
            check(child.get("items", {}), f"{path}.{key}[]")

    check(json_schema(catalog())["properties"]["spec"], "spec")
