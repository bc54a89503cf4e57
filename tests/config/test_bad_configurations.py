"""Hand-picked faulty configurations: each message names the line, the field and the remedy."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.core.config import ConfigError, load, loads
from orchestrator.policies.registry import catalog

HEAD = "apiVersion: pd/v1\nkind: Cluster\n"


@dataclass(frozen=True, slots=True)
class Case:
    """A faulty text, and what the only problem must say. `remedy` and `reason` are parts of it."""

    title: str
    text: str
    line: int
    path: str
    remedy: str
    reason: str = ""


def spec(title: str, body: str, line: int, path: str, remedy: str, reason: str = "") -> Case:
    """A case whose `body` stands below `spec:`, which is line 3; the body's first line is line 4."""
    text = HEAD + "spec:\n" + textwrap.indent(textwrap.dedent(body), "  ")
    return Case(title, text, line, f"spec.{path}" if path else "spec", remedy, reason)


CASES = [
    # The file as a whole.
    Case("empty file", "", 1, "file", "apiVersion: pd/v1", "no configuration"),
    Case("only comments", "# nothing\n", 1, "file", "apiVersion: pd/v1", "no configuration"),
    Case("a list", "- a\n", 1, "file", "key: value", "must be a mapping"),
    Case("a word", "cluster\n", 1, "file", "key: value", "must be a mapping"),
    Case("open bracket", HEAD + "spec: {model: {path: demo\n", 4, "file", "brackets", "not valid YAML"),
    Case("tab", HEAD + "spec:\n\tmodel: {}\n", 4, "file", "spaces, not tabs", "not valid YAML"),
    Case("colon in text", HEAD + "metadata:\n  name: a: b\n", 4, "file", "quotes", "not valid YAML"),
    Case("two documents", HEAD + "---\n" + HEAD, 3, "file", "one document", "not valid YAML"),
    Case("no such anchor", HEAD + "spec: *base\n", 3, "file", "anchor", "not valid YAML"),
    Case("control character", HEAD + "metadata: {name: 'a\x07'}\n", 3, "file", "delete it"),
    Case("wrong apiVersion", "apiVersion: pd/v2\nkind: Cluster\n", 1, "apiVersion", "write `apiVersion: pd/v1`"),
    Case("no apiVersion", "kind: Cluster\n", 1, "apiVersion", "write `apiVersion: pd/v1`"),
    Case("wrong kind", "apiVersion: pd/v1\nkind: Pod\n", 2, "kind", "write `kind: Cluster`"),
    Case("section at the top", HEAD + "engine: {device: cpu}\n", 3, "engine", "below `spec:`"),
    Case("misspelt spec", HEAD + "specs: {}\n", 3, "specs", "did you mean 'spec'?"),
    Case("name with capitals", HEAD + "metadata: {name: My Cluster}\n", 3, "metadata.name", "lower-case letters"),
    Case("name of digits", HEAD + "metadata:\n  name: 2024\n", 4, "metadata.name", "put it in quotes"),
    # Unknown and repeated fields.
    spec("unknown section", "engines: {}", 4, "engines", "did you mean 'engine'?"),
    spec("misspelt field", "engine:\n  kvBlock: 12", 5, "engine.kvBlock", "did you mean 'kvBlocks'?"),
    spec("snake_case", "engine:\n  max_batch: 12", 5, "engine.max_batch", "did you mean 'maxBatch'?"),
    spec("nothing like it", "drain:\n  zzz: 1", 5, "drain.zzz", "use one of: budgetS"),
    spec("repeated field", "engine:\n  maxBatch: 1\n  maxBatch: 2", 6, "engine.maxBatch", "keep one", "repeats line 5"),
    spec("repeated section", "ray: {}\ndrain: {}\nray: {}", 6, "ray", "keep one", "repeats line 4"),
    spec("merge key", "engine:\n  <<: {maxBatch: 1}", 5, "engine.<<", "write the fields out"),
    # Types.
    spec("text for a number", "engine: {maxBatch: many}", 4, "engine.maxBatch", "write 8", "whole number"),
    spec("text for a time", "frontDoor: {headerTimeoutS: soon}", 4, "frontDoor.headerTimeoutS", "write 1,", "a number"),
    spec("text for bytes", "frontDoor: {maxBacklogBytes: 1Mi}", 4, "frontDoor.maxBacklogBytes", "write 65536,"),
    spec("no blocks", "frontDoor: {prefixIndexBlocks: 0}", 4, "frontDoor.prefixIndexBlocks", "use 1024 to 268435456"),
    spec("fraction for a count", "engine: {maxBatch: 1.5}", 4, "engine.maxBatch", "write 8", "whole number"),
    spec("quoted number", "engine: {maxBatch: '12'}", 4, "engine.maxBatch", "12 without quotes", "in quotes"),
    spec("yes for a number", "engine: {maxBatch: yes}", 4, "engine.maxBatch", "write 8", "whole number"),
    spec("number for a switch", "engine: {prefixCache: 1}", 4, "engine.prefixCache", "true or false"),
    spec("list for a value", "engine: {maxBatch: [1]}", 4, "engine.maxBatch", "maxBatch: ...", "single value"),
    spec("value for a section", "engine: torch", 4, "engine", "key: value", "mapping"),
    spec("list for a section", "engine:\n- torch", 5, "engine", "key: value", "mapping"),
    spec("section for a list", "pools: {name: a, role: both}", 4, "pools", "- name: ...", "must be a list"),
    spec("empty list", "tiers: []", 4, "tiers", "- name: ...", "at least one"),
    spec("no value", "engine:\n  maxBatch:", 5, "engine.maxBatch", "remove the line", "whole number"),
    spec("exponent in text", "drain: {budgetS: '1e3'}", 4, "drain.budgetS", "write 0.5", "a number"),
    spec("not a number", "drain: {budgetS: .nan}", 4, "drain.budgetS", "write a number", "finite"),
    spec("endless", "transport: {leaseS: .inf}", 4, "transport.leaseS", "write a number", "finite"),
    # Ranges and choices.
    spec("no batch", "engine: {maxBatch: 0}", 4, "engine.maxBatch", "use 1 to 4096", "out of range"),
    spec("negative lease", "transport: {leaseS: -1}", 4, "transport.leaseS", "use 0.1 to 3600", "out of range"),
    spec("port too high", "frontDoor: {httpPort: 80800}", 4, "frontDoor.httpPort", "use 0 to 65535"),
    spec("no connection", "frontDoor: {maxConnections: 0}", 4, "frontDoor.maxConnections", "use 1 to"),
    spec("no time at all", "frontDoor: {headerTimeoutS: 0.5}", 4, "frontDoor.headerTimeoutS", "use 1 to 3600"),
    spec("tiny backlog", "frontDoor: {maxBacklogBytes: 100}", 4, "frontDoor.maxBacklogBytes", "use 65536 to"),
    spec("tiny index", "frontDoor: {prefixIndexBlocks: 10}", 4, "frontDoor.prefixIndexBlocks", "use 1024 to"),
    spec("wrong dtype", "model: {dtype: float8}", 4, "model.dtype", "bfloat16, float16, float32"),
    spec("misspelt device", "engine: {device: cudda}", 4, "engine.device", "did you mean 'cuda'?"),
    spec("wrong transport", "transport: {kind: tcp}", 4, "transport.kind", "use one of: gloo, nccl, nixl"),
    spec("wrong engine", "engine: {kind: tensorflow}", 4, "engine.kind", "use one of: torch"),
    spec("Ray address", "ray: {address: 'head node'}", 4, "ray.address", "local, auto or HOST:PORT", "malformed"),
    # Pools and tiers.
    spec(
        "misspelt role",
        "pools:\n- name: a\n  role: prefil\n- {name: b, role: both}",
        6,
        "pools[0].role",
        "did you mean 'prefill'?",
    ),
    spec("pool without a role", "pools:\n- {name: a}\n- {name: b, role: both}", 5, "pools[0].role", "add `role: ...`"),
    spec("pool without a name", "pools:\n- {role: both}", 5, "pools[0].name", "add `name: ...`"),
    spec(
        "pools of one name",
        "pools:\n- {name: a, role: both}\n- {name: a, role: decode}",
        6,
        "pools[1].name",
        "choose another name",
    ),
    spec("nobody prefills", "pools:\n- {name: a, role: decode}", 4, "pools", "role: prefill", "no worker can prefill"),
    spec("nobody decodes", "pools:\n- {name: a, role: prefill}", 4, "pools", "role: decode", "no worker can decode"),
    spec(
        "empty prefill pool",
        "pools:\n- {name: p, role: prefill, count: 0}\n- {name: d, role: decode}",
        4,
        "pools",
        "a count of at least 1",
    ),
    spec(
        "memory without a unit that exists",
        "pools:\n- name: a\n  role: both\n  resources:\n    memory: 2GBytes",
        8,
        "pools[0].resources.memory",
        "such as 2Gi",
    ),
    spec("tier without a bound", "tiers:\n- {name: a, ttftMs: 5}", 5, "tiers[0].tpotMs", "add `tpotMs: ...`"),
    spec("tier of no time", "tiers:\n- {name: a, ttftMs: 0, tpotMs: 1}", 5, "tiers[0].ttftMs", "at least 0.001"),
    spec(
        "tiers of one name",
        "tiers:\n- {name: a, ttftMs: 1, tpotMs: 1}\n- {name: a, ttftMs: 2, tpotMs: 2}",
        6,
        "tiers[1].name",
        "choose another name",
    ),
    spec(
        "unknown tier",
        "tiers:\n- {name: gold, ttftMs: 1, tpotMs: 1}\nfrontDoor:\n  defaultTier: golden",
        7,
        "frontDoor.defaultTier",
        "did you mean 'gold'?",
    ),
    spec("no request may wait", "frontDoor:\n  maxQueue: 0", 5, "frontDoor.maxQueue", "use 1 to 1000000"),
    # Policies.
    spec("unknown policy", "policies:\n  routing: least_loaded", 5, "policies.routing", "did you mean 'least_load'?"),
    spec("unknown decision", "policies:\n  router: least_load", 5, "policies.router", "did you mean 'routing'?"),
    spec("policy is a number", "policies:\n  routing: 7", 5, "policies.routing", "write `NAME`"),
    spec("policy without a name", "policies:\n  routing: {parameters: {}}", 5, "policies.routing.name", "add `name:"),
    spec(
        "unknown parameter",
        "policies:\n  multiplexing:\n    name: chunked\n    parameters:\n      budgetToken: 12",
        8,
        "policies.multiplexing.parameters.budgetToken",
        "did you mean 'budgetTokens'?",
    ),
    spec(
        "parameter for a policy without any",
        "policies:\n  admission: {name: fcfs, parameters: {depth: 3}}",
        5,
        "policies.admission.parameters.depth",
        "remove it",
    ),
    spec(
        "parameter of the wrong type",
        "policies:\n  multiplexing: {name: chunked, parameters: {budgetTokens: big}}",
        5,
        "policies.multiplexing.parameters.budgetTokens",
        "write 8",
    ),
    spec(
        "parameter out of range",
        "policies:\n  multiplexing: {name: chunked, parameters: {budgetTokens: 0}}",
        5,
        "policies.multiplexing.parameters.budgetTokens",
        "use 1 to",
    ),
    spec(
        "parameter beside the name",
        "policies:\n  multiplexing:\n    name: chunked\n    budgetTokens: 12",
        7,
        "policies.multiplexing.budgetTokens",
        "under `parameters:`",
    ),
    # What does not go together.
    spec(
        "equal ports", "frontDoor:\n  httpPort: 9000\n  grpcPort: 9000", 6, "frontDoor.grpcPort", "two different ports"
    ),
    spec(
        "no room for one body",
        "frontDoor:\n  maxBodyBytes: 8192\n  maxBufferedBytes: 4096",
        6,
        "frontDoor.maxBufferedBytes",
        "raise it to 8192",
        "maxBodyBytes is larger",
    ),
    spec("port of the other's default", "frontDoor:\n  httpPort: 8001", 4, "frontDoor.grpcPort", "different ports"),
    spec("redis without a url", "state: {kind: redis}", 4, "state.url", "add `url: redis://"),
    spec("redis of another scheme", "state: {kind: redis, url: 'http://x'}", 4, "state.url", "write redis://"),
    spec("sqlite with a url", "state: {url: 'redis://x'}", 4, "state.url", "set kind: redis"),
    spec("nccl on the CPU", "transport:\n  kind: nccl", 5, "transport.kind", "use nixl or gloo", "needs CUDA"),
    spec(
        "cuda without GPUs",
        "engine: {device: cuda}\npools:\n- name: a\n  role: both",
        6,
        "pools[0].resources.gpus",
        "engine.device: cpu",
    ),
    spec(
        "cpu with GPUs",
        "engine: {device: cpu}\npools:\n- {name: a, role: both, resources: {gpus: 1}}",
        6,
        "pools[0].resources.gpus",
        "engine.device: cuda",
    ),
    spec("float16 on the CPU", "model: {dtype: float16}", 4, "model.dtype", "use float32 or bfloat16"),
    # Files that must exist.
    spec("no such model", "model:\n  path: /nowhere/llama", 5, "model.path", "use `demo`", "no such directory"),
    spec("misspelt demo", "model: {path: Demo}", 4, "model.path", "use `demo`", "no such directory"),
    spec("no model in it", "model: {path: /}", 4, "model.path", "config.json and *.safetensors", "no config.json"),
    spec("no keys", "security: {apiKeysFile: keys}", 4, "security.apiKeysFile", "one API key per line", "no such file"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_bad_configuration(case: Case, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(case.text, catalog(), "c.yaml", tmp_path)
    problems = {(p.path, p.line): p for p in caught.value.problems}
    assert (case.path, case.line) in problems, str(caught.value)
    problem = problems[case.path, case.line]
    assert case.remedy in problem.remedy and case.reason in problem.reason, str(problem)
    others = [str(p) for p in caught.value.problems if p is not problem and p.path not in ("apiVersion", "kind")]
    assert not others, others
    text = str(caught.value)
    assert f"c.yaml:{case.line}: {case.path}: value " in text and " is wrong because " in text and "; " in text


def test_cases_are_many_and_distinct() -> None:
    assert len({case.title for case in CASES}) == len(CASES) >= 30


def test_every_problem_is_reported_in_file_order() -> None:
    text = HEAD + textwrap.dedent("""\
        spec:
          engine: {maxBatch: 0, device: gpu}
          pools:
          - {name: a, role: prefil}
          - {name: b, role: both, count: -1}
          policies: {routing: fastest}
          frontDoor: {grpcPort: 8000}
          colour: blue
        """)
    with pytest.raises(ConfigError) as caught:
        loads(text, catalog())
    found = [(p.line, p.path) for p in caught.value.problems]
    assert found == sorted(found, key=lambda f: f[0])
    assert {path for _, path in found} == {
        "spec.engine.maxBatch",
        "spec.engine.device",
        "spec.pools[0].role",
        "spec.pools[1].count",
        "spec.policies.routing",
        "spec.frontDoor.grpcPort",
        "spec.colour",
    }


def _problem(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, catalog())
    return str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    assert f"{missing}:1: file" in _problem(missing) and "examples/laptop.yaml" in _problem(missing)
    assert "it is a directory" in _problem(tmp_path)
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"apiVersion: pd/v1\nkind: \xff\n")
    assert f"{binary}:2: file: value byte 0xff" in _problem(binary) and "save it as UTF-8" in _problem(binary)
    huge = tmp_path / "h.yaml"
    huge.write_bytes(b"#" * (1 << 21))
    assert "right file" in _problem(huge)
    deep = tmp_path / "d.yaml"
    deep.write_text("[" * 20_000)
    assert "nested too deeply" in _problem(deep)
