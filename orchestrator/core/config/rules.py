"""Rules that tie fields together, checked on a cluster whose single fields are already valid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orchestrator.core.cluster import Role
from orchestrator.core.config.cluster import Spec
from orchestrator.core.config.pools import Pool
from orchestrator.core.config.problems import did_you_mean
from orchestrator.core.config.services import StateKind
from orchestrator.core.config.serving import Device, DType, EngineKind, Model, TransportKind

Report = Callable[[str, str, str, str], None]
"""(path, value as shown, reason, remedy)."""


def check_spec(spec: Spec, report: Report) -> None:
    """Report every combination that cannot run."""
    _models(spec, report)
    _pools(spec, report)
    _devices(spec, report)
    _front_door(spec, report)
    _state(spec, report)
    _security(spec, report)


def _models(spec: Spec, report: Report) -> None:
    names = [model.served_name for model in spec.served]
    for i, model in enumerate(spec.served):
        at = f"spec.models[{i - 1}]" if i else "spec.model"
        _files(model, f"{at}.path", report)
        if i and model.name is None:
            report(f"{at}.name", "(missing)", "clients ask for a model by its name", "add `name: ...`")
        elif model.served_name in names[:i]:
            report(f"{at}.name", repr(model.served_name), "another model has this name", "choose another name")
    for i, pool in enumerate(spec.pools):
        _servers(spec, pool, f"spec.pools[{i}].servers", report)
        if pool.model is not None and pool.model not in names:
            report(
                f"spec.pools[{i}].model", repr(pool.model), "no model has this name", did_you_mean(pool.model, names)
            )


def _servers(spec: Spec, pool: Pool, at: str, report: Report) -> None:
    if pool.servers is None:
        return
    urls = pool.servers.split()
    if spec.engine_of(pool) is not EngineKind.VLLM:
        report(
            at, repr(pool.servers), "only vLLM workers use servers that run already", "remove it, or set engine: vllm"
        )
    elif not all(url.startswith("http://") for url in urls):
        report(at, repr(pool.servers), "they must be URLs", "write http://HOST:PORT for each, separated by blanks")
    elif len(urls) != pool.count:
        report(at, repr(pool.servers), f"{len(urls)} servers for {pool.count} workers", "name one for each worker")


def _files(model: Model, at: str, report: Report) -> None:
    path = Path(model.path)
    if model.is_demo:
        return
    if not path.is_dir():
        remedy = "download the model there, or use `demo` for the model that ships with Tandem"
        report(at, repr(str(path)), "there is no such directory", remedy)
    elif not (path / "config.json").is_file():
        remedy = "name the directory of a Hugging Face model: the one that holds config.json and *.safetensors"
        report(at, repr(str(path)), "it holds no config.json", remedy)


def _pools(spec: Spec, report: Report) -> None:
    for model in spec.served:
        pools = [p for p in spec.pools if spec.model_of(p) is model]
        whose = f" {model.served_name}" if spec.models else ""
        for role in (Role.PREFILL, Role.DECODE):
            if not any(p.role & role and p.count > 0 for p in pools):
                roles = ", ".join(f"{p.name}: {p.role} x {p.count}" for p in pools)
                remedy = f"add a pool with `role: {role}` or `role: both` and a count of at least 1"
                report("spec.pools", f"[{roles}]", f"no worker can {role}{whose}", remedy)
        if len({spec.engine_of(p) for p in pools}) > 1:
            kinds = ", ".join(f"{p.name}: {spec.engine_of(p)}" for p in pools)
            remedy = "give all pools of a model the same engine, or the model a second name in spec.models"
            report("spec.pools", f"[{kinds}]", "KV of one engine cannot be read by another", remedy)


def _devices(spec: Spec, report: Report) -> None:
    device, transport = spec.engine.device, spec.transport.kind
    on_cuda = {p.name: device is Device.CUDA or (device is Device.AUTO and p.resources.gpus > 0) for p in spec.pools}
    if device is not Device.AUTO:
        for i, pool in enumerate(spec.pools):
            gpus = pool.resources.gpus
            if device is Device.CUDA and gpus == 0:
                remedy = "set gpus (a fraction shares one GPU), or engine.device: cpu"
                report(f"spec.pools[{i}].resources.gpus", f"{gpus:g}", "engine.device is cuda", remedy)
            elif device is Device.CPU and gpus > 0:
                remedy = "remove gpus, or set engine.device: cuda"
                report(f"spec.pools[{i}].resources.gpus", f"{gpus:g}", "engine.device is cpu", remedy)
    if transport is TransportKind.NCCL and not all(on_cuda.values()):
        cpu = ", ".join(name for name, cuda in on_cuda.items() if not cuda)
        report("spec.transport.kind", "'nccl'", f"it needs CUDA and pool {cpu} runs on the CPU", "use nixl or gloo")
    if transport is TransportKind.GLOO and any(on_cuda.values()):
        report(
            "spec.transport.kind", "'gloo'", "it moves KV on the CPU and the engine runs on CUDA", "use nixl or nccl"
        )
    for pool in spec.pools:
        if (
            spec.engine_of(pool) is EngineKind.TORCH
            and spec.model_of(pool).dtype is DType.FLOAT16
            and not on_cuda[pool.name]
        ):
            at = "spec.model.dtype" if spec.model_of(pool) is spec.model else f"spec.models: {pool.model}"
            report(at, "'float16'", "the CPU engine does not compute in it", "use float32 or bfloat16")
            break


def _front_door(spec: Spec, report: Report) -> None:
    door = spec.front_door
    if door.http_port == door.grpc_port != 0:
        remedy = "choose two different ports, or 0 for a free one"
        report("spec.frontDoor.grpcPort", str(door.grpc_port), "httpPort is the same", remedy)
    if door.max_buffered_bytes < door.max_body_bytes:
        remedy = f"raise it to {door.max_body_bytes} at least, or lower maxBodyBytes"
        report("spec.frontDoor.maxBufferedBytes", str(door.max_buffered_bytes), "maxBodyBytes is larger", remedy)
    names = [t.name for t in spec.tiers]
    if door.default_tier is not None and door.default_tier not in names:
        report(
            "spec.frontDoor.defaultTier",
            repr(door.default_tier),
            "no tier has this name",
            did_you_mean(door.default_tier, names),
        )


def _state(spec: Spec, report: Report) -> None:
    state = spec.state
    if state.kind is StateKind.REDIS:
        if state.url is None:
            report("spec.state.url", "(missing)", "state.kind is redis", "add `url: redis://HOST:6379/0`")
        elif not state.url.startswith(("redis://", "rediss://", "unix://")):
            report("spec.state.url", repr(state.url), "it is no Redis URL", "write redis://HOST:6379/0")
        if state.path is not None:
            report("spec.state.path", repr(state.path), "state.kind is redis", "remove it, or set kind: sqlite")
    elif state.url is not None:
        report("spec.state.url", repr(state.url), "state.kind is sqlite", "use `path:`, or set kind: redis")


def _security(spec: Spec, report: Report) -> None:
    security, tls = spec.security, spec.security.tls
    keys = security.api_keys_file
    if keys is not None and not Path(keys).is_file():
        report("spec.security.apiKeysFile", repr(keys), "there is no such file", "create it with one API key per line")
    for key, path in (("certFile", tls.cert_file), ("keyFile", tls.key_file), ("clientCaFile", tls.client_ca_file)):
        if path is not None and not Path(path).is_file():
            report(f"spec.security.tls.{key}", repr(path), "there is no such file", "name a PEM file")
    if (tls.cert_file is None) != (tls.key_file is None):
        missing = "certFile" if tls.cert_file is None else "keyFile"
        report(f"spec.security.tls.{missing}", "(missing)", "TLS takes both", "name certFile and keyFile, or neither")
    elif tls.client_ca_file is not None and tls.cert_file is None:
        report(
            "spec.security.tls.clientCaFile", repr(tls.client_ca_file), "TLS is off", "name certFile and keyFile too"
        )
