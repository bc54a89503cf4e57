"""The configuration of a cluster: `cluster.yaml` as frozen dataclasses, and messages that name line and remedy."""

from orchestrator.core.config.cluster import API_VERSION, KIND, Cluster, Metadata, Spec
from orchestrator.core.config.dump import dump, parse
from orchestrator.core.config.faults import Faults
from orchestrator.core.config.load import load, loads
from orchestrator.core.config.policies import (
    ParameterInfo,
    Policies,
    PolicyCatalog,
    PolicyChoice,
    PolicyInfo,
)
from orchestrator.core.config.pools import Pool, Resources, Tier
from orchestrator.core.config.problems import ConfigError, Problem
from orchestrator.core.config.schema import schema as json_schema
from orchestrator.core.config.services import (
    Drain,
    FrontDoor,
    LogFormat,
    LogLevel,
    Observability,
    Ray,
    Security,
    State,
    StateKind,
    Tls,
)
from orchestrator.core.config.serving import Device, DType, Engine, EngineKind, Model, Transport, TransportKind

__all__ = [
    "API_VERSION",
    "KIND",
    "Cluster",
    "ConfigError",
    "DType",
    "Device",
    "Drain",
    "Engine",
    "EngineKind",
    "Faults",
    "FrontDoor",
    "LogFormat",
    "LogLevel",
    "Metadata",
    "Model",
    "Observability",
    "ParameterInfo",
    "Policies",
    "PolicyCatalog",
    "PolicyChoice",
    "PolicyInfo",
    "Pool",
    "Problem",
    "Ray",
    "Resources",
    "Security",
    "Spec",
    "State",
    "StateKind",
    "Tier",
    "Tls",
    "Transport",
    "TransportKind",
    "dump",
    "json_schema",
    "load",
    "loads",
    "parse",
]
