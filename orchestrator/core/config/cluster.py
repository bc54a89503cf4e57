"""`Cluster`: a whole, valid `cluster.yaml`."""

# ruff: noqa: RUF009 (setting() returns a dataclass field)
from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.config.faults import Faults
from orchestrator.core.config.policies import Policies
from orchestrator.core.config.pools import Pool, Tier, default_pools, default_tiers
from orchestrator.core.config.services import Drain, FrontDoor, Observability, Ray, Security, State
from orchestrator.core.config.serving import Engine, EngineKind, Model, Transport
from orchestrator.core.config.settings import NAME, NAME_HELP, setting
from orchestrator.core.config.simulation import Simulation

API_VERSION = "pd/v1"
KIND = "Cluster"


@dataclass(frozen=True, slots=True)
class Metadata:
    """Section `metadata`."""

    name: str = setting("name of the cluster on this machine", "tandem", pattern=NAME, pattern_help=NAME_HELP)


@dataclass(frozen=True, slots=True)
class Spec:
    """Section `spec`. Every part has a default, and all defaults together are the laptop cluster."""

    model: Model = setting("the model that is served", factory=Model)
    engine: Engine = setting("how workers run it", factory=Engine)
    transport: Transport = setting("how KV moves between workers", factory=Transport)
    pools: tuple[Pool, ...] = setting("groups of workers", factory=default_pools)
    tiers: tuple[Tier, ...] = setting("service levels", factory=default_tiers)
    policies: Policies = setting("one policy per decision", factory=Policies)
    state: State = setting("where desired state is kept", factory=State)
    ray: Ray = setting("the Ray cluster", factory=Ray)
    front_door: FrontDoor = setting("HTTP and gRPC endpoint", factory=FrontDoor)
    security: Security = setting("who may call", factory=Security)
    observability: Observability = setting("logs and traces", factory=Observability)
    drain: Drain = setting("how workers leave", factory=Drain)
    faults: Faults = setting("when a process counts as hung", factory=Faults)
    simulation: Simulation = setting("what `pdctl simulate` assumes", factory=Simulation)
    models: tuple[Model, ...] = setting("further models, which pools name", ())

    @property
    def served(self) -> tuple[Model, ...]:
        """Every model, the default one first."""
        return (self.model, *self.models)

    def model_of(self, pool: Pool) -> Model:
        """The model that the workers of `pool` serve."""
        return next((model for model in self.served if model.served_name == pool.model), self.model)

    def engine_of(self, pool: Pool) -> EngineKind:
        """The engine that the workers of `pool` run."""
        return pool.engine or self.engine.kind

    def tier(self, name: str | None) -> Tier:
        """The tier called `name`, or the default one for None; raises KeyError if there is none of that name."""
        wanted = name or self.front_door.default_tier or self.tiers[0].name
        for tier in self.tiers:
            if tier.name == wanted:
                return tier
        raise KeyError(wanted)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster as configured. `Cluster()` is the embedded default."""

    metadata: Metadata = setting("identity", factory=Metadata)
    spec: Spec = setting("what runs", factory=Spec)

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.metadata.name
