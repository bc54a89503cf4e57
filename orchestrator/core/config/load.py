"""`cluster.yaml` to a `Cluster`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import yaml

from orchestrator.core.config import chosen, document, rules
from orchestrator.core.config.cluster import API_VERSION, KIND, Cluster, Metadata, Spec
from orchestrator.core.config.decode import BAD, Decoder
from orchestrator.core.config.policies import PolicyCatalog
from orchestrator.core.config.problems import ConfigError, did_you_mean
from orchestrator.core.config.reporter import shown
from orchestrator.core.config.scalars import plain
from orchestrator.core.config.serving import DEMO
from orchestrator.core.config.settings import settings

_SECTIONS: dict[str, type] = {"metadata": Metadata, "spec": Spec}


def load(path: str | Path, policies: PolicyCatalog | None = None) -> Cluster:
    """Read and check a file; raises ConfigError with every problem.

    `policies` is `orchestrator.policies.registry.catalog()`; without it, policy names and parameters are not checked.
    """
    file = Path(path)
    return loads(document.read(file), policies, str(path), file.resolve().parent)


def loads(
    text: str, policies: PolicyCatalog | None = None, file: str = "cluster.yaml", directory: Path | None = None
) -> Cluster:
    """As `load`, from text. Relative paths in it are taken from `directory`, by default the working directory."""
    root = document.compose(text, file)
    decoder = Decoder(file)
    cluster = _decode(root, decoder)
    if cluster is not None:
        spec = _absolute(cluster.spec, directory or Path.cwd())
        found: list[tuple[str, str, str, str]] = []
        rules.check_spec(spec, lambda *problem: found.append(problem))
        bad = {p.path for p in decoder.problems}
        for problem in found:
            if not any(b == problem[0] or b.startswith((f"{problem[0]}.", f"{problem[0]}[")) for b in bad):
                decoder.report(*problem)
        resolved = chosen.resolve(spec.policies, policies, decoder.report)
        cluster = dataclasses.replace(cluster, spec=dataclasses.replace(spec, policies=resolved))
    if decoder.problems or cluster is None:
        raise ConfigError(decoder.problems)
    return cluster


def _decode(root: yaml.Node, decoder: Decoder) -> Cluster | None:
    """The envelope. Returns None when there is no cluster to check any further."""
    parts: dict[str, yaml.Node] = {}
    known = ("apiVersion", "kind", *_SECTIONS)
    for key, node, at in decoder.entries(root, ""):
        if key in known:
            parts[key] = node
        else:
            hint = "indent it below `spec:`" if key in {s.key for s in settings(Spec)} else did_you_mean(key, known)
            decoder.report(at, shown(node), f"the file has no field {key!r} at the top", hint)
    if not isinstance(root, yaml.MappingNode):
        return None
    for key, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        part = parts.get(key)
        value = plain(part) if isinstance(part, yaml.ScalarNode) else None
        if value != expected:
            seen = shown(part) if part else "(missing)"
            decoder.report(key, seen, f"only {expected} is supported", f"write `{key}: {expected}`")
    sections = [decoder.section(k, parts[key], key) if key in parts else k() for key, k in _SECTIONS.items()]
    return None if any(section is BAD for section in sections) else Cluster(*sections)


def _absolute(spec: Spec, directory: Path) -> Spec:
    """`spec` with every path absolute, so that processes in other directories read the same files."""

    def full(path: str) -> str:
        return str(directory / Path(path).expanduser())

    engine, state, security = spec.engine, spec.state, spec.security
    if engine.vllm.python is not None and "/" in engine.vllm.python:
        engine = dataclasses.replace(engine, vllm=dataclasses.replace(engine.vllm, python=full(engine.vllm.python)))
    model, *others = (m if m.path == DEMO else dataclasses.replace(m, path=full(m.path)) for m in spec.served)
    if state.path is not None:
        state = dataclasses.replace(state, path=full(state.path))
    if security.api_keys_file is not None:
        security = dataclasses.replace(security, api_keys_file=full(security.api_keys_file))
    files = {name: full(path) for name, path in dataclasses.asdict(security.tls).items() if path is not None}
    security = dataclasses.replace(security, tls=dataclasses.replace(security.tls, **files))
    simulation = spec.simulation
    if simulation.catalog is not None:
        simulation = dataclasses.replace(simulation, catalog=full(simulation.catalog))
    if simulation.model is not None and ("/" in simulation.model or simulation.model.endswith(".json")):
        simulation = dataclasses.replace(simulation, model=full(simulation.model))
    return dataclasses.replace(
        spec, model=model, models=tuple(others), engine=engine, state=state, security=security, simulation=simulation
    )
